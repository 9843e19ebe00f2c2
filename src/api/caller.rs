//! Who calls: what a request says of it, and what the thing that it came with allows. Called by `guard`, and by `login`, `sign_on` and
//! `tokens` for what they give out.

use std::net::IpAddr;

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use actix_web::{HttpMessage as _, HttpRequest};

use super::App;
use super::error::ApiError;
use super::trail::Notes;
use crate::access::Caller;
use crate::authentication::{Presented, Proved, Through};
use crate::peer::Peer;

/// A browser's login over HTTPS: browsers take a cookie of such a name from this host alone, and over HTTPS alone (RFC 6265bis, 4.1.3).
const SECURE_COOKIE: &str = "__Host-firesteel";
/// The same over plain HTTP.
const PLAIN_COOKIE: &str = "firesteel";

/// Who calls: nobody in particular without authentication. What was proved stays with the request, for its answer (`gate.rs`).
///
/// # Errors
/// Nothing is proved, or what came with the request is not for such a request.
pub(super) async fn caller(app: &App, request: &HttpRequest) -> Result<Caller, ApiError> {
    let proved = app.authentication.prove(&presented(app, request)).await?;
    may_come_so(app, request, &proved.through)?;
    let caller = proved.caller.clone();
    Notes::of(request).caller(caller.user.as_deref(), proved.by);
    request.extensions_mut().insert(proved);
    if !caller.is_welcome() {
        // Livy's words.
        return Err(ApiError::Refused("User not authorised to use Livy.".to_owned()));
    }
    Ok(caller)
}

/// What the guard found out.
///
/// # Errors
/// No guard has asked.
pub(super) fn proved(request: &HttpRequest) -> Result<Proved, ApiError> {
    let proved = request.extensions().get::<Proved>().cloned();
    proved.ok_or_else(|| ApiError::Unauthenticated(Vec::new()))
}

/// Whether a token may do this, and whether the page that sent a cookie along is the server's own.
fn may_come_so(app: &App, request: &HttpRequest, through: &Through) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    match through {
        Through::Proof => Ok(()),
        Through::Token { scopes, .. } => {
            let pattern = request.match_pattern().unwrap_or_default();
            let path = pattern
                .strip_prefix(&app.config.server.base_path)
                .unwrap_or(&pattern);
            let area = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            if scopes.may_change(area) {
                Ok(())
            } else {
                Err(ApiError::Refused(format!(
                    "The token's scopes ({scopes}) do not allow this."
                )))
            }
        }
        Through::Cookie => {
            // The gate has refused a foreign Origin and a foreign Sec-Fetch-Site already; here one of them must be there.
            let is_own = only(request, ORIGIN.as_str()).is_some()
                || only(request, "sec-fetch-site").as_deref() == Some("same-origin")
                || request.headers().contains_key("x-requested-by");
            if is_own {
                Ok(())
            } else {
                Err(ApiError::Refused(
                    "A request with a cookie that changes something must say which page it comes from: Origin, \
                     Sec-Fetch-Site: same-origin, or X-Requested-By."
                        .to_owned(),
                ))
            }
        }
    }
}

/// What a request says of who sends it.
pub(super) fn presented(app: &App, request: &HttpRequest) -> Presented {
    let peer = request.conn_data::<Peer>().cloned().unwrap_or_default();
    let proxy = &app.config.access.proxy;
    let address = match believes_forwarded(app, &peer) {
        true => forwarded_for(request).or(peer.address),
        false => peer.address,
    };
    let cookie = cookie(request, cookie_name(is_secure(app, request)));
    Presented {
        authorization: only(request, AUTHORIZATION.as_str()),
        cookie,
        address,
        proxied_user: only(request, &proxy.header),
        proxied_groups: Some(proxy.groups_header.as_str())
            .filter(|name| !name.is_empty())
            .and_then(|name| only(request, name)),
        peer,
    }
}

