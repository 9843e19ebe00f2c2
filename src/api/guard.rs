//! Permission in the signature: a handler gets the server or a session only by naming what it will do there.
//!
//! `OnServer<Create>` and `OnSession<Modify>` are extractors. Each finds out who calls, looks the session up, and asks `access`
//! whether that caller may; a handler without one has nothing to work on.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::pages::number;
use crate::access::{Action, Caller, Verdict, effective, may};
use crate::authentication::Presented;
use crate::batch::Batch;
use crate::session::Session;
use crate::store::SessionRow;

/// What a handler does, as a type.
pub trait Act {
    /// None: open to callers who have not said who they are.
    const ACTION: Option<Action>;
}

macro_rules! acts {
    ($($(#[doc = $doc:literal])+ $name:ident = $action:expr;)+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Act for $name { const ACTION: Option<Action> = $action; }
    )+ };
}

acts! {
    /// Needs nothing: for answers that tell nothing of anybody.
    Open = None;
    /// Makes sessions.
    Create = Some(Action::Create);
    /// Lists what the caller may see; needs a caller, no right.
    List = Some(Action::List);
    /// Sees that a session is there, and its state.
    See = Some(Action::Show);
    /// Reads a session's log and statements.
    View = Some(Action::View);
    /// Changes a session.
    Modify = Some(Action::Modify);
}

/// The server, for a caller who may do `A`.
#[derive(Debug)]
pub struct OnServer<A> {
    /// The server.
    pub app: Data<App>,
    /// Who calls.
    pub caller: Caller,
    /// As whom the caller acts, where a query says so and it is allowed.
    acting: Caller,
    act: PhantomData<A>,
}

impl<A> OnServer<A> {
    fn verdict(&self, of: &impl Owned) -> Verdict {
        verdict(&self.app, &self.acting, Action::Show, of)
    }

    /// True for a session or batch that a list may show.
    pub fn may_see(&self, of: &impl Owned) -> bool {
        matches!(self.verdict(of), Verdict::Allowed | Verdict::Emptied)
    }

    /// True for one of which a list shows only the outside.
    pub fn is_stranger_to(&self, of: &impl Owned) -> bool {
        self.verdict(of) == Verdict::Emptied
    }

    /// Whose ended sessions the caller may see; none for everybody's.
    pub fn only_owner(&self) -> Option<&str> {
        self.acting.user.as_deref().filter(|_| !self.acting.admin)
    }
}

/// What has an owner.
pub trait Owned: Sized {
    /// Who created it.
    fn owner(&self) -> Option<&str>;
    /// As whom its driver runs.
    fn proxy_user(&self) -> Option<&str>;
    /// The one with this id.
    fn by_id(app: &App, id: i64) -> Option<Self>;
    /// The one with this name: the caller's own comes before another's.
    fn by_name(app: &App, caller: &Caller, name: &str) -> Option<Self>;
}

impl Owned for Session {
    fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
    fn proxy_user(&self) -> Option<&str> {
        self.proxy_user.as_deref()
    }
    fn by_id(app: &App, id: i64) -> Option<Self> {
        app.sessions.by_id(id)
    }
    fn by_name(app: &App, caller: &Caller, name: &str) -> Option<Self> {
        app.sessions.by_name(caller.user.as_deref(), name, true)
    }
}

impl Owned for Batch {
    fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
    fn proxy_user(&self) -> Option<&str> {
        self.proxy_user.as_deref()
    }
    fn by_id(app: &App, id: i64) -> Option<Self> {
        app.batches.by_id(id)
    }
    fn by_name(app: &App, caller: &Caller, name: &str) -> Option<Self> {
        app.batches.by_name(caller.user.as_deref(), name)
    }
}

/// A batch, for a caller who may do `A` to it.
#[derive(Debug)]
pub struct OnBatch<A> {
    /// The server.
    pub app: Data<App>,
    /// The batch that the path names.
    pub batch: Batch,
    /// True where only the outside of the batch may be shown.
    pub is_stranger: bool,
    act: PhantomData<A>,
}

/// A session, for a caller who may do `A` to it. Its heartbeat is renewed.
#[derive(Debug)]
pub struct OnSession<A> {
    /// The server.
    pub app: Data<App>,
    /// The session that the path names.
    pub session: Session,
    /// True where only the outside of the session may be shown.
    pub is_stranger: bool,
    act: PhantomData<A>,
}

/// The part of the query that says as whom to act.
#[derive(Deserialize)]
struct Acting {
    #[serde(rename = "doAs")]
    do_as: Option<String>,
}

/// A session that has ended and is kept, for a caller who may do `A` to it.
#[derive(Debug)]
pub struct OnEnded<A> {
    /// The server.
    pub app: Data<App>,
    /// What is stored of the session that the path names.
    pub session: SessionRow,
    act: PhantomData<A>,
}

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl<A: Act + 'static> FromRequest for OnServer<A> {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let app = app(&request)?;
            let caller = match A::ACTION {
                None => Caller::anonymous(),
                Some(_) => caller(&app, &request).await?,
            };
            // On creation `doAs` names the new session's proxy user, which the policy looks at.
            let acting = match A::ACTION {
                Some(Action::List) => acting(&app, &caller, &request)?,
                _ => caller.clone(),
            };
            if let Some(action) = A::ACTION {
                allowed(may(&acting, action, None, None, &app.config.access), "")?;
            }
            Ok(Self {
                app,
                caller,
                acting,
                act: PhantomData,
            })
        })
    }
}

