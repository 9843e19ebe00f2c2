//! `/sessions/{id}/statements/{statement}/result`: a statement's whole result as a stream (docs/results.md).

use std::io::{self, Read as _};
use std::sync::Arc;

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Query};
use actix_web::{HttpRequest, HttpResponse, get};
use futures_util::stream;
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use super::error::ApiError;
use super::guard::{Modify, OnSession};
use super::pages::statement_number;
use crate::background::Background;
use crate::session::{Download, Kind, ResultPiece, Statement};
use crate::tabular::{Converter, Format, convert_stored};

/// Says whether the rows were computed for this answer, or are the statement's own.
const CONSISTENCY: &str = "X-Firesteel-Result";

/// What of the result, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResultQuery {
    /// `arrow` (Arrow's stream format, the default), `csv`, `jsonl` or `parquet`.
    pub format: Option<String>,
    /// So many rows at most; all of them when it is missing.
    #[param(value_type = Option<i32>)]
    pub limit: Option<String>,
}

impl ResultQuery {
    fn format(&self) -> Result<Format, ApiError> {
        let name = self.format.as_deref().unwrap_or("arrow");
        let unknown = || format!("format: there is no {name:?}; ask for arrow, csv, jsonl or parquet");
        Format::named(name).ok_or_else(|| ApiError::BadRequest(unknown()))
    }

    /// Spark counts rows in 32 bits.
    fn limit(&self) -> Result<Option<usize>, ApiError> {
        let Some(text) = &self.limit else {
            return Ok(None);
        };
        let wrong = || ApiError::BadRequest("limit: it is no number of rows from 0 to 2147483647".to_owned());
        let rows: i32 = text.parse().map_err(|_| wrong())?;
        usize::try_from(rows).map(Some).map_err(|_| wrong())
    }
}

/// A statement's whole result: a SQL statement's rows, computed again from its plan, or the table that a `%table` or `%json` value is.
#[utoipa::path(
    operation_id = "getResult",
    tag = "statements",
    params(("id" = String, Path, description = "id or name"), ("statement" = i32, Path), ResultQuery),
    responses(
        (status = 200, description = "the table; cut off where it could not be sent to its end",
            headers(("X-Firesteel-Result" = String, description = "`recomputed` for a SQL statement, `stored` for a value"))),
        (status = 400, description = "the query makes no sense"),
        (status = 403),
        (status = 404),
        (status = 409, description = "the statement has not ended"),
        (status = 410, description = "the statement's plan or output is not kept any more; run it again"),
        (status = 422, description = "it has no table, Spark can't compute it, it is over a limit, or the format can't hold it"),
        (status = 503, description = "too many results are being fetched, or the driver does not answer; try again after Retry-After"),
    )
)]
#[get("/sessions/{id}/statements/{statement}/result")]
pub async fn fetch(
    on: OnSession<Modify>,
    query: Query<ResultQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (format, limit) = (query.format()?, query.limit()?);
    let id = statement_number(&request)?;
    let statement = on.session.statement(id).await?;
    let statement = statement.ok_or(ApiError::StatementNotFound)?;
    if !statement.state.is_final() {
        let reason = format!("The statement {id} has not ended. Ask again once it has.");
        return Err(ApiError::Conflict(reason));
    }
    let background = on.app.background.clone();
    if statement.kind != Kind::Sql {
        let _place = on.session.place_of_download()?;
        return stored(statement, format, limit, &background).await;
    }
    let mut rows = Rows {
        download: on.session.fetch(id, limit).await?,
        converter: (format != Format::Arrow).then(|| Converter::new(format)),
        has_ended: false,
        background,
    };
    // What fails before the first byte is an answer of its own.
    let first = rows.next().await?;
    let body = stream::try_unfold((first, rows), |(ready, mut rows)| async move {
        let Some(ready) = ready else {
            return Ok::<_, io::Error>(None);
        };
        match rows.next().await {
            Ok(next) => Ok(Some((ready, (next, rows)))),
            Err(error) => {
                info!(%error, "a result is cut off");
                Err(io::Error::other(error.to_string()))
            }
        }
    });
    Ok(answer(id, format, "recomputed").streaming(body))
}

fn answer(statement: i64, format: Format, consistency: &str) -> actix_web::HttpResponseBuilder {
    let extension = Format::NAMES.iter().find(|(_, known)| *known == format);
    let extension = extension.map_or("arrow", |(name, _)| name);
    let name = format!("attachment; filename=\"statement-{statement}.{extension}\"");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, format.mime()))
        .insert_header((CONTENT_DISPOSITION, name))
        .insert_header((CONSISTENCY, consistency));
    response
}

/// The rows of a SQL statement on their way.
struct Rows {
    download: Download,
    /// None for Arrow, which is passed through.
    converter: Option<Converter>,
    has_ended: bool,
    background: Background,
}

impl Rows {
    /// The next bytes of the answer; none at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while !self.has_ended {
            if let Some(bytes) = self.converted().await? {
                return Ok(Some(bytes));
            }
            match (self.download.next().await, &mut self.converter) {
                (ResultPiece::Bytes(bytes), None) => return Ok(Some(bytes)),
                (ResultPiece::Bytes(bytes), Some(converter)) => converter.feed(bytes),
                (ResultPiece::End, converter) => {
                    self.has_ended = true;
                    let Some(converter) = converter.take() else {
                        return Ok(None);
                    };
                    let last = off_worker(&self.background, move || converter.finish()).await??;
                    return Ok((!last.is_empty()).then(|| last.into()));
                }
                (ResultPiece::Gone(reason), _) => return Err(ApiError::Gone(reason)),
                (ResultPiece::Failed(reason), _) => return Err(ApiError::Unprocessable(reason)),
                (ResultPiece::Broken, _) => {
                    let reason = "The result was cut off: the driver has ended, or the server is stopping.";
                    return Err(ApiError::Unavailable(reason.to_owned()));
                }
            }
        }
        Ok(None)
    }

    /// What the converter makes of what it was fed.
    async fn converted(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(mut converter) = self.converter.take() else {
            return Ok(None);
        };
        let step = move || converter.step().map(|bytes| (bytes, converter));
        let (bytes, converter) = off_worker(&self.background, step).await??;
        self.converter = Some(converter);
        Ok(bytes.map(Bytes::from))
    }
}

/// The table that is a statement's own value.
async fn stored(
    statement: Arc<Statement>,
    format: Format,
    limit: Option<usize>,
    background: &Background,
) -> Result<HttpResponse, ApiError> {
    let id = statement.id;
    let convert = move || {
        let mut whole = String::new();
        let output = match (&statement.file, &statement.output) {
            (Some(file), _) => {
                let gone = || "The output of the statement is not kept any more. Run it again.";
                let mut file = file.open().ok_or_else(|| ApiError::Gone(gone().to_owned()))?;
                let read = file.read_to_string(&mut whole);
                read.map_err(|_| ApiError::Gone(gone().to_owned()))?;
                &whole
            }
            (None, Some(output)) => output.get(),
            (None, None) => "{}",
        };
        Ok::<_, ApiError>(convert_stored(output, format, limit)?)
    };
    let body = off_worker(background, convert).await??;
    Ok(answer(id, format, "stored").body(body))
}

async fn off_worker<T: Send + 'static>(
    background: &Background,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = background.bulk(work).await;
    done.map_err(|_| ApiError::Unavailable("The result could not be converted.".to_owned()))
}
