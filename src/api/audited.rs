//! The audit log's last lines, for administrators.

use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::guard::{Administer, OnServer};
use super::json::ok;
use super::pages::number;

/// Lines of an answer that asks for no number.
const DEFAULT_SIZE: usize = 100;
/// Lines at most.
const MOST: usize = 1000;

/// How many lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Lines at most: 100 when it is missing, 1000 at most.
    #[param(value_type = Option<i32>)]
    pub size: Option<String>,
}

/// `GET /audit`.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Whether there is an audit log (`audit.file`).
    pub on: bool,
    /// Its last lines, newest first, as they are in the file (docs/access.md).
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<Box<RawValue>>,
}

/// The last lines of the audit log's file, with authentication to administrators only. Those that wait to be written are not there yet, nor those of files that were full.
#[utoipa::path(operation_id = "listAudit", tag = "service", params(AuditQuery), responses((status = 200, body = AuditView), (status = 400), (status = 403), (status = 503, description = "the file can't be read")))]
#[get("/audit")]
pub async fn list(
    on: OnServer<Administer>,
    query: Query<AuditQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let size = query.size.as_deref().map(number).transpose()?;
    let size = size.map_or(DEFAULT_SIZE, |size| usize::try_from(size).unwrap_or(0).min(MOST));
    let audit = on.app.audit.clone();
    let lines = on.app.background.bulk(move || audit.last(size)).await?;
    let lines = lines.map_err(|error| {
        warn!(%error, "the audit log can't be read");
        ApiError::Unavailable("The audit log can't be read; the server's log says why.".to_owned())
    })?;
    let entries = lines.into_iter().rev();
    // A file that somebody else has written to may have what is no JSON.
    let entries = entries
        .filter_map(|line| RawValue::from_string(line).ok())
        .collect();
    let on = on.app.audit.is_on();
    Ok(ok(&request, &AuditView { on, entries }))
}
