//! `/history`: sessions that have ended, deleted ones too, newest first.

use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};

use super::error::ApiError;
use super::guard::{List, OnServer};
use super::json::ok;
use super::pages::PageQuery;
use super::wire::{EndedSession, EndedSessions};
use crate::store::SessionRow;

/// The caller's ended sessions; all of them for an administrator and without authentication.
#[utoipa::path(operation_id = "listHistory", tag = "sessions", params(PageQuery), responses((status = 200, body = EndedSessions)))]
#[get("/history")]
pub async fn list(
    on: OnServer<List>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = page.window(on.app.config.limits.page)?;
    let (total, rows) = on
        .app
        .sessions
        .store()
        .history(on.only_owner(), window.from.max(0), window.size)
        .await?;
    let sessions = rows.into_iter().map(ended).collect();
    Ok(ok(
        &request,
        &EndedSessions {
            from: window.from,
            total,
            sessions,
        },
    ))
}

fn ended(row: SessionRow) -> EndedSession {
    EndedSession {
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
