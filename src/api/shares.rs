//! `/sessions/{id}/shares`, `/sessions/{id}/owner`, and the same of batches: with whom they are shared, and whose they are.
//!
//! Nobody gets what they did not ask for: an owner offers (a share to `own`), and who was offered it takes it. So nobody's quota is filled by another,
//! and nobody learns which names another's sessions have. Superusers hand over at once.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put};

use super::App;
use super::error::ApiError;
use super::guard::{OnBatch, OnSession, Owned, Share as MayShare, Take};
use super::json::{ok, read, respond};
use super::wire::{Message, OwnerRequest, ShareRequest, SharesView};
use crate::access::{Action, Caller, Refused, Verdict, may, user_name, valid_group};
use crate::batch::Batch;
use crate::config::RunAsMode;
use crate::ownership::{Grantee, Right, Share};
use crate::session::{Session, SharingError};

/// What can be shared.
trait Shared: Owned {
    async fn share(&self, app: &App, share: Share) -> Result<(), SharingError>;
    async fn unshare(&self, app: &App, with: Grantee) -> Result<bool, SharingError>;
    async fn hand_over(&self, app: &App, to: &str) -> Result<(), SharingError>;
}

macro_rules! shared {
    ($($kind:ident in $registry:ident),+) => { $(
        impl Shared for $kind {
            async fn share(&self, app: &App, share: Share) -> Result<(), SharingError> {
                app.$registry.share(self, share).await
            }
            async fn unshare(&self, app: &App, with: Grantee) -> Result<bool, SharingError> {
                app.$registry.unshare(self, with).await
            }
            async fn hand_over(&self, app: &App, to: &str) -> Result<(), SharingError> {
                app.$registry.hand_over(self, to).await
            }
        }
    )+ };
}

shared! { Session in sessions, Batch in batches }

macro_rules! routes {
    ($(
        $guard:ident of $what:ident:
        $list:ident = $list_id:literal at $shares:literal,
        $put:ident = $put_id:literal, $delete:ident = $delete_id:literal at $share:literal,
        $post:ident = $post_id:literal at $owner:literal;
    )+) => { $(
        /// With whom it is shared, for who may share it.
        #[utoipa::path(
            operation_id = $list_id,
            tag = "shares",
            params(("id" = String, Path, description = "id or name")),
            responses((status = 200, body = SharesView), (status = 403), (status = 404))
        )]
        #[get($shares)]
        pub async fn $list(on: $guard<MayShare>, request: HttpRequest) -> HttpResponse {
            ok(&request, &SharesView::from(&*on.$what.whose()))
        }

        /// Shares it with a user or a group, or changes what they may do.
        #[utoipa::path(
            operation_id = $put_id,
            tag = "shares",
            params(
                ("id" = String, Path, description = "id or name"),
                ("kind" = String, Path, description = "`users` or `groups`"),
                ("name" = String, Path, description = "the user's or group's"),
            ),
            request_body = ShareRequest,
            responses(
                (status = 200, body = SharesView),
                (status = 400, description = "no such right, no name that a user or group can have, over limits.shares, or nobody has to say who they are"),
                (status = 403),
                (status = 404),
                (status = 503),
            )
        )]
        #[put($share)]
        pub async fn $put(
            on: $guard<MayShare>,
            payload: Payload,
            request: HttpRequest,
        ) -> Result<HttpResponse, ApiError> {
            put_share(&on.app, &on.$what, &request, payload).await
        }

        /// Takes back what a user or a group was given.
        #[utoipa::path(
            operation_id = $delete_id,
            tag = "shares",
            params(
                ("id" = String, Path, description = "id or name"),
                ("kind" = String, Path, description = "`users` or `groups`"),
                ("name" = String, Path, description = "the user's or group's"),
            ),
            responses((status = 200, body = Message), (status = 403), (status = 404, description = "there is none"), (status = 503))
        )]
        #[delete($share)]
        pub async fn $delete(on: $guard<MayShare>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
            delete_share(&on.app, &on.$what, &request).await
        }

        /// Hands it over: a superuser does so at once, an owner offers it, and who was offered it takes it by naming themselves.
        #[utoipa::path(
            operation_id = $post_id,
            tag = "shares",
            params(("id" = String, Path, description = "id or name")),
            request_body = OwnerRequest,
            responses(
                (status = 200, body = Message, description = "it is that user's"),
                (status = 202, body = Message, description = "it is offered to that user"),
                (status = 400),
                (status = 403),
                (status = 404),
                (status = 409, description = "the new owner has one of this name, or no room for it in their quota or of the GPUs; or drivers run as their owners, or act for them on a cluster (run_as.mode, hadoop.*)"),
                (status = 503),
            )
        )]
        #[post($owner)]
        pub async fn $post(
            on: $guard<Take>,
            payload: Payload,
            request: HttpRequest,
        ) -> Result<HttpResponse, ApiError> {
            hand_over(&on.app, &on.$what, &on.acting, &request, payload).await
        }
    )+ };
}

