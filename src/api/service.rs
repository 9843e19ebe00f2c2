//! What is asked of the server itself: is it there, does it work, what is it. Open to everybody, because none of it tells
//! anything of anybody.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, get};
use serde_json::json;
use tracing::warn;

use super::error::ApiError;
use super::guard::{OnServer, Open};
use super::json::ok;
use super::wire::Version;
use crate::store::StoreError;

/// The level of Livy's API. Clients compare the minor number as a string, so it stays one digit (clients.md, W15).
const LIVY: &str = concat!("0.9.0-firesteel-", env!("CARGO_PKG_VERSION"));

/// Is somebody there?
#[utoipa::path(tag = "service", responses((status = 200, description = "pong", content_type = "text/plain")))]
#[get("/ping")]
pub async fn ping(_on: OnServer<Open>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain;charset=utf-8")
        .body("pong\n")
}

/// Livy's place for the same.
#[utoipa::path(tag = "service", responses((status = 200, description = "pong", content_type = "text/plain")))]
#[get("/metrics/ping")]
pub async fn metrics_ping(_on: OnServer<Open>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain;charset=utf-8")
        .body("pong\n")
}

/// Does the process work? Fails only when a restart would help.
#[utoipa::path(tag = "service", responses((status = 200)))]
#[get("/healthcheck")]
pub async fn healthcheck(_on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    ok(&request, &json!({"healthy": true}))
}

/// Livy's place for the same.
#[utoipa::path(tag = "service", responses((status = 200)))]
#[get("/metrics/healthcheck")]
pub async fn metrics_healthcheck(_on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    ok(&request, &json!({"healthy": true}))
}

/// Can it take work now? Not while its store can't be read or written, or it is stopping.
#[utoipa::path(tag = "service", responses((status = 200), (status = 503)))]
#[get("/readiness")]
pub async fn readiness(on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    let stopping = on.app.background.draining().is_cancelled();
    let store = on.app.sessions.store();
    let read = store.next_session_id().await;
    if let Err(error) = &read {
        warn!(%error, "not ready: the store can't be read");
    }
    match store.trouble().or(read.err()) {
        Some(trouble) => ApiError::from(trouble).error_response(),
        None if stopping => ApiError::from(StoreError::Closed).error_response(),
        None => ok(&request, &json!({"ready": true})),
    }
}

/// Which API this is.
#[utoipa::path(tag = "service", responses((status = 200, body = Version)))]
#[get("/version")]
pub async fn version(_on: OnServer<super::guard::List>, request: HttpRequest) -> HttpResponse {
    let version = Version {
        url: "",
        branch: "main",
        revision: env!("CARGO_PKG_VERSION"),
        version: LIVY,
        date: "",
        user: "",
    };
    ok(&request, &version)
}
