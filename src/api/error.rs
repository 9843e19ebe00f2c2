//! Every error that a client can see: its status and its body, in the forms that Livy's clients know (livy-spec.md, 1.1).

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::json;
use tracing::{debug, warn};

use super::wire::JSON;
use crate::access;
use crate::authentication::{NoToken, NotMade, Refusal};
use crate::background::WorkPanicked;
use crate::batch;
use crate::config::Size;
use crate::quota::TooFast;
use crate::session::{AddError, BadKind, CreateError, FetchError, NoUser, SharingError, SubmitError};
use crate::store::{StoreError, Trouble};
use crate::tabular::Unfit;
use crate::upload::UploadError;

/// Seconds after which a client may try again what was refused for want of room.
const RETRY_SECONDS: u32 = 5;

/// An answer that is an error.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 404 `{"msg": "Session '7' not found."}`; clients look for this text (clients.md, W9).
    #[error("Session '{0}' not found.")]
    SessionNotFound(String),
    /// 404, a bare string.
    #[error("Statement not found")]
    StatementNotFound,
    /// 404 `{"msg": ...}`.
    #[error("Job {0} not found.")]
    JobNotFound(i64),
    /// 400 `{"msg": ...}`: a value that Livy would have refused.
    #[error("{0}")]
    BadRequest(String),
    /// 400 `{"msg": "Rejected, Reason: ..."}`.
    #[error("Rejected, Reason: {0}")]
    Rejected(String),
    /// 400, a bare string: a body that can't be read.
    #[error("{0}")]
    BadBody(String),
    /// 401 with the schemes to use, a `WWW-Authenticate` header each.
    #[error("Authentication is required.")]
    Unauthenticated(Vec<String>),
    /// 403 `{}`: Livy's answer to a caller without the right.
    #[error("forbidden")]
    Forbidden,
    /// 403 `{"msg": ...}`.
    #[error("{0}")]
    Refused(String),
    /// 406 `{"msg": ...}`.
    #[error("No value found for '{0}'")]
    UnknownVersion(String),
    /// 408 `{"msg": ...}`.
    #[error("The request's body did not come in time (server.body_timeout).")]
    BodyTimeout,
    /// 404 `{"msg": ...}`.
    #[error("Upload '{0}' not found.")]
    UploadNotFound(String),
    /// 404 `{"msg": ...}`.
    #[error("There is no such share.")]
    ShareNotFound,
    /// 404 `{"msg": ...}`.
    #[error("Token '{0}' not found.")]
    TokenNotFound(String),
    /// 409 `{"msg": ...}`.
    #[error("{0}")]
    Conflict(String),
    /// 413 `{"msg": ...}`: an upload for which there is no room.
    #[error("{0}")]
    NoRoom(String),
    /// 413 `{"msg": ...}`.
    #[error("The request's body is over {0} bytes (limits.request_body).")]
    BodyTooLarge(usize),
    /// 410 `{"msg": ...}`: it was there, and is not kept any more.
    #[error("{0}")]
    Gone(String),
    /// 422 `{"msg": ...}`: a result that is not to be had.
    #[error("{0}")]
    Unprocessable(String),
    /// 421 `{"msg": ...}`.
    #[error("This server does not serve the host that the request names (server.hosts).")]
    WrongHost,
    /// 429 `{"msg": ...}` with Retry-After, in seconds.
    #[error("Too many wrong passwords came from there: try again in {0} s (access.throttle).")]
    Throttled(u64),
    /// 422 `{"msg": ...}`: an Idempotency-Key that belongs to another request.
    #[error("{0}")]
    KeyReused(String),
    /// 500, a bare string: the one answer with this status that is meant (clients.md, W9).
    #[error("java.lang.IllegalStateException: Session is in state {0}")]
    SessionEnded(String),
    /// 413 `{"msg": ...}`.
    #[error("The statement's code has {0} bytes, and {1} is the most (limits.code_bytes).")]
    CodeTooLarge(usize, Size),
    /// 429 `{"msg": ...}` with Retry-After. Nothing has been stored.
    #[error(transparent)]
    TooFast(#[from] TooFast),
    /// 503 `{"msg": ...}` with Retry-After. Nothing has been stored.
    #[error("{0}")]
    Unavailable(String),
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SessionNotFound(_)
            | Self::StatementNotFound
            | Self::JobNotFound(_)
            | Self::ShareNotFound
            | Self::TokenNotFound(_)
            | Self::UploadNotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::NoRoom(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRequest(_) | Self::Rejected(_) | Self::BadBody(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::UnknownVersion(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge(_) | Self::CodeTooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Gone(_) => StatusCode::GONE,
            Self::KeyReused(_) | Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SessionEnded(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        response.content_type(JSON);
        match self {
            Self::Unauthenticated(challenges) => {
                for challenge in challenges {
                    response.append_header((WWW_AUTHENTICATE, challenge.as_str()));
                }
            }
            Self::Unavailable(_) => {
                response.insert_header((RETRY_AFTER, RETRY_SECONDS));
            }
            Self::Throttled(seconds) => {
                response.insert_header((RETRY_AFTER, *seconds));
            }
            Self::TooFast(reason) => {
                response.insert_header((RETRY_AFTER, reason.seconds()));
            }
            // What is left of a body that is not read would be taken for the next request.
            Self::BodyTimeout | Self::BodyTooLarge(_) | Self::NoRoom(_) => {
                response.force_close();
            }
            _ => {}
        }
        let body = match self {
            Self::StatementNotFound | Self::BadBody(_) | Self::SessionEnded(_) => json!(self.to_string()),
            Self::Forbidden => json!({}),
            _ => json!({"msg": self.to_string()}),
        };
        response.body(body.to_string())
    }
}

impl From<WorkPanicked> for ApiError {
    fn from(_: WorkPanicked) -> Self {
        Self::Unavailable("The answer could not be made; the server's log says why.".to_owned())
    }
}

impl From<StoreError> for ApiError {
    fn from(reason: StoreError) -> Self {
        // The store has told its trouble in the log, once for all requests that meet it.
        debug!(%reason, "a request was refused because the store failed");
        let sentence = match reason {
            StoreError::Superseded => {
                "Another server has taken over this one's sessions. Try again later, there; the administrator has to end \
                 this one."
            }
            StoreError::Closed => "The server is stopping. Try again later.",
            other => other.trouble().unwrap_or(Trouble::Io).advice(),
        };
        Self::Unavailable(sentence.to_owned())
    }
}

impl From<CreateError> for ApiError {
    fn from(reason: CreateError) -> Self {
        match reason {
            CreateError::DuplicateName { .. } => Self::Rejected(reason.to_string()),
            CreateError::QueueFull(reason) => Self::Unavailable(reason.to_string()),
            CreateError::Key(reason) => Self::KeyReused(reason.to_string()),
            CreateError::Gone(id) => Self::SessionNotFound(id.to_string()),
            CreateError::User(reason) => reason.into(),
            CreateError::Store(reason) => reason.into(),
        }
    }
}

impl From<batch::CreateError> for ApiError {
    fn from(reason: batch::CreateError) -> Self {
        use batch::CreateError::{DuplicateName, Gone, Key, QueueFull, Store, User};
        match reason {
            DuplicateName { .. } => Self::Rejected(reason.to_string()),
            QueueFull(reason) => Self::Unavailable(reason.to_string()),
            Key(reason) => Self::KeyReused(reason.to_string()),
            Gone(id) => Self::SessionNotFound(id.to_string()),
            User(reason) => reason.into(),
            Store(reason) => reason.into(),
        }
    }
}

impl From<NoUser> for ApiError {
    fn from(reason: NoUser) -> Self {
        match reason {
            NoUser::Unavailable(_) => Self::Unavailable(reason.to_string()),
            NoUser::Nobody | NoUser::Unknown(_) | NoUser::Refused { .. } => Self::Refused(reason.to_string()),
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(reason: SubmitError) -> Self {
        match reason {
            SubmitError::Ended(state) => Self::SessionEnded(state.to_string()),
            SubmitError::QueueFull(_) => Self::Unavailable(reason.to_string()),
            SubmitError::Key(reason) => Self::KeyReused(reason.to_string()),
            SubmitError::Gone => Self::StatementNotFound,
            SubmitError::Store(reason) => reason.into(),
        }
    }
}

impl From<AddError> for ApiError {
    fn from(reason: AddError) -> Self {
        match reason {
            AddError::NotActive | AddError::Refused(_) => Self::BadRequest(reason.to_string()),
            AddError::Late(_) => Self::Unavailable(reason.to_string()),
        }
    }
}

impl From<FetchError> for ApiError {
    fn from(reason: FetchError) -> Self {
        match reason {
            FetchError::NotActive => Self::Gone(reason.to_string()),
            FetchError::Busy | FetchError::Late => Self::Unavailable(reason.to_string()),
        }
    }
}

impl From<Unfit> for ApiError {
    fn from(reason: Unfit) -> Self {
        Self::Unprocessable(reason.to_string())
    }
}

impl From<UploadError> for ApiError {
    fn from(reason: UploadError) -> Self {
        match reason {
            UploadError::TooLarge(_) | UploadError::OwnerFull(_) | UploadError::OverQuota { .. } => {
                Self::NoRoom(reason.to_string())
            }
            UploadError::Io(_) => {
                warn!(%reason, "an upload was refused");
                Self::Unavailable(reason.to_string())
            }
            UploadError::Full | UploadError::Busy(_) | UploadError::Unfinished => {
                Self::Unavailable(reason.to_string())
            }
        }
    }
}

impl From<SharingError> for ApiError {
    fn from(reason: SharingError) -> Self {
        match reason {
            SharingError::TooMany(_) => Self::BadRequest(reason.to_string()),
            SharingError::NameTaken(_) | SharingError::TooManyGpus(_) | SharingError::OverQuota { .. } => {
                Self::Conflict(reason.to_string())
            }
            SharingError::Gone => Self::Gone(reason.to_string()),
            SharingError::Store(reason) => reason.into(),
        }
    }
}

impl From<access::Refused> for ApiError {
    fn from(reason: access::Refused) -> Self {
        match reason {
            access::Refused::NotAllowed { .. } => Self::Refused(reason.to_string()),
            access::Refused::Name => Self::BadRequest(reason.to_string()),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(reason: Refusal) -> Self {
        match reason {
            Refusal::Unproved(challenges) => Self::Unauthenticated(challenges),
            Refusal::Unavailable(why) => Self::Unavailable(why),
            // Rounded up: a client that waits for so long is looked at.
            Refusal::Throttled(wait) => Self::Throttled(wait.as_secs().saturating_add(1)),
        }
    }
}

impl From<NotMade> for ApiError {
    fn from(reason: NotMade) -> Self {
        match reason {
            NotMade::Full(_) => Self::Conflict(reason.to_string()),
            NotMade::Store(reason) => reason.into(),
            NotMade::Random(_) => Self::Unavailable(reason.to_string()),
        }
    }
}

impl From<NoToken> for ApiError {
    fn from(reason: NoToken) -> Self {
        match reason {
            NoToken::Off | NoToken::Age(_) => Self::BadRequest(reason.to_string()),
            NoToken::More => Self::Refused(reason.to_string()),
            NoToken::NotMade(reason) => reason.into(),
        }
    }
}

impl From<BadKind> for ApiError {
    fn from(reason: BadKind) -> Self {
        Self::BadBody(reason.to_string())
    }
}
