//! `/tokens`: API tokens, made, listed, revoked. Everybody has their own; superusers see and revoke all.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};

use super::caller::proved;
use super::error::ApiError;
use super::guard::{Account, OnServer};
use super::json::{ok, read, respond};
use super::link_to;
use super::pages::PageQuery;
use super::wire::{Message, NewTokenView, TokenForm, TokenView, TokensView};
use crate::authentication::{Scopes, TokenRequest};

/// What a token that does not say may do.
const DEFAULT_SCOPE: &str = "all";

/// Makes a token for the caller. Its text is in this answer and can't be had again.
#[utoipa::path(
    operation_id = "createToken",
    tag = "tokens",
    request_body = TokenForm,
    responses(
        (status = 201, body = NewTokenView, headers(("Location" = String, description = "the token's path"))),
        (status = 400, description = "no such scope, or longer than access.token.max_age; the body says why"),
        (status = 403, description = "a token asks that may not make one, or for one that may more than it"),
        (status = 409, description = "the caller has access.token.per_user already"),
        (status = 503, description = "it can't be stored"),
    )
)]
#[post("/tokens")]
pub async fn create(
    on: OnServer<Account>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let form: TokenForm = read(&request, payload).await?;
    let wrong = |error: String| ApiError::BadRequest(error);
    let words = form.scopes.unwrap_or_else(|| vec![DEFAULT_SCOPE.to_owned()]);
    let label = form.name.filter(|name| !name.is_empty());
    let longest = on.app.config.limits.name_bytes;
    if label.as_ref().is_some_and(|name| name.len() > longest) {
        return Err(wrong(format!(
            "name: {longest} bytes at most (limits.name_bytes)"
        )));
    }
    let age = form
        .expires_in
        .as_deref()
        .map(humantime::parse_duration)
        .transpose();
    let wanted = TokenRequest {
        label,
        scopes: Scopes::of(&words).map_err(|error| wrong(format!("scopes: {error}")))?,
        age: age.map_err(|error| {
            wrong(format!(
                "expiresIn: {error}; a duration is needed, such as \"30d\""
            ))
        })?,
    };
    let made = on
        .app
        .authentication
        .make_token(&proved(&request)?, wanted)
        .await?;
    let view = NewTokenView {
        token: made.text,
        facts: made.facts.into(),
    };
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, link_to(&request, &format!("/tokens/{}", view.facts.id))));
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(respond(&request, response, &view))
}

/// The caller's tokens that have not expired, oldest first, without their texts; everybody's for a superuser.
#[utoipa::path(operation_id = "listTokens", tag = "tokens", params(PageQuery), responses((status = 200, body = TokensView)))]
#[get("/tokens")]
pub async fn list(
    on: OnServer<Account>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = page.window(on.app.config.limits.page)?;
    let all = on.app.authentication.tokens_of(&on.caller);
    let total = all.len();
    let tokens = window.of(all).into_iter().map(TokenView::from).collect();
    let from = window.from;
    Ok(ok(&request, &TokensView { from, total, tokens }))
}

/// Revokes a token: what comes with it from now on is refused.
#[utoipa::path(
    operation_id = "deleteToken",
    tag = "tokens",
    params(("id" = String, Path, description = "its id")),
    responses(
        (status = 200, body = Message),
        (status = 404, description = "there is none, or it is somebody else's"),
        (status = 503, description = "that can't be stored; the token goes on counting"),
    )
)]
#[delete("/tokens/{id}")]
pub async fn delete(
    on: OnServer<Account>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if on.app.authentication.revoke_token(&on.caller, &id).await? {
        Ok(ok(&request, &Message { msg: "deleted" }))
    } else {
        Err(ApiError::TokenNotFound(id.chars().take(64).collect()))
    }
}
