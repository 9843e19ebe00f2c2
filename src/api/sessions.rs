//! `/sessions`: made, listed, shown, ended.

use std::collections::BTreeMap;

use actix_web::http::header::{LOCATION, USER_AGENT};
use actix_web::web::{Payload, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::accepted::{self, Accepted, Wanted, rejected};
use super::answered::answered;
use super::drain;
use super::error::ApiError;
use super::followed_log::{Follow, follow};
use super::guard::{Create, List, Modify, OnServer, OnSession, See, View};
use super::json::{REPLAYED, ignore, ok, read_keyed};
use super::link_to;
use super::named_uploads::NamedUploads;
use super::pages::{PageQuery, log_page};
use super::tagged::{NotModified, Tagged, json_of, page, send, tagged};
use super::traced::context_of;
use super::wire::{CreateSession, Log, Message, SessionView, SessionsView, StateView};
use crate::access::target_user;
use crate::policy;
use crate::profile::spark_conf;
use crate::quota;
use crate::ready::{Kept, Ready};
use crate::session::{DriverMark, DriverSpec, Echo, Kind, NewSession, Resources, Session, Snapshot};

/// Log lines that a session shows of itself (livy-spec.md, 1.3).
pub const LOG_LINES: usize = 10;
/// Why there is no session where drivers run in the cluster.
const IN_CLUSTER: &str = "this server runs drivers in the cluster (spark.deploy_mode = \"cluster\"), from where a session's can't call it: \
                          send a batch, or ask the administrator to set link.listen";
/// Livy's conf key for the rows of a SQL result.
const SQL_ROWS: &str = "livy.rsc.sql.num-rows";

/// Livy's impersonation by query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DoAs {
    /// As whom to act; it wins over the body's `proxyUser`. Ignored unless `access.impersonation` is on.
    #[serde(rename = "doAs")]
    pub do_as: Option<String>,
}

/// All sessions that the caller may see.
#[utoipa::path(operation_id = "listSessions", tag = "sessions", params(PageQuery, Tagged), responses((status = 200, body = SessionsView), NotModified))]
#[get("/sessions")]
pub async fn list(
    on: OnServer<List>,
    wanted: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = wanted.window(on.app.config.limits.page)?;
    let all: Vec<Session> = on
        .app
        .sessions
        .all()
        .into_iter()
        .filter(|session| on.may_see(session))
        .collect();
    let total = all.len();
    let shown = window
        .of(all)
        .into_iter()
        .map(|session| (on.is_stranger_to(&session), session))
        .collect();
    let rows = all_shown(&on.app, &request, shown).await?;
    let around = SessionsView {
        from: window.from,
        total,
        sessions: Vec::new(),
    };
    Ok(page(&request, &around, &rows))
}

/// Starts a session.
#[utoipa::path(
    operation_id = "createSession",
    tag = "sessions",
    params(
        DoAs,
        ("Idempotency-Key" = Option<String>, Header, description = "the same key and body are answered with the same session for retention.idempotency"),
    ),
    request_body = CreateSession,
    responses(
        (status = 201, body = SessionView, headers(("Location" = String, description = "the session's path"))),
        (status = 400, description = "the request can't be met, or never within the caller's quota; the body says why"),
        (status = 403, description = "the caller may not act as that user"),
        (status = 404, description = "the session that the Idempotency-Key made is gone"),
        (status = 413, description = "the body is over limits.request_body"),
        (status = 422, description = "the Idempotency-Key came with another request before"),
        (status = 503, description = "the queue is full, the store fails, or the server is stopping; try again after Retry-After"),
    )
)]
#[post("/sessions")]
pub async fn create(
    on: OnServer<Create>,
    query: Query<DoAs>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let app = on.app.clone();
    let scope = match &on.caller.user {
        Some(user) => format!("user/{user}"),
        None => "everybody".to_owned(),
    };
    let (body, key) = read_keyed(&request, payload, scope).await?;
    // Held until what the request makes is found among the live ones.
    let mut uploads = NamedUploads::new(&app.uploads, on.caller.user.as_deref());
    let accepted = accept(&on, &mut uploads, query.into_inner().do_as, body);
    if accepted.is_ok()
        && let Some(refusal) = drain::refusal(&app, "sessions")
    {
        return Err(refusal);
    }
    let (session, replayed) = match accepted {
        Ok(mut new) => {
            new.trace = context_of(&request);
            crate::kill_point!("create.parsed");
            let created = app.sessions.create(new, key).await?;
            created.0.settled().await;
            created
        }
        Err(refusal) => (app.sessions.made_before(key).await?.ok_or(refusal)?, true),
    };
    let location = link_to(&request, &format!("/sessions/{}", session.id));
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, location));
    if replayed {
        response.insert_header(REPLAYED);
    }
    let ready = shown(&app, &request, &session, false).await?;
    Ok(answered("create.answered", send(&request, response, &ready)))
}