impl<A: Act + 'static> FromRequest for OnSession<A> {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (app, session, is_stranger) = named::<Session>(&request, A::ACTION).await?;
            session.heard();
            Ok(Self {
                app,
                session,
                is_stranger,
                act: PhantomData,
            })
        })
    }
}

impl<A: Act + 'static> FromRequest for OnBatch<A> {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (app, batch, is_stranger) = named::<Batch>(&request, A::ACTION).await?;
            Ok(Self {
                app,
                batch,
                is_stranger,
                act: PhantomData,
            })
        })
    }
}

impl<A: Act + 'static> FromRequest for OnEnded<A> {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let app = app(&request)?;
            let caller = caller(&app, &request).await?;
            let acting = acting(&app, &caller, &request)?;
            let named = request.match_info().query("id");
            let found = app.sessions.ended(number(named)?).await?;
            let session = found.ok_or_else(|| ApiError::SessionNotFound(named.to_owned()))?;
            let verdict = may(
                &acting,
                A::ACTION.unwrap_or(Action::Modify),
                session.owner.as_deref(),
                session.proxy_user.as_deref(),
                &app.config.access,
            );
            // The history has nothing of others, not even emptied.
            let verdict = if verdict == Verdict::Emptied {
                Verdict::Hidden
            } else {
                verdict
            };
            allowed(verdict, named)?;
            Ok(Self {
                app,
                session,
                act: PhantomData,
            })
        })
    }
}

fn app(request: &HttpRequest) -> Result<Data<App>, ApiError> {
    let app = request.app_data::<Data<App>>().cloned();
    app.ok_or_else(|| ApiError::Unavailable("The server is not set up.".to_owned()))
}

fn verdict(app: &App, caller: &Caller, action: Action, of: &impl Owned) -> Verdict {
    may(caller, action, of.owner(), of.proxy_user(), &app.config.access)
}

/// What the path names, where the caller may do that to it, and whether only its outside may be shown.
async fn named<T: Owned>(
    request: &HttpRequest,
    action: Option<Action>,
) -> Result<(Data<App>, T, bool), ApiError> {
    let app = app(request)?;
    let caller = caller(&app, request).await?;
    let acting = acting(&app, &caller, request)?;
    let named = request.match_info().query("id");
    let found = find(&app, &acting, named)?;
    let verdict = verdict(&app, &acting, action.unwrap_or(Action::Modify), &found);
    allowed(verdict, named)?;
    Ok((app, found, verdict == Verdict::Emptied))
}

fn allowed(verdict: Verdict, named: &str) -> Result<(), ApiError> {
    match verdict {
        Verdict::Allowed | Verdict::Emptied => Ok(()),
        Verdict::Hidden => Err(ApiError::SessionNotFound(named.to_owned())),
        Verdict::Forbidden => Err(ApiError::Forbidden),
    }
}

/// A path element that is all digits is an id, any other a name.
fn find<T: Owned>(app: &App, caller: &Caller, named: &str) -> Result<T, ApiError> {
    let found = if !named.is_empty() && named.bytes().all(|byte| byte.is_ascii_digit()) {
        T::by_id(app, number(named)?)
    } else {
        let name = percent_encoding::percent_decode_str(named).decode_utf8_lossy();
        T::by_name(app, caller, &name)
    };
    found.ok_or_else(|| ApiError::SessionNotFound(named.chars().take(256).collect()))
}

fn acting(app: &App, caller: &Caller, request: &HttpRequest) -> Result<Caller, ApiError> {
    if request.query_string().is_empty() {
        return Ok(effective(caller, None, &app.config.access)?);
    }
    let do_as = Query::<Acting>::from_query(request.query_string())
        .ok()
        .and_then(|query| query.into_inner().do_as);
    Ok(effective(caller, do_as.as_deref(), &app.config.access)?)
}

/// What a request says of who sends it.
fn presented(request: &HttpRequest) -> Presented {
    let header = |name| {
        let value = request.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Presented {
        authorization: header(AUTHORIZATION),
    }
}

/// Who calls: nobody in particular without authentication. What was proved stays with the request, for its answer (`gate.rs`).
async fn caller(app: &Data<App>, request: &HttpRequest) -> Result<Caller, ApiError> {
    let proved = app.authentication.prove(&presented(request)).await?;
    let caller = proved.caller.clone();
    request.extensions_mut().insert(proved);
    Ok(caller)
}
