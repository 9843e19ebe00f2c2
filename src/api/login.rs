//! `/login` and `/logout`: a browser's name and password become a cookie. Forms are answered with pages, JSON with JSON. The login at an
//! identity provider is `sign_on.rs`.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE};
use actix_web::web::{Payload, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _, get, post};

use super::App;
use super::caller::{cookie_name, is_secure, presented};
use super::error::ApiError;
use super::guard::{OnServer, Open};
use super::json::{self, respond};
use super::link_to;
use super::trail::Notes;
use super::wire::{LoginForm, LoginView, Message};
use crate::authentication::{NoLogin, Refusal};
use crate::web::{login_page, version};

/// The page with the form for name and password, and the link to the identity provider, of which a server has either or both.
#[utoipa::path(operation_id = "getLoginPage", tag = "service", responses((status = 200, content_type = "text/html"), (status = 404, description = "no way of access.mode has browsers log in")))]
#[get("/login")]
pub async fn page(on: OnServer<Open>, request: HttpRequest) -> HttpResponse {
    if !has_login(&on.app) {
        return HttpResponse::NotFound().finish();
    }
    form(&on.app, &request, StatusCode::OK, None)
}

/// Logs in by name and password, as a form or as JSON. The answer has a cookie, with which requests may come from then on.
#[utoipa::path(
    operation_id = "logIn",
    tag = "service",
    request_body(content((LoginForm = "application/json"), (LoginForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, body = LoginView, headers(("Set-Cookie" = String))),
        (status = 303, description = "a form's answer: to the page of sessions"),
        (status = 400, description = "no name or no password, or no way of access.mode takes passwords; a form gets the page again", content((String = "text/html"))),
        (status = 401, description = "name and password don't go together; a form gets the page again", content((String = "text/html"))),
        (status = 429, description = "too many wrong passwords came from there; try again after Retry-After", content((String = "text/html"))),
        (status = 503, description = "who would know does not answer; try again after Retry-After", content((String = "text/html"))),
    )
)]
#[post("/login")]
pub async fn log_in(
    on: OnServer<Open>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let given: LoginForm = if is_form {
        let body = json::take(&request, payload).await?;
        let body = String::from_utf8_lossy(&body);
        let query =
            Query::<LoginForm>::from_query(&body).map_err(|error| ApiError::BadBody(error.to_string()))?;
        query.into_inner()
    } else {
        json::read(&request, payload).await?
    };
    let presented = presented(&on.app, &request);
    let logged_in = on
        .app
        .authentication
        .log_in(presented, &given.name, &given.password)
        .await;
    let logged_in = match logged_in {
        Ok(logged_in) => logged_in,
        Err(refused) => return refusal(&on.app, &request, is_form, refused),
    };
    Notes::of(&request).caller(logged_in.caller.user.as_deref(), Some(logged_in.by));
    let cookie = login_cookie(&on.app, &request, &logged_in.cookie, logged_in.seconds);
    let mut response = if is_form {
        seen(&request, "/ui")
    } else {
        HttpResponse::Ok()
    };
    response.insert_header((SET_COOKIE, cookie));
    response.insert_header((CACHE_CONTROL, "no-store"));
    if is_form {
        return Ok(response.finish());
    }
    let view = LoginView {
        user: logged_in.caller.user.unwrap_or_default(),
        expires_in_seconds: logged_in.seconds,
    };
    Ok(respond(&request, response, &view))
}

/// Ends the login of the cookie that comes along, and has the browser forget it. Without one nothing happens.
#[utoipa::path(operation_id = "logOut", tag = "service", responses((status = 200, body = Message), (status = 303, description = "a browser's answer: to the page with the form")))]
#[post("/logout")]
pub async fn log_out(
    on: OnServer<Open>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    json::ignore(&request, payload).await?;
    if let Some(cookie) = presented(&on.app, &request).cookie {
        on.app.authentication.log_out(&cookie).await?;
    }
    let wants_page = wants_page(&request);
    let mut response = if wants_page {
        seen(&request, "/login")
    } else {
        HttpResponse::Ok()
    };
    response.insert_header((SET_COOKIE, login_cookie(&on.app, &request, "", 0)));
    if wants_page {
        Ok(response.finish())
    } else {
        Ok(respond(&request, response, &Message { msg: "logged out" }))
    }
}

/// Where a browser that nobody knows yet is sent; none for other programs, and where there is no login.
pub(super) fn instead_of(request: &HttpRequest, error: &ApiError) -> Option<HttpResponse> {
    let app = request.app_data::<actix_web::web::Data<App>>()?;
    let is_stranger = matches!(error, ApiError::Unauthenticated(_));
    // With a header it is a program, or a browser that has been asked for a password and got it wrong.
    let has_tried = request.headers().contains_key("authorization");
    (is_stranger && !has_tried && has_login(app) && wants_page(request))
        .then(|| seen(request, "/login").finish())
}

/// Whether browsers can log in.
pub(super) fn has_login(app: &App) -> bool {
    app.authentication.takes_passwords() || app.authentication.provider_name().is_some()
}

fn wants_page(request: &HttpRequest) -> bool {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn refusal(
    app: &App,
    request: &HttpRequest,
    is_form: bool,
    refused: NoLogin,
) -> Result<HttpResponse, ApiError> {
    let error = match refused {
        // No `WWW-Authenticate`: a browser would ask for the password in a window of its own.
        NoLogin::Refused(Refusal::Unproved(_)) => ApiError::Unauthenticated(Vec::new()),
        NoLogin::Refused(other) => other.into(),
        NoLogin::Off => ApiError::BadRequest(refused.to_string()),
        NoLogin::NotMade(reason) => reason.into(),
    };
    if !is_form {
        return Err(error);
    }
    let sentence = match &error {
        ApiError::Unauthenticated(_) => "This name and this password don't go together.".to_owned(),
        other => other.to_string(),
    };
    // Its headers, such as Retry-After, are the page's too.
    let mut shown = form(app, request, error.status_code(), Some(&sentence));
    for (name, value) in error.error_response().headers() {
        if name != CONTENT_TYPE {
            shown.headers_mut().insert(name.clone(), value.clone());
        }
    }
    Ok(shown)
}

/// The page of the login, with what was wrong with the last try.
pub(super) fn form(
    app: &App,
    request: &HttpRequest,
    status: StatusCode,
    wrong: Option<&str>,
) -> HttpResponse {
    let authentication = &app.authentication;
    let action = authentication
        .takes_passwords()
        .then(|| link_to(request, "/login"));
    let provider = authentication.provider_name();
    let provider = provider.map(|name| (name, link_to(request, "/login/oidc")));
    let assets = link_to(request, &format!("/ui/assets/{}", version()));
    match login_page(assets, action, provider, wrong) {
        Ok(html) => HttpResponseBuilder::new(status)
            .content_type("text/html;charset=utf-8")
            .insert_header((CACHE_CONTROL, "no-store"))
            // With `no-referrer` browsers send `Origin: null` with the form, which could be anybody's.
            .insert_header((REFERRER_POLICY, "same-origin"))
            .body(html),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// "See another": the browser asks for that page by GET.
fn seen(request: &HttpRequest, path: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, link_to(request, path)));
    response
}

/// A login's cookie, for as long; for 0 seconds it goes.
pub(super) fn login_cookie(app: &App, request: &HttpRequest, value: &str, seconds: u64) -> String {
    let is_secure = is_secure(app, request);
    let name = cookie_name(is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
