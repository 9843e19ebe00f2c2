//! The web UI: one page, and its files. They are the same for everybody and tell nothing; what the page shows comes through the API, with the rights
//! of whoever looks at it.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_FRAME_OPTIONS,
};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, get};

use super::error::ApiError;
use super::guard::{List, OnServer, Open};
use super::json::takes_gzip;
use super::{link_to, login};
use crate::web::{asset, ui_page, version};

/// What the page may load: its own scripts and styles, images that a statement shows, and frames that have neither scripts nor an origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
    frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The web UI.
#[utoipa::path(operation_id = "getRootPage", tag = "service", responses((status = 200, content_type = "text/html"), (status = 303, description = "a browser that nobody knows yet: to the login")))]
#[get("/")]
pub async fn root(
    on: Result<OnServer<List>, ApiError>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    known(on, &request)
}

/// The web UI.
#[utoipa::path(operation_id = "getUiPage", tag = "service", responses((status = 200, content_type = "text/html"), (status = 303, description = "a browser that nobody knows yet: to the login")))]
#[get("/ui")]
pub async fn page(
    on: Result<OnServer<List>, ApiError>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    known(on, &request)
}

/// A file of the web UI, which may be kept for ever.
#[utoipa::path(
    operation_id = "getUiFile",
    tag = "service",
    params(
        ("version" = String, Path, description = "the digest of all files, as the page names it"),
        ("file" = String, Path, description = "the file's name")
    ),
    responses((status = 200, description = "the file"), (status = 404, description = "there is none in this version of the server"))
)]
#[get("/ui/assets/{version}/{file}")]
pub async fn file(_on: OnServer<Open>, path: Path<(String, String)>, request: HttpRequest) -> HttpResponse {
    let (version, name) = path.into_inner();
    let Some(asset) = asset(&version, &name) else {
        return HttpResponse::NotFound()
            .content_type("text/html;charset=utf-8")
            .finish();
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, asset.kind))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((VARY, "Accept-Encoding"));
    if takes_gzip(request.headers()) {
        response.insert_header((CONTENT_ENCODING, "gzip"));
        return response.body(asset.gzip.clone());
    }
    response.body(asset.plain.clone())
}

/// The page for a caller who is known; a browser of somebody who is not is sent to the login.
fn known(on: Result<OnServer<List>, ApiError>, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    match on {
        Ok(on) => Ok(answer(&on, request)),
        Err(error) => login::instead_of(request, &error).ok_or(error),
    }
}

fn answer(on: &OnServer<List>, request: &HttpRequest) -> HttpResponse {
    let assets = link_to(request, &format!("/ui/assets/{}", version()));
    match ui_page(assets, login::has_login(&on.app), on.is_admin()) {
        Ok(html) => HttpResponse::Ok()
            .content_type("text/html;charset=utf-8")
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((X_FRAME_OPTIONS, "DENY"))
            .body(html),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
