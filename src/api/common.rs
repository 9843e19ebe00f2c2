//! What holds for every route, in the OpenAPI document and in front of the handlers: the answers that any request may get, how callers
//! may prove who they are, and what is said of a query that can't be read.

use actix_web::HttpRequest;
use actix_web::error::{Error, PathError, QueryPayloadError};
use actix_web::web::{PathConfig, QueryConfig};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, HeaderBuilder, OpenApi, Ref, RefOr, Response};

use super::error::ApiError;
use super::examples::Examples;

/// Routes that ask nobody for a name (`guard::Open`).
pub const OPEN: [&str; 6] = [
    "/ping",
    "/healthcheck",
    "/readiness",
    "/metrics/ping",
    "/metrics/healthcheck",
    "/ui/assets/{version}/{file}",
];
/// The schema of an answer that is an error.
const ERROR: &str = "Error";

/// Bodies whose fields Livy's clients fill with texts for numbers and numbers for texts (`wire/lenient.rs`).
const LENIENT: [&str; 4] = [
    "CreateSession",
    "CreateBatch",
    "StatementRequest",
    "CompletionRequest",
];

/// Adds to the document what holds for every route, where the route does not say it itself.
pub fn describe(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(ERROR.to_owned(), error());
    for name in LENIENT {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
            object.properties.values_mut().for_each(widen);
        }
    }
    let basic = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
    components.add_security_scheme("basic", basic);
    let examples = Examples::read();
    for (path, item) in &mut document.paths.paths {
        let is_open = OPEN.contains(&path.as_str());
        for operation in operations(item) {
            add(operation, "400", "the request can't be read; the body says why");
            add(operation, "406", "no such version of the API (Accept)");
            add(
                operation,
                "421",
                "the request names a host that is not this server's (server.hosts)",
            );
            add(
                operation,
                "503",
                "the server can't do it now; try again after Retry-After",
            );
            if !is_open {
                add(operation, "401", "the caller has not proved who it is");
                add(
                    operation,
                    "403",
                    "the caller may not, or a page of another site asks",
                );
                add(
                    operation,
                    "429",
                    "the caller asks for too much; try again after Retry-After",
                );
                // Where access.mode is none, nobody is asked.
                operation.security = Some(vec![
                    SecurityRequirement::new::<_, [&str; 0], &str>("basic", []),
                    SecurityRequirement::default(),
                ]);
            }
            if operation.request_body.is_some() {
                add(
                    operation,
                    "408",
                    "the body did not come in time (server.body_timeout)",
                );
                add(operation, "413", "the body is too large");
            }
            examples.add(operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        post,
        put,
        delete,
        ..
    } = item;
    [get, post, put, delete].into_iter().flatten()
}

/// Adds an answer, or to one that is there what its body is.
fn add(operation: &mut Operation, status: &str, why: &str) {
    let known = operation.responses.responses.entry(status.to_owned());
    let RefOr::T(response) = known.or_insert_with(|| RefOr::T(Response::new(""))) else {
        return;
    };
    if response.description.is_empty() {
        why.clone_into(&mut response.description);
    }
    if !response.content.contains_key("application/json") {
        let content = Content::new(Some(Ref::from_schema_name(ERROR)));
        response
            .content
            .insert("application/json".to_owned(), RefOr::T(content));
    }
    if matches!(status, "429" | "503") {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).build();
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("seconds"))
            .build();
        response
            .headers
            .insert("Retry-After".to_owned(), RefOr::T(header));
    }
}

/// A text, or an object whose `msg` is one; Livy's 403 is an object without.
fn error() -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("msg", text.clone())
        .build();
    let either = OneOfBuilder::new()
        .item(object)
        .item(text)
        .description(Some("Why a request was not done, in one sentence."))
        .build();
    RefOr::T(either.into())
}

/// Says of a field all that is taken for it.
fn widen(field: &mut RefOr<Schema>) {
    let types = |types: &[Type]| types.iter().cloned().collect::<SchemaType>();
    match field {
        RefOr::T(Schema::Object(object)) => {
            let has = |wanted: Type| match &object.schema_type {
                SchemaType::Type(one) => *one == wanted,
                SchemaType::Array(several) => several.contains(&wanted),
                SchemaType::AnyValue => false,
            };
            if has(Type::Integer) {
                object.pattern = Some(r"^\s*\+?[0-9]+\s*$".to_owned());
                object.schema_type = types(&[Type::Integer, Type::String, Type::Null]);
            } else if has(Type::String) {
                object.schema_type = types(&[Type::String, Type::Number, Type::Null]);
            } else if has(Type::Object) {
                object.schema_type = types(&[Type::Object, Type::Null]);
                let values = types(&[Type::String, Type::Number, Type::Boolean, Type::Null]);
                let values = ObjectBuilder::new().schema_type(values).build();
                object.additional_properties = Some(Box::new(RefOr::T(Schema::Object(values)).into()));
            }
        }
        RefOr::T(Schema::Array(list)) => list.schema_type = types(&[Type::Array, Type::Null]),
        _ => {}
    }
}

/// How a query is told that can't be read.
#[must_use]
pub fn queries() -> QueryConfig {
    QueryConfig::default().error_handler(|error: QueryPayloadError, _: &HttpRequest| {
        Error::from(ApiError::BadRequest(error.to_string()))
    })
}

/// How a path is told that can't be read.
#[must_use]
pub fn paths() -> PathConfig {
    PathConfig::default().error_handler(|error: PathError, _: &HttpRequest| {
        Error::from(ApiError::BadRequest(error.to_string()))
    })
}
