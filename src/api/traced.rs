//! The span of a request: from its coming to the head of its answer, below the client's own span where it sent a `traceparent`.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::{HttpMessage as _, HttpRequest};

use super::App;
use super::common::OPEN;
use super::metrics::{method, route};
use super::trail::REQUEST_ID;
use crate::traces::{Context, Span};

/// The header by which a client names its span (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// What is asked all the time by programs that watch the server: no spans are made of that.
const SCRAPE: &str = "/metrics";

/// A request that is being answered. Where its client leaves before the answer, its span ends as `request`, without a status.
pub(super) struct Traced {
    method: &'static str,
    span: Span,
}

impl Traced {
    /// It begins.
    pub(super) fn begin(app: &App, request: &ServiceRequest) -> Self {
        let path = request.path().strip_prefix(app.config.server.base_path.as_str());
        let is_watched = path.is_some_and(|path| path == SCRAPE || OPEN.contains(&path));
        let mut span = match is_watched {
            true => Span::default(),
            false => Span::of_request(parent(request.headers())),
        };
        let method = method(request.method());
        span.text("http.request.method", method);
        if let Some(context) = span.context() {
            request.extensions_mut().insert(context);
        }
        Self { method, span }
    }

    /// The head of its answer is there. No path, no query: those are the client's.
    pub(super) fn end<B>(self, app: &App, answered: &ServiceResponse<B>) {
        let Self { method, mut span } = self;
        let pattern = answered.request().match_pattern();
        let route = route(app, pattern.as_deref());
        let status = answered.status();
        span.rename(|| format!("{method} {route}"));
        span.text("http.route", route.to_owned());
        span.number("http.response.status_code", i64::from(status.as_u16()));
        let id = answered.headers().get(REQUEST_ID);
        if let Some(id) = id.and_then(|id| id.to_str().ok()) {
            span.text("firesteel.request.id", id.to_owned());
        }
        if status.is_server_error() {
            span.failed();
        }
    }
}

/// The trace that what a request asks for belongs to.
pub(super) fn context_of(request: &HttpRequest) -> Option<Context> {
    request.extensions().get::<Context>().copied()
}

/// Of several headers none counts.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut given = headers.get_all(TRACEPARENT);
    let (header, None) = (given.next()?, given.next()) else {
        return None;
    };
    Context::parse(header.to_str().ok()?.trim())
}
