//! `/login/oidc`: a browser is sent to the identity provider and comes back logged in. Every answer but the way there is a page.
//!
//! The provider's redirect is another site's, and with what it leads to no browser sends a cookie that is `SameSite=Strict`, as a login's is. So the
//! callback answers with a page of this server's that goes on by itself: what that asks for is asked by this site.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Deserialize;

use super::App;
use super::caller::{cookie, presented};
use super::error::ApiError;
use super::guard::{OnServer, Open};
use super::login::{form, login_cookie};
use super::trail::Notes;
use super::{is_plain_path, link_to};
use crate::authentication::{Answer, NoSignOn};
use crate::web::logged_in_page;

/// The cookie that a browser keeps while it is at the provider, where it comes back by HTTPS.
const SECURE_COOKIE: &str = "__Host-firesteel-login";
/// The same over plain HTTP.
const PLAIN_COOKIE: &str = "firesteel-login";
/// Where browsers go that did not say.
const HOME: &str = "/ui";
/// The most bytes of a path to go to.
const MOST_PATH: usize = 1024;
/// Seconds after which a browser may try again.
const RETRY_SECONDS: u32 = 5;

#[derive(Default, Deserialize)]
struct Wanted {
    next: Option<String>,
}

/// Sends a browser to the identity provider.
#[utoipa::path(
    operation_id = "beginSignOn",
    tag = "service",
    params(("next" = Option<String>, Query, description = "the path of this server, below server.base_path, to go to afterwards; /ui without one, and for anything else")),
    responses(
        (status = 303, description = "to the provider, with a cookie by which the browser is known when it comes back"),
        (status = 404, description = "access.mode has no \"oidc\""),
        (status = 503, description = "the provider does not answer; a page says so", content((String = "text/html"))),
    )
)]
#[get("/login/oidc")]
pub async fn begin(on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    let wanted = Query::<Wanted>::from_query(request.query_string());
    let next = wanted.ok().and_then(|wanted| wanted.into_inner().next);
    let next = next.filter(|path| is_own_path(path));
    let to = next.unwrap_or_else(|| HOME.to_owned());
    let presented = presented(&on.app, &request);
    match on.app.authentication.begin_sign_on(&presented, to).await {
        Ok(begun) => HttpResponse::SeeOther()
            .insert_header((LOCATION, begun.location))
            .insert_header((SET_COOKIE, kept(&on.app, &begun.cookie, begun.seconds)))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish(),
        Err(reason) => refusal(&on.app, &request, reason),
    }
}