/// Whether the caller speaks HTTPS, to this server or to the reverse proxy before it.
pub(super) fn is_secure(app: &App, request: &HttpRequest) -> bool {
    let peer = request.conn_data::<Peer>().cloned().unwrap_or_default();
    peer.is_tls
        || (believes_forwarded(app, &peer) && only(request, "x-forwarded-proto").as_deref() == Some("https"))
}

/// The name of a login's cookie.
pub(super) fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { SECURE_COOKIE } else { PLAIN_COOKIE }
}

fn believes_forwarded(app: &App, peer: &Peer) -> bool {
    app.config.server.forwarded || app.authentication.trusts(peer)
}

/// The address that the proxy itself has added: the last one. Those before it are what the client said.
fn forwarded_for(request: &HttpRequest) -> Option<IpAddr> {
    let last = request.headers().get_all("x-forwarded-for").next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

/// A header that is there once. Of two that differ nobody knows which one was meant.
fn only(request: &HttpRequest, name: &str) -> Option<String> {
    let mut values = request.headers().get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.to_owned())
}

/// A cookie that is there once.
pub(super) fn cookie(request: &HttpRequest, name: &str) -> Option<String> {
    let texts = request
        .headers()
        .get_all(COOKIE)
        .filter_map(|value| value.to_str().ok());
    let mut values = texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name);
    let (_, value) = values.next()?;
    values
        .next()
        .is_none()
        .then(|| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_there_twice_is_not_there() {
        let request = |pairs: &[(&'static str, &'static str)]| {
            let request = pairs
                .iter()
                .fold(TestRequest::get(), |request, pair| request.append_header(*pair));
            request.to_http_request()
        };
        assert_eq!(
            only(&request(&[("x-user", "ada")]), "X-User"),
            Some("ada".to_owned())
        );
        assert_eq!(
            only(&request(&[("x-user", "ada"), ("x-user", "bob")]), "x-user"),
            None
        );
        let found = |text| cookie(&request(&[("cookie", text)]), "firesteel");
        assert_eq!(found("a=b; firesteel=x ;c=d"), Some("x".to_owned()));
        assert_eq!(found("firesteel=\"x\""), Some("x".to_owned()));
        for text in [
            "",
            "firesteel",
            "xfiresteel=x",
            "Firesteel=x",
            "firesteel=x; firesteel=y",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_proxys_own_address_counts() {
        let address = |text: &'static str| {
            let request = TestRequest::get().insert_header(("x-forwarded-for", text));
            forwarded_for(&request.to_http_request()).map(|address| address.to_string())
        };
        assert_eq!(address("10.0.0.9, 192.0.2.1"), Some("192.0.2.1".to_owned()));
        assert_eq!(address("2001:db8::1"), Some("2001:db8::1".to_owned()));
        assert_eq!(address("10.0.0.9, unknown"), None);
    }

    proptest! {
        /// Any bytes that a header can have, also those that are no text.
        #[test]
        fn any_bytes_are_read(
            bytes: Vec<u8>,
            text in prop_oneof!["[ -~]{0,60}", "(firesteel=[a-z\"; =]{0,4};? ?){0,3}", "([0-9a-f:., ]{0,9},?){0,4}"],
            twice: bool,
        ) {
            let values = [HeaderValue::from_bytes(&bytes).ok(), HeaderValue::from_str(&text).ok()];
            for value in values.into_iter().flatten() {
                let names = ["cookie", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-user"];
                let request = names.iter().fold(TestRequest::get(), |request, name| {
                    let request = request.insert_header((*name, value.clone()));
                    if twice { request.append_header((*name, value.clone())) } else { request }
                });
                let request = request.to_http_request();
                let found = cookie(&request, PLAIN_COOKIE);
                prop_assert!(found.is_none_or(|found| !twice && found.len() < value.len()));
                prop_assert!(only(&request, "x-forwarded-user").is_none_or(|user| !twice && user.as_bytes() == value.as_bytes()));
                prop_assert_eq!(only(&request, "x-forwarded-proto").is_some(), !twice && value.to_str().is_ok());
                let _ = forwarded_for(&request);
            }
        }
    }
}
