//! `/sessions/{id}/statements/{statement}/output`: what a statement prints, by places in it, while it runs and afterwards; and
//! the statement as a client sees it that asks for what there is so far.

use std::io::{Cursor, Read};
use std::sync::Arc;

use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use tracing::warn;
use utoipa::IntoParams;

use super::error::ApiError;
use super::guard::{OnSession, View};
use super::json::ok;
use super::pages::statement_number;
use super::wire::TextPage;
use crate::output;
use crate::session::{Session, Statement};

/// The most bytes of one page.
const PAGE_BYTES: usize = 1024 * 1024;
/// The least: a character has at most so many.
const PAGE_LEAST: usize = 4;

/// Which part of the text.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TextQuery {
    /// The place of the first byte; 0 when it is missing.
    #[param(value_type = Option<i64>)]
    pub from: Option<String>,
    /// Bytes at most, 4 at least and 1048576 at most, which is meant when it is missing.
    #[param(value_type = Option<i64>)]
    pub size: Option<String>,
    /// `printed`: what it printed, as it came; `output`: the text of its output. Missing: the first while it runs, then the second.
    pub source: Option<String>,
}

/// A part of what a statement prints: while it runs, and of the last ones a while longer, what is kept of it as it came
/// (`output.live_bytes`); once it has ended, the text of its output.
#[utoipa::path(
    operation_id = "getStatementText",
    tag = "live",
    params(("id" = String, Path, description = "id or name"), ("statement" = i32, Path), TextQuery),
    responses((status = 200, body = TextPage), (status = 400), (status = 403), (status = 404))
)]
#[get("/sessions/{id}/statements/{statement}/output")]
pub async fn show_text(
    on: OnSession<View>,
    query: Query<TextQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = statement_number(&request)?;
    let from = number("from", query.from.as_deref())?.unwrap_or(0);
    let size = number("size", query.size.as_deref())?
        .map_or(PAGE_BYTES, |size| usize::try_from(size).unwrap_or(usize::MAX));
    let size = size.clamp(PAGE_LEAST, PAGE_BYTES);
    // What is kept as it came is looked at first: it is all there once the statement has ended.
    let printed = on.session.feed.text(id);
    let statement = on
        .session
        .statement(id)
        .await?
        .ok_or(ApiError::StatementNotFound)?;
    let is_printed = match query.source.as_deref() {
        Some("printed") => true,
        Some("output") => false,
        None => !statement.state.is_final(),
        Some(_) => {
            return Err(ApiError::BadRequest(
                "source: printed or output is needed".to_owned(),
            ));
        }
    };
    let state = statement.state.as_str();
    let page = if is_printed {
        let total = printed.as_ref().map_or(0, |text| text.total);
        let page = printed.map(|text| text.page(from, size));
        TextPage {
            source: "printed",
            state,
            from: page.as_ref().map_or(0, |page| page.from),
            next: page.as_ref().map_or(0, |page| page.next),
            total,
            text: page.map_or_else(String::new, |page| page.text),
        }
    } else {
        let read = move || output::page(reader(&statement), from, size);
        let read = on.app.background.bulk(read).await;
        let page = read.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        let page = page.map_err(|error| {
            warn!(session.id = on.session.id, statement.id = id, %error, "an output can't be read");
            ApiError::Unavailable(
                "The statement's output can't be read; the server's log says why.".to_owned(),
            )
        })?;
        TextPage {
            source: "output",
            state,
            from: page.from,
            next: page.next,
            total: page.total,
            text: page.text,
        }
    };
    Ok(ok(&request, &page))
}

/// The output's JSON; of one whose file has gone, what is left.
pub fn reader(statement: &Statement) -> Box<dyn Read> {
    if let Some(output) = statement.file.as_ref().and_then(|file| file.open()) {
        return Box::new(output);
    }
    let inline = statement.output.as_ref().map_or("{}", |output| output.get());
    Box::new(Cursor::new(inline.as_bytes().to_vec()))
}

/// The statement with what it has printed so far in place of its output, while it has none.
pub fn with_text_so_far(session: &Session, statement: Arc<Statement>) -> Arc<Statement> {
    if statement.state.is_final() || statement.output.is_some() {
        return statement;
    }
    let shown = session
        .feed
        .text(statement.id)
        .map_or_else(String::new, |text| text.shown());
    let output = json!({"status": "ok", "execution_count": statement.id, "data": {"text/plain": shown}});
    Arc::new(Statement {
        output: to_raw_value(&output).ok().map(Arc::from),
        ..(*statement).clone()
    })
}

/// A whole number that the document's `int64` can hold.
fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let parsed = |text: &str| {
        text.parse()
            .ok()
            .and_then(|number: i64| u64::try_from(number).ok())
    };
    text.map(|text| {
        parsed(text)
            .ok_or_else(|| ApiError::BadRequest(format!("{name}: a whole number of 0 to 2^63 - 1 is needed")))
    })
    .transpose()
}
