//! What every request passes, whatever its route: the host it names, the page it comes from, the API version it wants. And the
//! headers that every answer gets.

use actix_web::body::{BodySize, BoxBody, MessageBody, None as NoBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};

use super::App;
use super::error::ApiError;
use super::headers::{self, cors_origin};
use super::login::has_login;
use super::metrics::Clock;
use super::traced::Traced;
use super::trail::Trail;
use crate::access::{host_allowed, origin_allowed};
use crate::authentication::Proved;

/// What a version of Livy's API looks like in `Accept`.
const VERSION_PREFIX: &str = "application/vnd.livy.v";
/// The only version there is.
const VERSION: &str = "0.1";

/// Lets a request through to its route, or answers it here.
pub async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
        let refusal = ApiError::Unavailable("The server is not set up.".to_owned());
        return Ok(request.error_response(refusal).map_into_boxed_body());
    };
    let clock = Clock::begin(&request);
    let traced = Traced::begin(&app, &request);
    let cors = &app.config.server.cors;
    let origin = cors_origin(&request, cors);
    let (mut answered, trail) = match Trail::begin(&app, &request) {
        Ok(trail) => (answer(&app, request, next, origin.as_ref()).await?, trail),
        Err(refusal) => (request.error_response(refusal).map_into_boxed_body(), None),
    };
    headers::put(&mut answered, origin, !cors.is_empty());
    if let Some(trail) = trail {
        trail.end(&mut answered);
    }
    clock.end(&app, &answered);
    traced.end(&app, &answered);
    Ok(answered)
}

async fn answer(
    app: &App,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    origin: Option<&HeaderValue>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let here = match check(app, &request) {
        Err(refusal) => Some(refusal.error_response()),
        Ok(()) => headers::preflight(&request, origin),
    };
    if let Some(here) = here {
        return Ok(request.into_response(here));
    }
    let is_head = request.method() == Method::HEAD;
    if is_head {
        // Routed as GET; the protocol's encoder knows that it was a HEAD and sends no body.
        request.head_mut().method = Method::GET;
    }
    let mut answered = next.call(request).await?.map_into_boxed_body();
    prove_in_turn(&mut answered);
    if has_login(app) {
        spare_prompt(&mut answered);
    }
    Ok(answered.map_body(|_, body| {
        // One that is made as it is taken may never come to its end.
        if is_head && matches!(body.size(), BodySize::Stream) {
            BoxBody::new(NoBody::new())
        } else {
            body
        }
    }))
}

/// Where a caller has proved itself in a way that asks the server to do the same, the answer does.
fn prove_in_turn<B>(response: &mut ServiceResponse<B>) {
    let proved = response.request().extensions().get::<Proved>().cloned();
    let answer = proved.and_then(|proved| HeaderValue::from_str(&proved.answer?).ok());
    if let Some(answer) = answer {
        response.headers_mut().append(WWW_AUTHENTICATE, answer);
    }
}

/// A page's own script that is nobody any more gets no challenge for a password: the browser would ask in a window of its own, and the script would wait for
/// that instead of going to the login.
fn spare_prompt<B>(response: &mut ServiceResponse<B>) {
    let headers = response.request().headers();
    let is = |name: &str, word: &[u8]| headers.get(name).is_some_and(|value| value.as_bytes() == word);
    if response.status() != StatusCode::UNAUTHORIZED
        || !is("sec-fetch-dest", b"empty")
        || !is("sec-fetch-site", b"same-origin")
    {
        return;
    }
    let headers = response.headers_mut();
    let kept: Vec<HeaderValue> = headers
        .remove(WWW_AUTHENTICATE)
        .filter(|challenge| !challenge.as_bytes().starts_with(b"Basic"))
        .collect();
    for challenge in kept {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
}

fn check(app: &App, request: &ServiceRequest) -> Result<(), ApiError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    // HTTP/1.0 clients and absolute request targets name no host, or name it in the target.
    let host =
        header(HOST.as_str()).or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if !host_allowed(host, &app.config.server, &app.config.access.mode) {
        return Err(ApiError::WrongHost);
    }
    let most = app.config.limits.query_bytes;
    if request.query_string().len() > most.len() {
        return Err(ApiError::BadRequest(format!(
            "The query is over {most} (limits.query_bytes)."
        )));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        let site = header("sec-fetch-site");
        let server = &app.config.server;
        // One that is no text is somebody's, and not ours.
        let origin = request.headers().get(ORIGIN);
        let origin = origin.map(|origin| origin.to_str().unwrap_or_default());
        if !origin_allowed(origin, site, host, &server.hosts, &server.cors) {
            return Err(ApiError::Refused(
                "The request comes from a page of another site.".to_owned(),
            ));
        }
        // A form can't send it, and there is nobody yet in whose name one could be sent.
        let is_form = |path: &str| path == "/login" || path == "/logout";
        let is_form = request
            .path()
            .strip_prefix(&app.config.server.base_path)
            .is_some_and(is_form);
        if app.config.access.csrf && !is_form && header("x-requested-by").is_none() {
            return Err(ApiError::BadRequest(
                "Missing Required Header for CSRF protection.".to_owned(),
            ));
        }
    }
    match wanted_version(header(ACCEPT.as_str()).unwrap_or("")) {
        Some(version) if version != VERSION => Err(ApiError::UnknownVersion(version.to_owned())),
        _ => Ok(()),
    }
}

fn wanted_version(accept: &str) -> Option<&str> {
    accept.split(',').find_map(|kind| {
        let kind = kind.split(';').next()?.trim();
        kind.strip_prefix(VERSION_PREFIX)?.strip_suffix("+json")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::wanted_version;

    proptest! {
        #[test]
        fn any_accept_is_read(accept in ".*", version in "[^,;+]{0,9}") {
            let _ = wanted_version(&accept);
            let named = format!("{}, application/vnd.livy.v{version}+json;q=1", accept.replace([',', '+'], ";"));
            prop_assert_eq!(wanted_version(&named), Some(version.as_str()));
        }
    }

    #[test]
    fn a_version_is_read_from_accept() {
        assert_eq!(wanted_version("application/vnd.livy.v0.1+json"), Some("0.1"));
        assert_eq!(
            wanted_version("text/html, application/vnd.livy.v9.9+json;q=0.9"),
            Some("9.9")
        );
        assert_eq!(wanted_version("*/*"), None);
    }
}
