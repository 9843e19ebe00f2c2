//! Permission in the signature: a handler gets the server or a session only by naming what it will do there.
//!
//! `OnServer<Create>` and `OnSession<Modify>` are extractors. Each finds out who calls, looks the session up, and asks `access`
//! whether that caller may; a handler without one has nothing to work on.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;

use super::App;
use super::caller::caller;
use super::error::ApiError;
use super::pages::number;
use super::trail::Notes;
use crate::access::{Action, Caller, Reach, Verdict, effective, may};
use crate::batch::Batch;
use crate::config::MetricsAccess;
use crate::ownership::Ownership;
use crate::session::Session;
use crate::store::{SessionRow, Subject};

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
    /// Deals with what is the caller's own, such as tokens; needs a caller, no right.
    Account = Some(Action::List);
    /// Sees that a session is there, and its state.
    See = Some(Action::Show);
    /// Reads a session's log and statements.
    View = Some(Action::View);
    /// Changes a session.
    Modify = Some(Action::Modify);
    /// Makes a session another's.
    Take = Some(Action::Take);
    /// Sees and changes with whom a session is shared.
    Share = Some(Action::Share);
    /// Asks about the server itself.
    Administer = Some(Action::Admin);
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

    /// Whose rights count: who calls, or as whom they act.
    pub fn acting(&self) -> &Caller {
        &self.acting
    }

    /// True for a session or batch that a list may show.
    pub fn may_see(&self, of: &impl Owned) -> bool {
        matches!(self.verdict(of), Verdict::Allowed | Verdict::Emptied)
    }

    /// True for one of which a list shows only the outside.
    pub fn is_stranger_to(&self, of: &impl Owned) -> bool {
        self.verdict(of) == Verdict::Emptied
    }

    /// Whether the caller may ask about the server itself.
    pub fn is_admin(&self) -> bool {
        let nobodys = Ownership::default();
        may(&self.acting, Action::Admin, &nobodys, &self.app.config.access) == Verdict::Allowed
    }

    /// Whose ended sessions the caller may see, with the groups that some are shared with; none for everybody's.
    pub fn only_owner(&self) -> Option<(&str, &[String])> {
        let user = self.acting.user.as_deref()?;
        (self.acting.everywhere() == Reach::None).then_some((user, self.acting.groups()))
    }
}

/// What has an owner.
pub trait Owned: Sized {
    /// Whose it is, and with whom it is shared.
    fn whose(&self) -> Arc<Ownership>;
    /// What it is.
    fn subject(&self) -> Subject;
    /// The one with this id.
    fn by_id(app: &App, id: i64) -> Option<Self>;
    /// The one of this owner with this name.
    fn by_name(app: &App, owner: Option<&str>, name: &str) -> Option<Self>;
    /// The one with this name that runs as this user, and is another's.
    fn run_as(app: &App, user: &str, name: &str) -> Option<Self>;
}

impl Owned for Session {
    fn whose(&self) -> Arc<Ownership> {
        self.whose.get()
    }
    fn subject(&self) -> Subject {
        Subject::Session(self.id)
    }
    fn by_id(app: &App, id: i64) -> Option<Self> {
        app.sessions.by_id(id)
    }
    fn by_name(app: &App, owner: Option<&str>, name: &str) -> Option<Self> {
        app.sessions.by_name(owner, name)
    }
    fn run_as(app: &App, user: &str, name: &str) -> Option<Self> {
        app.sessions.run_as(user, name)
    }
}

impl Owned for Batch {
    fn whose(&self) -> Arc<Ownership> {
        self.whose.get()
    }
    fn subject(&self) -> Subject {
        Subject::Batch(self.id)
    }
    fn by_id(app: &App, id: i64) -> Option<Self> {
        app.batches.by_id(id)
    }
    fn by_name(app: &App, owner: Option<&str>, name: &str) -> Option<Self> {
        app.batches.by_name(owner, name)
    }
    fn run_as(app: &App, user: &str, name: &str) -> Option<Self> {
        app.batches.run_as(user, name)
    }
}

/// A batch, for a caller who may do `A` to it.
#[derive(Debug)]
pub struct OnBatch<A> {
    /// The server.
    pub app: Data<App>,
    /// The batch that the path names.
    pub batch: Batch,
    /// Whose rights count: who calls, or as whom they act.
    pub acting: Caller,
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
    /// Whose rights count: who calls, or as whom they act.
    pub acting: Caller,
    /// True where only the outside of the session may be shown.
    pub is_stranger: bool,
    act: PhantomData<A>,
}

/// The server, for who may ask for its metrics: everybody with `metrics.access = "open"`, else as [`OnServer<Administer>`].
#[derive(Debug)]
pub struct OnMetrics {
    /// The server.
    pub app: Data<App>,
}

