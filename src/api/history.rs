//! `/history`: sessions that have ended, deleted ones too, newest first, with what is kept of them (`retention.*`).

use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};

use super::error::ApiError;
use super::guard::{List, OnEnded, OnServer, View};
use super::json::ok;
use super::pages::{PageQuery, log_page, statement_number};
use super::statements::{answer, answer_page};
use super::wire::{EndedSession, EndedSessions, Log, StatementView, StatementsView};
use crate::session::Sessions;
use crate::store::SessionRow;

/// The caller's ended sessions and those that were shared with them; all of them for who may see all, and without authentication.
#[utoipa::path(
    operation_id = "listHistory",
    tag = "history",
    params(PageQuery),
    responses((status = 200, body = EndedSessions), (status = 503, description = "the store can't be read"))
)]
#[get("/history")]
pub async fn list(
    on: OnServer<List>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = page.window(on.app.config.limits.page)?;
    let (owner, groups) = on.only_owner().unzip();
    let groups = groups.unwrap_or_default();
    let (total, rows) = on
        .app
        .sessions
        .history(owner, groups, window.from.max(0), window.size)
        .await?;
    let sessions = rows.into_iter().map(|row| ended(&on.app.sessions, row)).collect();
    Ok(ok(
        &request,
        &EndedSessions {
            from: window.from,
            total,
            sessions,
        },
    ))
}

/// One ended session.
#[utoipa::path(
    operation_id = "getEndedSession",
    tag = "history",
    params(("id" = i32, Path)),
    responses((status = 200, body = EndedSession), (status = 404, description = "it has not ended, or is no longer kept, or is somebody else's"), (status = 503))
)]
#[get("/history/{id}")]
pub async fn show(on: OnEnded<View>, request: HttpRequest) -> HttpResponse {
    ok(&request, &ended(&on.app.sessions, on.session))
}

/// A page of an ended session's log.
#[utoipa::path(
    operation_id = "getEndedSessionLog",
    tag = "history",
    params(("id" = i32, Path), PageQuery),
    responses((status = 200, body = Log), (status = 403), (status = 404), (status = 503))
)]
#[get("/history/{id}/log")]
pub async fn log(
    on: OnEnded<View>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (from, size) = (page.from()?, page.size()?);
    let lines = on.app.sessions.ended_log(&on.session).await?;
    let total = lines.len();
    let (from, log) = log_page(from, size, lines);
    Ok(ok(
        &request,
        &Log {
            id: on.session.id,
            from,
            total,
            log,
        },
    ))
}

/// The statements that are kept of an ended session, oldest first. A deleted session has none.
#[utoipa::path(
    operation_id = "listEndedStatements",
    tag = "history",
    params(("id" = i32, Path), PageQuery),
    responses((status = 200, body = StatementsView), (status = 403), (status = 404), (status = 503))
)]
#[get("/history/{id}/statements")]
pub async fn statements(
    on: OnEnded<View>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (from, size) = page.of_statements(on.app.config.limits.page)?;
    let (total_statements, statements) = on
        .app
        .sessions
        .ended_statements(on.session.id, page.is_descending(), from, size)
        .await?;
    Ok(answer_page(
        &on.app,
        &request,
        total_statements,
        statements.iter(),
    ))
}

/// One statement of an ended session.
#[utoipa::path(
    operation_id = "getEndedStatement",
    tag = "history",
    params(("id" = i32, Path), ("statement" = i32, Path)),
    responses((status = 200, body = StatementView), (status = 403), (status = 404), (status = 503))
)]
#[get("/history/{id}/statements/{statement}")]
pub async fn statement(on: OnEnded<View>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = statement_number(&request)?;
    let found = on.app.sessions.ended_statement(on.session.id, id).await?;
    let statement = found.ok_or(ApiError::StatementNotFound)?;
    Ok(answer(&on.app, &request, HttpResponse::Ok(), &statement))
}

fn ended(sessions: &Sessions, row: SessionRow) -> EndedSession {
    EndedSession {
        spark_ui_url: sessions.history_url(&row),
        id: row.id,
        name: row.name,
        app_id: row.app_id,
        owner: row.owner,
        proxy_user: row.proxy_user,
        state: row.state,
        kind: row.kind,
        diagnosis: row.diagnosis,
        created: row.created,
        ended: row.ended,
    }
}
