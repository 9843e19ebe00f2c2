//! The pages for people. They show what the API shows to the same caller.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};

use super::App;
use super::guard::{List, OnServer};
use super::link_to;
use crate::session::Session;
use crate::web::{SessionLine, sessions_page};

/// The list of sessions, as a page.
#[utoipa::path(operation_id = "getRootPage", tag = "service", responses((status = 200, content_type = "text/html")))]
#[get("/")]
pub async fn root(on: OnServer<List>, request: HttpRequest) -> HttpResponse {
    answer(&on, &request)
}

/// The list of sessions, as a page.
#[utoipa::path(operation_id = "getSessionsPage", tag = "service", responses((status = 200, content_type = "text/html")))]
#[get("/ui")]
pub async fn page(on: OnServer<List>, request: HttpRequest) -> HttpResponse {
    answer(&on, &request)
}

fn answer(on: &OnServer<List>, request: &HttpRequest) -> HttpResponse {
    let app: &Data<App> = &on.app;
    let mut shown: Vec<Session> = app
        .sessions
        .all()
        .into_iter()
        .filter(|session| on.may_see(session))
        .collect();
    let total = shown.len();
    shown.truncate(app.config.limits.page);
    let lines = shown.into_iter().map(|session| line(&session, request)).collect();
    match sessions_page(lines, total) {
        Ok(html) => HttpResponse::Ok()
            .content_type("text/html;charset=utf-8")
            .body(html),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn line(session: &Session, request: &HttpRequest) -> SessionLine {
    let snapshot = session.snapshot();
    SessionLine {
        id: session.id,
        link: link_to(request, &format!("/sessions/{}", session.id)),
        log: link_to(request, &format!("/sessions/{}/log", session.id)),
        name: session.name.clone().unwrap_or_default(),
        owner: session.owner().unwrap_or_default(),
        kind: session.kind.as_str(),
        state: snapshot.state.as_str(),
        app_id: snapshot.app_id.clone().unwrap_or_default(),
        // A driver says where its UI is; only a web address becomes a link.
        ui: snapshot
            .ui_url
            .clone()
            .filter(|url| url.starts_with("http://") || url.starts_with("https://")),
        waiting: snapshot.live.len(),
    }
}
