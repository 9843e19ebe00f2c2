//! Headers that every answer gets: what browsers may do with it, and whose pages may read it (CORS).

use actix_web::HttpResponse;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, CROSS_ORIGIN_OPENER_POLICY, CROSS_ORIGIN_RESOURCE_POLICY, ETAG, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, PERMISSIONS_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use actix_web::web::Data;

use super::App;
use crate::access::cors_allowed;

const SECURITY: [(HeaderName, &str); 8] = [
    (X_FRAME_OPTIONS, "SAMEORIGIN"),
    (X_XSS_PROTECTION, "1; mode=block"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (
        PERMISSIONS_POLICY,
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// What pages of listed origins may send, beside what any page may.
const CORS_METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const CORS_HEADERS: &str = "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Firesteel-Live, X-Requested-By";
/// What they may read of an answer beside its body.
const CORS_EXPOSED: &str =
    "ETag, Idempotent-Replayed, Location, Retry-After, X-Firesteel-Truncated, X-Request-Id";
/// For how many seconds a browser need not ask again.
const CORS_MAX_AGE: &str = "600";

/// The origin of a request whose pages may read the answer, where `server.cors` lists it.
pub fn cors_origin(request: &ServiceRequest, cors: &[String]) -> Option<HeaderValue> {
    let mut origins = request.headers().get_all(ORIGIN);
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    cors_allowed(origin.to_str().ok(), cors).then(|| origin.clone())
}

/// The answer to a browser that asks for a page of a listed origin what that may send; none for any other request. It needs no
/// authentication, since a browser has none to give here, and tells nothing.
pub fn preflight(request: &ServiceRequest, origin: Option<&HeaderValue>) -> Option<HttpResponse> {
    let is_one =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    origin.filter(|_| is_one)?;
    let mut answer = HttpResponse::NoContent();
    answer
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS))
        .insert_header((ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE));
    Some(answer.finish())
}

/// Puts the headers on an answer. `origin` is what [`cors_origin`] gave; `has_cors` is whether any is listed.
pub fn put<B>(response: &mut ServiceResponse<B>, origin: Option<HeaderValue>, has_cors: bool) {
    let hsts = hsts(response);
    let headers = response.headers_mut();
    if let Some(hsts) = hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    for (name, value) in SECURITY {
        // A page may have said something stricter itself.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control(headers)));
    }
    if has_cors {
        // What is kept for one origin is no answer for another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(CORS_EXPOSED),
        );
    }
}

/// What has browsers come by HTTPS alone from now on (RFC 6797), where this server speaks it.
fn hsts<B>(response: &ServiceResponse<B>) -> Option<HeaderValue> {
    let app = response.request().app_data::<Data<App>>()?;
    let tls = &app.config.server.tls;
    let age = tls.hsts.positive().filter(|_| tls.is_on())?;
    HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok()
}

/// All answers are for who asks: no store keeps them, but that a browser may ask whether one with a tag is still so.
fn cache_control(headers: &HeaderMap) -> &'static str {
    match headers.contains_key(ETAG) {
        true => "private, no-cache",
        false => "no-store",
    }
}