/// Where the provider sends a browser back: logs it in, and has it go to where it wanted.
#[utoipa::path(
    operation_id = "finishSignOn",
    tag = "service",
    params(
        ("state" = Option<String>, Query, description = "what the way there had"),
        ("code" = Option<String>, Query, description = "what the provider gives an ID token for"),
        ("error" = Option<String>, Query, description = "why there is no code"),
        ("error_description" = Option<String>, Query, description = "the same for people"),
        ("iss" = Option<String>, Query, description = "the provider"),
    ),
    responses(
        (status = 200, description = "a page that goes on by itself, with the login's cookie", content((String = "text/html")), headers(("Set-Cookie" = String))),
        (status = 400, description = "it can't be used", content((String = "text/html"))),
        (status = 401, description = "the provider's word proves nothing", content((String = "text/html"))),
        (status = 403, description = "not begun in this browser, answered already, denied by the provider, or for a user who may not call", content((String = "text/html"))),
        (status = 404, description = "access.mode has no \"oidc\""),
        (status = 503, description = "the provider does not answer; try again after Retry-After", content((String = "text/html"))),
    )
)]
#[get("/login/oidc/callback")]
pub async fn finish(on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    let answer = Query::<Answer>::from_query(request.query_string());
    // One that can't be read has no login.
    let answer = answer.map_or_else(|_| Answer::default(), Query::into_inner);
    let browser = cookie(&request, cookie_name(&on.app));
    let presented = presented(&on.app, &request);
    let finished = on
        .app
        .authentication
        .finish_sign_on(presented, browser.as_deref(), answer)
        .await;
    let (logged_in, to) = match finished {
        Ok(finished) => finished,
        Err(reason) => return refusal(&on.app, &request, reason),
    };
    Notes::of(&request).caller(logged_in.caller.user.as_deref(), Some(logged_in.by));
    let Ok(html) = logged_in_page(&link_to(&request, &to)) else {
        return HttpResponse::InternalServerError().finish();
    };
    let login = login_cookie(&on.app, &request, &logged_in.cookie, logged_in.seconds);
    HttpResponse::Ok()
        .content_type("text/html;charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .append_header((SET_COOKIE, login))
        .append_header((SET_COOKIE, kept(&on.app, "", 0)))
        .body(html)
}

/// The page of the login with a sentence.
fn refusal(app: &App, request: &HttpRequest, reason: NoSignOn) -> HttpResponse {
    let status = match &reason {
        NoSignOn::Off => return HttpResponse::NotFound().finish(),
        NoSignOn::Malformed(_) => StatusCode::BAD_REQUEST,
        NoSignOn::Code | NoSignOn::Wrong(_) => StatusCode::UNAUTHORIZED,
        NoSignOn::Unknown | NoSignOn::Denied(_) | NoSignOn::Unwelcome(_) => StatusCode::FORBIDDEN,
        NoSignOn::Silent | NoSignOn::Refused | NoSignOn::Busy | NoSignOn::NotMade(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let sentence = match reason {
        NoSignOn::NotMade(reason) => ApiError::from(reason).to_string(),
        other => other.to_string(),
    };
    let mut page = form(app, request, status, Some(&sentence));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        page.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
    }
    page
}

fn cookie_name(app: &App) -> &'static str {
    match app.authentication.returns_by_https() {
        true => SECURE_COOKIE,
        false => PLAIN_COOKIE,
    }
}

/// The cookie of a login that is at the provider, for as long; for 0 seconds it goes. `Lax`, since another site sends the browser back.
fn kept(app: &App, value: &str, seconds: u64) -> String {
    let name = cookie_name(app);
    let secure = match app.authentication.returns_by_https() {
        true => "; Secure",
        false => "",
    };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Whether it is a path of this server's, with or without a query, that leads nowhere else however a browser reads it.
fn is_own_path(path: &str) -> bool {
    let (path_only, query) = path.split_once('?').unwrap_or((path, ""));
    let in_query = |c: char| c.is_ascii_alphanumeric() || "-._~=&%+,:@".contains(c);
    path.len() <= MOST_PATH && (path_only == "/" || is_plain_path(path_only)) && query.chars().all(in_query)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_own_path;

    #[test]
    fn only_own_paths_are_gone_to() {
        for own in ["/", "/ui", "/sessions/3/log?from=0&size=10", "/ui?a=b%20c"] {
            assert!(is_own_path(own), "{own}");
        }
        for other in [
            "",
            "ui",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "https:/evil.example",
            "javascript:alert(1)",
            "/ui/../../other",
            "/./ui",
            "/%2e%2e/other",
            "/ui#x",
            "/ui/",
            "/@evil.example",
            "/ui\r\nSet-Cookie: x=y",
            "/ui?x=\"><script>",
            "/ui?x=/\\",
            " /ui",
        ] {
            assert!(!is_own_path(other), "{other:?}");
        }
        assert!(!is_own_path(&format!("/{}", "x".repeat(1024))));
    }

    proptest! {
        /// Whatever is let through stays on the host whose page has it.
        #[test]
        fn nothing_leads_elsewhere(path in "/[a-c/.]{0,4}[/\\\\.:?#@%a-c \t]{0,4}") {
            if !is_own_path(&path) {
                return Ok(());
            }
            let page = url::Url::parse("https://own.example/hub/login/oidc/callback").unwrap();
            let led = page.join(&format!("/hub{path}")).unwrap();
            prop_assert_eq!(led.host_str(), Some("own.example"));
            prop_assert!(led.path().starts_with("/hub/"), "{}", led);
            let bare = page.join(&path).unwrap();
            prop_assert_eq!(bare.host_str(), Some("own.example"));
        }
    }
}
