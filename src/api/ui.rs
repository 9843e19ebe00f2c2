//! The pages for people. They show what the API shows to the same caller.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};

use super::App;
use super::error::ApiError;
use super::guard::{List, OnServer};
use super::{link_to, login};
use crate::session::Session;
use crate::web::{SessionLine, sessions_page};

/// The list of sessions, as a page.
#[utoipa::path(operation_id = "getRootPage", tag = "service", responses((status = 200, content_type = "text/html"), (status = 303, description = "a browser that nobody knows yet: to the login")))]
#[get("/")]
pub async fn root(
    on: Result<OnServer<List>, ApiError>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    known(on, &request)
}

/// The list of sessions, as a page.
#[utoipa::path(operation_id = "getSessionsPage", tag = "service", responses((status = 200, content_type = "text/html"), (status = 303, description = "a browser that nobody knows yet: to the login")))]
#[get("/ui")]
pub async fn page(
    on: Result<OnServer<List>, ApiError>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    known(on, &request)
}

/// The page for a caller who is known; a browser of somebody who is not is sent to the login.
fn known(on: Result<OnServer<List>, ApiError>, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    match on {
        Ok(on) => Ok(answer(&on, request)),
        Err(error) => login::instead_of(request, &error).ok_or(error),
    }
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
