//! `/sessions/{id}/statements/{statement}/html`: the HTML that is a statement's output, as a page of its own that can do nothing: the web UI has it in a frame.

use std::io::Read as _;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Deserialize;
use tracing::warn;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::guard::{OnEnded, OnSession, View};
use super::pages::statement_number;
use super::statement_text::reader;
use crate::session::Statement;
use crate::web::html_page;

/// The longest output that becomes a page, in bytes of its JSON.
const LONGEST: u64 = 32 * 1024 * 1024;

/// The page has no scripts, no forms, no origin and nothing from the network; styles and images are those that it brings itself.
const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// How it looks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Look {
    /// `dark` for light text on a dark ground.
    pub theme: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "text/html")]
    html: Option<Html>,
}

/// Jupyter's formats allow both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Html {
    Whole(String),
    Lines(Vec<String>),
}

/// The HTML of a statement's output, as a page that runs nothing.
#[utoipa::path(
    operation_id = "getStatementHtml",
    tag = "statements",
    params(("id" = String, Path, description = "id or name"), ("statement" = i32, Path), Look),
    responses((status = 200, content_type = "text/html", body = String), (status = 403), (status = 404, description = "there is no such statement, or its output has no HTML"), (status = 422, description = "it is over 32 MiB"))
)]
#[get("/sessions/{id}/statements/{statement}/html")]
pub async fn show(
    on: OnSession<View>,
    look: Query<Look>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let found = on.session.statement(statement_number(&request)?).await?;
    answer(&on.app, found.ok_or(ApiError::StatementNotFound)?, &look).await
}

/// The HTML of an ended session's statement, as a page that runs nothing.
#[utoipa::path(
    operation_id = "getEndedStatementHtml",
    tag = "history",
    params(("id" = i32, Path), ("statement" = i32, Path), Look),
    responses((status = 200, content_type = "text/html", body = String), (status = 403), (status = 404, description = "there is no such statement, or its output has no HTML"), (status = 422, description = "it is over 32 MiB"), (status = 503))
)]
#[get("/history/{id}/statements/{statement}/html")]
pub async fn show_ended(
    on: OnEnded<View>,
    look: Query<Look>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = statement_number(&request)?;
    let found = on.app.sessions.ended_statement(on.session.id, id).await?;
    answer(&on.app, found.ok_or(ApiError::StatementNotFound)?.into(), &look).await
}

async fn answer(app: &App, statement: Arc<Statement>, look: &Look) -> Result<HttpResponse, ApiError> {
    let is_dark = look.theme.as_deref() == Some("dark");
    let made = app.background.bulk(move || page(&statement, is_dark)).await??;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html;charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(made))
}

fn page(statement: &Statement, is_dark: bool) -> Result<String, ApiError> {
    let mut whole = Vec::new();
    if let Err(error) = reader(statement).take(LONGEST + 1).read_to_end(&mut whole) {
        warn!(statement.id, %error, "an output can't be read");
        let reason = "The statement's output can't be read; the server's log says why.";
        return Err(ApiError::Unavailable(reason.to_owned()));
    }
    if whole.len() as u64 > LONGEST {
        let reason = "The statement's output is over 32 MiB: too long for a page.";
        return Err(ApiError::Unprocessable(reason.to_owned()));
    }
    let output: Option<Output> = serde_json::from_slice(&whole).ok();
    let html = output.and_then(|output| output.data?.html);
    let html = match html.ok_or(ApiError::StatementNotFound)? {
        Html::Whole(text) => text,
        Html::Lines(lines) => lines.concat(),
    };
    Ok(html_page(&html, is_dark))
}
