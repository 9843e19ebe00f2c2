//! `/uploads`: files for sessions and batches, sent, listed, shown, removed. Each owner sees only their own.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::web::{Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};

use super::error::ApiError;
use super::guard::{Create, List, OnServer};
use super::json::{ok, respond};
use super::link_to;
use super::multipart::{self, For};
use super::pages::PageQuery;
use super::wire::{Message, UploadForm, UploadView, UploadsView};
use crate::upload::Upload;

/// Takes a file, whose URI requests for sessions and batches can name from then on.
#[utoipa::path(
    operation_id = "createUpload",
    tag = "uploads",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, body = UploadView, headers(("Location" = String, description = "the upload's path"))),
        (status = 400, description = "no part named file, or a name that is no file's; the body says why"),
        (status = 413, description = "it is over upload.max_bytes, or the caller's uploads are over upload.owner_bytes or the caller's quota"),
        (status = 503, description = "no room (upload.total_bytes), too many at once (upload.at_once), or the disk fails; try again after Retry-After"),
    )
)]
#[post("/uploads")]
pub async fn create(
    on: OnServer<Create>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let whose = For {
        owner: on.caller.user.as_deref(),
        session: None,
    };
    let received = multipart::receive(&on.app, &request, payload, "file", whose).await?;
    let upload = received.ok_or_else(|| {
        ApiError::BadRequest(
            "No file sent: a multipart/form-data body with a part named \"file\" is needed.".to_owned(),
        )
    })?;
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, link_to(&request, &format!("/uploads/{}", upload.id))));
    Ok(respond(&request, response, &UploadView::from(&*upload)))
}

/// The caller's uploads, oldest first.
#[utoipa::path(operation_id = "listUploads", tag = "uploads", params(PageQuery), responses((status = 200, body = UploadsView)))]
#[get("/uploads")]
pub async fn list(
    on: OnServer<List>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = page.window(on.app.config.limits.page)?;
    let all = on.app.uploads.of(on.caller.user.as_deref());
    let total = all.len();
    let uploads = window
        .of(all)
        .iter()
        .map(|upload| UploadView::from(&**upload))
        .collect();
    let from = window.from;
    Ok(ok(&request, &UploadsView { from, total, uploads }))
}

/// One of the caller's uploads.
#[utoipa::path(
    operation_id = "getUpload",
    tag = "uploads",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, body = UploadView), (status = 404, description = "there is none, or it is somebody else's"))
)]
#[get("/uploads/{id}")]
pub async fn show(
    on: OnServer<List>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Ok(ok(&request, &UploadView::from(&*own(&on, &id)?)))
}

/// Removes an upload before its time.
#[utoipa::path(
    operation_id = "deleteUpload",
    tag = "uploads",
    params(("id" = String, Path, description = "its id")),
    responses(
        (status = 200, body = Message),
        (status = 404),
        (status = 409, description = "a live session or batch refers to it"),
    )
)]
#[delete("/uploads/{id}")]
pub async fn delete(
    on: OnServer<Create>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let upload = own(&on, &id)?;
    if !on.app.uploads.remove(&upload).await {
        return Err(ApiError::Conflict(format!(
            "A live session or batch refers to the upload {}.",
            upload.id
        )));
    }
    Ok(ok(&request, &Message { msg: "deleted" }))
}

fn own<A>(on: &OnServer<A>, id: &str) -> Result<Arc<Upload>, ApiError> {
    let found = id
        .parse()
        .ok()
        .and_then(|id| on.app.uploads.get(on.caller.user.as_deref(), id));
    found.ok_or_else(|| ApiError::UploadNotFound(id.chars().take(256).collect()))
}