routes! {
    OnSession of session:
    session_shares = "listSessionShares" at "/sessions/{id}/shares",
    share_session = "shareSession", unshare_session = "unshareSession" at "/sessions/{id}/shares/{kind}/{name}",
    hand_over_session = "handOverSession" at "/sessions/{id}/owner";

    OnBatch of batch:
    batch_shares = "listBatchShares" at "/batches/{id}/shares",
    share_batch = "shareBatch", unshare_batch = "unshareBatch" at "/batches/{id}/shares/{kind}/{name}",
    hand_over_batch = "handOverBatch" at "/batches/{id}/owner";
}

async fn put_share(
    app: &App,
    what: &impl Shared,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body: ShareRequest = read(request, payload).await?;
    needs_users(app)?;
    let right = body.access.as_deref().and_then(Right::parse);
    let right = right
        .ok_or_else(|| ApiError::BadBody("access: it must be \"view\", \"modify\" or \"own\"".to_owned()))?;
    let with = grantee(app, request)?;
    what.share(app, Share { with, right }).await?;
    Ok(ok(request, &SharesView::from(&*what.whose())))
}

async fn delete_share(
    app: &App,
    what: &impl Shared,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    match what.unshare(app, grantee(app, request)?).await? {
        true => Ok(ok(request, &Message { msg: "deleted" })),
        false => Err(ApiError::ShareNotFound),
    }
}

async fn hand_over(
    app: &App,
    what: &impl Shared,
    acting: &Caller,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body: OwnerRequest = read(request, payload).await?;
    needs_users(app)?;
    if app.config.run_as.mode == RunAsMode::Owner {
        // Its new owner would run code as the Unix user of the old one.
        return Err(ApiError::Conflict(
            "Its driver runs as its owner's Unix user (run_as.mode), so it can't be another's; it can be shared.".to_owned(),
        ));
    }
    if app.config.hadoop.acts_for_users() {
        return Err(ApiError::Conflict(
            "Its driver acts for its user on the cluster (hadoop.keytab, hadoop.proxy_user), so it can't be another's; it can be shared."
                .to_owned(),
        ));
    }
    let user = body
        .user
        .ok_or_else(|| ApiError::BadBody("user: it is missing".to_owned()))?;
    let user = user_name(&user, &app.config.access).ok_or(Refused::Name)?;
    if acting.admin || acting.user.as_ref() == Some(&user) {
        what.hand_over(app, &user).await?;
        return Ok(ok(request, &Message { msg: "handed over" }));
    }
    if may(acting, Action::Share, &what.whose(), &app.config.access) != Verdict::Allowed {
        return Err(ApiError::Forbidden);
    }
    let with = Grantee::User(user);
    let right = Right::Own;
    what.share(app, Share { with, right }).await?;
    Ok(respond(
        request,
        HttpResponse::Accepted(),
        &Message { msg: "offered" },
    ))
}

/// Where nobody has to say who they are, there is nobody to share with.
fn needs_users(app: &App) -> Result<(), ApiError> {
    if app.config.access.mode.is_open() {
        return Err(ApiError::BadRequest(
            "Without authentication (access.mode) everything is everybody's.".to_owned(),
        ));
    }
    Ok(())
}

/// The user or group that the path names.
fn grantee(app: &App, request: &HttpRequest) -> Result<Grantee, ApiError> {
    let decoded = |part: &str| {
        let text = request.match_info().query(part);
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        text.map(std::borrow::Cow::into_owned).unwrap_or_default()
    };
    let name = decoded("name");
    match decoded("kind").as_str() {
        "users" => {
            let user = user_name(&name, &app.config.access).ok_or(Refused::Name)?;
            Ok(Grantee::User(user))
        }
        "groups" if valid_group(&name) => Ok(Grantee::Group(name)),
        "groups" => Err(ApiError::BadRequest(
            "Invalid group name: it must not be empty or over 512 bytes, and have no blanks around it and no control characters."
                .to_owned(),
        )),
        _ => Err(ApiError::ShareNotFound),
    }
}