/// Applies the policy to a request; nothing is used up when it is refused.
fn accept(
    on: &OnServer<Create>,
    uploads: &mut NamedUploads<'_>,
    do_as: Option<String>,
    body: CreateSession,
) -> Result<NewSession, ApiError> {
    let config = &on.app.config;
    let kind = body.kind.as_deref().map_or(Ok(Kind::Shared), Kind::parse)?;
    let wanted = body.proxy_user.clone();
    let proxy_user = target_user(&on.caller, do_as.as_deref(), wanted.as_deref(), &config.access)?;
    let duration = |text: &Option<String>| text.as_deref().map(policy::parse_duration).transpose();
    let ttl = duration(&body.ttl)
        .map_err(rejected)?
        .or(config.session.ttl.positive());
    let idle_timeout = match duration(&body.idle_timeout).map_err(rejected)? {
        Some(limit) => Some(limit).filter(|limit| !limit.is_zero()),
        None => config.session.idle_timeout.positive(),
    };

    let Accepted {
        cluster,
        in_cluster,
        conf,
        resources,
        gpus,
        conf_dirs,
        cost,
        mut notes,
    } = accepted::accept(
        &on.app,
        &on.caller,
        uploads,
        Wanted {
            what: quota::Kind::Session,
            name: body.name.as_deref(),
            proxy_user: proxy_user.as_deref(),
            conf: &body.conf,
            jars: &body.jars,
            py_files: &body.py_files,
            files: &body.files,
            archives: &body.archives,
            resources: Resources {
                driver_memory: body.driver_memory.clone(),
                driver_cores: body.driver_cores,
                executor_memory: body.executor_memory.clone(),
                executor_cores: body.executor_cores,
                num_executors: body.num_executors,
                queue: body.queue.clone(),
                ..Resources::default()
            },
        },
    )?;
    if in_cluster.spark.runs_in_cluster() && config.link.address().is_none() {
        return Err(ApiError::Rejected(IN_CLUSTER.to_owned()));
    }
    notes.extend(accepted::unknown_fields(&body.unknown));
    if wanted.is_some() && !config.access.impersonation {
        notes.push("The request's proxyUser was ignored: access.impersonation is off.".to_owned());
    }
    let driver = DriverSpec {
        cluster,
        kind: kind.as_str().to_owned(),
        app_name: body
            .name
            .clone()
            .or_else(|| conf.get("spark.app.name").cloned())
            .unwrap_or_default(),
        sql_max_rows: sql_rows(on, &conf, &mut notes)?,
        conf: spark_conf(&conf),
        conf_dirs,
        proxy_user: proxy_user.clone(),
        resources,
        ..DriverSpec::default()
    };
    let echo = Echo {
        ttl: body.ttl,
        idle_timeout: body.idle_timeout,
        driver_memory: body.driver_memory,
        driver_cores: body.driver_cores.unwrap_or(0),
        executor_memory: body.executor_memory,
        executor_cores: body.executor_cores.unwrap_or(0),
        conf: body.conf,
        archives: body.archives,
        files: body.files,
        heartbeat_timeout_in_second: body.heartbeat_timeout_in_second.unwrap_or(0),
        jars: body.jars,
        num_executors: body.num_executors.unwrap_or(0),
        py_files: body.py_files,
        queue: body.queue,
    };
    let owner = on.caller.user.clone();
    Ok(NewSession {
        name: body.name,
        kind,
        owner,
        proxy_user,
        echo,
        driver,
        ttl,
        idle_timeout,
        notes,
        uploads: uploads.ids(),
        gpus,
        cost,
        groups: on.caller.groups().to_vec(),
        trace: None,
    })
}

fn sql_rows(
    on: &OnServer<Create>,
    conf: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Result<usize, ApiError> {
    let sql = &on.app.config.sql;
    let Some(text) = conf.get(SQL_ROWS) else {
        return Ok(sql.max_rows);
    };
    let wanted: usize = text
        .trim()
        .parse()
        .map_err(|_| ApiError::Rejected(format!("{SQL_ROWS} needs a whole number, not {text:?}")))?;
    if wanted > sql.max_rows_ceiling {
        notes.push(format!(
            "{SQL_ROWS} is limited to {} (sql.max_rows_ceiling).",
            sql.max_rows_ceiling
        ));
    }
    Ok(wanted.min(sql.max_rows_ceiling))
}

/// One session, by id or name.
#[utoipa::path(
    operation_id = "getSession",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name"), Tagged),
    responses((status = 200, body = SessionView), NotModified, (status = 404, description = "there is none, or it is somebody else's"))
)]
#[get("/sessions/{id}")]
pub async fn show(on: OnSession<See>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let ready = shown(&on.app, &request, &on.session, on.is_stranger).await?;
    Ok(send(&request, HttpResponse::Ok(), &ready))
}

/// One session's state.
#[utoipa::path(
    operation_id = "getSessionState",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name"), Tagged),
    responses((status = 200, body = StateView), NotModified, (status = 404))
)]
#[get("/sessions/{id}/state")]
pub async fn state(on: OnSession<See>, request: HttpRequest) -> HttpResponse {
    let snapshot = on.session.snapshot();
    let view = StateView {
        id: on.session.id,
        state: snapshot.state.as_str(),
    };
    let ready = snapshot.state_body.or_make(|| json_of(&view));
    send(&request, HttpResponse::Ok(), &ready)
}

