//! The OpenAPI document, and what it knows of the routes: which methods a path has.

use std::sync::LazyLock;

use actix_web::dev::ResourceDef;
use actix_web::http::header::{ALLOW, LOCATION};
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpResponse, get};
use serde_json::json;
use utoipa::OpenApi;
use utoipa_actix_web::AppExt as _;

use super::common;
use super::guard::{List, OnServer};
use super::json::ok;
use super::link_to;
use super::wire::JSON;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firesteel",
        description = "The Livy REST API, and what goes beyond it. State words, status codes and shapes are Livy's.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "sessions", description = "Interactive sessions"),
        (name = "statements", description = "Code that runs in a session"),
        (name = "live", description = "What happens in a session, as it happens"),
        (name = "jobs", description = "Programmatic jobs, as Livy's own clients send them"),
        (name = "shares", description = "With whom sessions and batches are shared, and whose they are"),
        (name = "uploads", description = "Files for sessions and batches"),
        (name = "history", description = "Sessions that have ended"),
        (name = "tokens", description = "API tokens"),
        (name = "service", description = "The server itself")
    )
)]
struct Document;

/// Made when it is asked for first.
static MADE: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(|| {
    let (_, mut document) = App::new()
        .into_utoipa_app()
        .openapi(Document::openapi())
        .configure(super::routes)
        .split_for_parts();
    common::describe(&mut document);
    document
});

/// The document, made from the routes that the server has.
#[must_use]
pub fn document() -> &'static utoipa::openapi::OpenApi {
    &MADE
}

/// This document.
#[utoipa::path(operation_id = "getOpenapi", tag = "service", responses((status = 200, description = "the OpenAPI document")))]
#[get("/openapi.json")]
pub async fn serve(_on: OnServer<List>, request: HttpRequest) -> HttpResponse {
    ok(&request, document())
}

/// Which methods each path has.
#[derive(Debug)]
pub struct RouteTable(Vec<(ResourceDef, String)>);

impl RouteTable {
    /// Reads the table from the document, for routes below `base_path`.
    #[must_use]
    pub fn new(base_path: &str) -> Self {
        let routes = document().paths.paths.iter().map(|(path, item)| {
            let methods = [
                ("GET, HEAD", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
                ("DELETE", item.delete.is_some()),
            ];
            let allowed: Vec<&str> = methods
                .into_iter()
                .filter(|(_, is_there)| *is_there)
                .map(|(name, _)| name)
                .collect();
            (ResourceDef::new(format!("{base_path}{path}")), allowed.join(", "))
        });
        Self(routes.collect())
    }
}

/// What no route takes: the base path itself leads to the page below it; 405 with the methods that the path has; else an empty
/// 404, as Livy.
pub async fn not_routed(request: HttpRequest) -> HttpResponse {
    let app = request.app_data::<Data<super::App>>();
    if app.is_some_and(|app| request.path() == app.config.server.base_path) {
        return HttpResponse::Found()
            .insert_header((LOCATION, link_to(&request, "/ui")))
            .finish();
    }
    let table = request.app_data::<Data<RouteTable>>();
    let found = table.and_then(|table| table.0.iter().find(|(path, _)| path.is_match(request.path())));
    match found {
        Some((_, allowed)) => HttpResponse::MethodNotAllowed()
            .insert_header((ALLOW, allowed.as_str()))
            .content_type(JSON)
            .body(json!({"msg": format!("Only {allowed} can be asked of this path.")}).to_string()),
        None => HttpResponse::NotFound()
            .content_type("text/html;charset=utf-8")
            .finish(),
    }
}
