//! The drain: an administrator has the server take nothing new, while what is there goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, get, put};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::App;
use super::error::ApiError;
use super::guard::{Administer, OnServer};
use super::json::{ok, read};

/// Whether sessions and batches are taken: from the server's start they are, until an administrator says otherwise.
#[derive(Debug, Default)]
pub struct Drain(AtomicBool);

/// `GET /drain`, and what `PUT /drain` takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainView {
    /// Whether the server takes no new sessions and batches.
    pub draining: bool,
}

/// Why the server starts none of these, sessions or batches, where it does not.
pub fn refusal(app: &App, what: &str) -> Option<ApiError> {
    let reason = if app.background.draining().is_cancelled() {
        format!("The server is stopping and starts no {what} any more. Try again once it is back.")
    } else if app.drain.0.load(Ordering::Relaxed) {
        format!("An administrator drains the server: it starts no {what} for now. Try again later.")
    } else {
        return None;
    };
    Some(ApiError::Unavailable(reason))
}

/// Whether the server is drained.
#[utoipa::path(operation_id = "showDrain", tag = "service", responses((status = 200, body = DrainView), (status = 403)))]
#[get("/drain")]
pub async fn show(on: OnServer<Administer>, request: HttpRequest) -> HttpResponse {
    answer(&on.app, &request)
}

/// Has the server take no new sessions and batches, or take them again. What is there goes on, and takes statements. A restart ends it.
#[utoipa::path(operation_id = "changeDrain", tag = "service", request_body = DrainView, responses((status = 200, body = DrainView), (status = 400), (status = 403)))]
#[put("/drain")]
pub async fn change(
    on: OnServer<Administer>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked: DrainView = read(&request, payload).await?;
    if on.app.drain.0.swap(asked.draining, Ordering::Relaxed) != asked.draining {
        let by = on.caller.user.as_deref();
        info!(
            draining = asked.draining,
            by, "an administrator changed the drain"
        );
    }
    Ok(answer(&on.app, &request))
}

fn answer(app: &App, request: &HttpRequest) -> HttpResponse {
    let draining = app.drain.0.load(Ordering::Relaxed);
    ok(request, &DrainView { draining })
}