/// A page of the session's log: standard output, standard error, and what the server adds.
#[utoipa::path(
    operation_id = "getSessionLog",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name"), PageQuery, Follow, Tagged),
    responses((status = 200, body = Log, description = "with follow=true plain text"), NotModified, (status = 403), (status = 404), (status = 503, description = "too many clients follow (events.clients)"))
)]
#[get("/sessions/{id}/log")]
pub async fn log(
    on: OnSession<View>,
    page: Query<PageQuery>,
    how: Query<Follow>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (from, size) = (page.from()?, page.size()?);
    if how.follow == Some(true) {
        let followed = on.session.clone();
        return follow(&on.app, from, move || followed.snapshot().log_now());
    }
    let snapshot = on.session.snapshot();
    let max_bytes = on.app.config.log.max_bytes.bytes();
    let lines = on
        .app
        .background
        .bulk(move || snapshot.log(max_bytes))
        .await
        .unwrap_or_default();
    let total = lines.len();
    let (from, log) = log_page(from, size, lines);
    Ok(tagged(
        &request,
        &Log {
            id: on.session.id,
            from,
            total,
            log,
        },
    ))
}

/// Says that a client uses an existing session.
#[utoipa::path(
    operation_id = "connectSession",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = SessionView), (status = 403), (status = 404))
)]
#[post("/sessions/{id}/connect")]
pub async fn connect(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    ignore(&request, payload).await?;
    on.session.active();
    let ready = shown(&on.app, &request, &on.session, false).await?;
    Ok(send(&request, HttpResponse::Ok(), &ready))
}

/// Cancels the statement that runs. Livy stops the session here; Hue calls this to cancel.
#[utoipa::path(
    operation_id = "interruptSession",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = Message), (status = 403), (status = 404))
)]
#[post("/sessions/{id}/interrupt")]
pub async fn interrupt(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    ignore(&request, payload).await?;
    on.session.interrupt().await?;
    Ok(ok(&request, &Message { msg: "interrupted" }))
}

/// Deletes a session and ends its driver. It is not found from the answer on.
#[utoipa::path(
    operation_id = "deleteSession",
    tag = "sessions",
    params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = Message), (status = 403), (status = 404), (status = 503))
)]
#[delete("/sessions/{id}")]
pub async fn delete(on: OnSession<Modify>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    on.session.delete().await?;
    Ok(ok(&request, &Message { msg: "deleted" }))
}

/// A session as JSON, as this caller may see it.
async fn shown(
    app: &App,
    request: &HttpRequest,
    session: &Session,
    is_stranger: bool,
) -> Result<Ready, ApiError> {
    let look = Look::of(request, is_stranger);
    let snapshot = session.snapshot();
    if let Some(ready) = look.kept(&snapshot).still(snapshot.gpu_usage.as_ref()) {
        return Ok(ready);
    }
    let session = session.clone();
    let made = app.background.blocking(move || look.at(&session)).await;
    made.map_err(ApiError::from)
}

/// The same of many, each with whether the caller is a stranger to it. Logs are read off the workers.
async fn all_shown(
    app: &App,
    request: &HttpRequest,
    sessions: Vec<(bool, Session)>,
) -> Result<Vec<Ready>, ApiError> {
    let looks: Vec<(Look, Session)> = sessions
        .into_iter()
        .map(|(is_stranger, session)| (Look::of(request, is_stranger), session))
        .collect();
    let look = move || looks.iter().map(|(look, session)| look.at(session)).collect();
    app.background.blocking(look).await.map_err(ApiError::from)
}

/// What of a session is shown.
#[derive(Clone, Copy)]
struct Look {
    is_stranger: bool,
    /// Livy's own Java client fails on keys that its version does not know.
    is_java_client: bool,
}

impl Look {
    fn of(request: &HttpRequest, is_stranger: bool) -> Self {
        let agent = request.headers().get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Self {
            is_stranger,
            is_java_client: agent.is_some_and(|agent| agent.contains("livy-client-http")),
        }
    }

    /// Where such a look is kept.
    fn kept(self, snapshot: &Snapshot) -> &Kept<DriverMark> {
        &snapshot.bodies[usize::from(self.is_stranger) + 2 * usize::from(self.is_java_client)]
    }

    /// The session as JSON. Reads its log, unless nothing has changed.
    fn at(self, session: &Session) -> Ready {
        let snapshot = session.snapshot();
        let (run_dir, usage) = (snapshot.run_dir.as_ref(), snapshot.gpu_usage.as_ref());
        let kept = self.kept(&snapshot);
        let make = || {
            let mut view = SessionView::new(session, &snapshot, snapshot.log_tail(LOG_LINES));
            if self.is_stranger {
                view = view.redacted();
            }
            if self.is_java_client {
                view.details = None;
            }
            json_of(&view)
        };
        kept.still(usage)
            .unwrap_or_else(|| kept.make(run_dir, usage, make))
    }
}