/// The parts of the query that say as whom to act, and whose session a name is of.
#[derive(Default, Deserialize)]
struct Acting {
    #[serde(rename = "doAs")]
    do_as: Option<String>,
    owner: Option<String>,
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
                Some(Action::List | Action::Admin) => acting(&app, &caller, &request)?,
                _ => caller.clone(),
            };
            if let Some(action) = A::ACTION {
                let nobodys = Ownership::default();
                let verdict = may(&acting, action, &nobodys, &app.config.access);
                allowed(&request, verdict, "")?;
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

impl FromRequest for OnMetrics {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        match app(request) {
            Ok(app) if app.config.metrics.access == MetricsAccess::Open => {
                return Box::pin(ready(Ok(Self { app })));
            }
            _ => {}
        }
        let asked = OnServer::<Administer>::from_request(request, payload);
        Box::pin(async move { asked.await.map(|on| Self { app: on.app }) })
    }
}

impl<A: Act + 'static> FromRequest for OnSession<A> {
    type Error = ApiError;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (app, session, acting, is_stranger) = named::<Session>(&request, A::ACTION).await?;
            if !is_stranger {
                session.heard();
            }
            Ok(Self {
                app,
                session,
                acting,
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
            let (app, batch, acting, is_stranger) = named::<Batch>(&request, A::ACTION).await?;
            Ok(Self {
                app,
                batch,
                acting,
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
            let session = found.ok_or_else(|| not_found(named))?;
            Notes::of(&request).subject(Subject::Session(session.id));
            let whose = app.sessions.whose_ended(&session).await?;
            let action = A::ACTION.unwrap_or(Action::Modify);
            let verdict = may(&acting, action, &whose, &app.config.access);
            // The history has nothing of others, not even emptied.
            let verdict = if verdict == Verdict::Emptied {
                Verdict::Hidden
            } else {
                verdict
            };
            allowed(&request, verdict, named)?;
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
    may(caller, action, &of.whose(), &app.config.access)
}

/// What the path names, where the caller may do that to it, whose rights count, and whether only its outside may be shown.
async fn named<T: Owned>(
    request: &HttpRequest,
    action: Option<Action>,
) -> Result<(Data<App>, T, Caller, bool), ApiError> {
    let app = app(request)?;
    let caller = caller(&app, request).await?;
    let acting = acting(&app, &caller, request)?;
    let named = request.match_info().query("id");
    let found: T = find(&app, &acting, named, asked(request).owner.as_deref())?;
    Notes::of(request).subject(found.subject());
    let verdict = verdict(&app, &acting, action.unwrap_or(Action::Modify), &found);
    allowed(request, verdict, named)?;
    Ok((app, found, acting, verdict == Verdict::Emptied))
}

fn allowed(request: &HttpRequest, verdict: Verdict, named: &str) -> Result<(), ApiError> {
    match verdict {
        Verdict::Allowed | Verdict::Emptied => Ok(()),
        Verdict::Hidden => {
            Notes::of(request).refused();
            Err(not_found(named))
        }
        Verdict::Forbidden => Err(ApiError::Forbidden),
    }
}

/// The same words for what is not there and for what is another's.
fn not_found(named: &str) -> ApiError {
    ApiError::SessionNotFound(named.chars().take(256).collect())
}

/// A path element that is all digits is an id, any other a name: the caller's own, or that of one that runs as the caller. Another's is found by
/// its name only where the query says whose (`owner`), so that none is taken for one's own that has just ended.
fn find<T: Owned>(app: &App, caller: &Caller, named: &str, owner: Option<&str>) -> Result<T, ApiError> {
    let found = if !named.is_empty() && named.bytes().all(|byte| byte.is_ascii_digit()) {
        T::by_id(app, number(named)?)
    } else {
        let name = percent_encoding::percent_decode_str(named).decode_utf8_lossy();
        match (owner, caller.user.as_deref()) {
            (Some(owner), _) => T::by_name(app, Some(owner), &name),
            (None, own) => {
                T::by_name(app, own, &name).or_else(|| own.and_then(|own| T::run_as(app, own, &name)))
            }
        }
    };
    found.ok_or_else(|| not_found(named))
}

fn asked(request: &HttpRequest) -> Acting {
    if request.query_string().is_empty() {
        return Acting::default();
    }
    Query::<Acting>::from_query(request.query_string())
        .map(Query::into_inner)
        .unwrap_or_default()
}

fn acting(app: &App, caller: &Caller, request: &HttpRequest) -> Result<Caller, ApiError> {
    let acting = effective(caller, asked(request).do_as.as_deref(), &app.config.access)?;
    if acting.user != caller.user {
        Notes::of(request).acting_as(acting.user.as_deref());
    }
    Ok(acting)
}
