//! `/sessions/{id}/statements` and completion.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::web::{Payload, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post};

use super::App;
use super::answered::answered;
use super::error::ApiError;
use super::guard::{Modify, OnSession, View};
use super::json::{REPLAYED, ignore, ok, read, read_keyed, respond};
use super::link_to;
use super::pages::{PageQuery, statement_number};
use super::quotas::count_statement;
use super::statement_body::StatementBody;
use super::statement_text::with_text_so_far;
use super::tagged::{NotModified, Tagged, json_of, send, tagged};
use super::traced::context_of;
use super::trail::Notes;
use super::wire::{Candidates, CompletionRequest, Message, StatementRequest, StatementView, StatementsView};
use crate::session::{Kind, Statement};

/// Says that a SQL result was cut, and at which row limit (contracts.md, Errors and truncation).
const TRUNCATED: &str = "X-Firesteel-Truncated";

/// Asks for what a running statement has printed so far: Livy's clients expect no output before the end.
const LIVE: &str = "x-firesteel-live";

/// The statements that are kept, oldest first.
#[utoipa::path(
    operation_id = "listStatements",
    tag = "statements",
    params(("id" = String, Path, description = "id or name"), PageQuery, Tagged),
    responses((status = 200, body = StatementsView), NotModified, (status = 403), (status = 404))
)]
#[get("/sessions/{id}/statements")]
pub async fn list(
    on: OnSession<View>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (from, size) = page.of_statements(on.app.config.limits.page)?;
    let (total_statements, statements) = on.session.statements(page.is_descending(), from, size).await?;
    Ok(answer_page(
        &on.app,
        &request,
        total_statements,
        statements.iter().map(|statement| &**statement),
    ))
}

/// Runs code. One that is posted while the session starts or is busy waits its turn; the answer of one that is quick has its
/// result (`statement.answer_within`).
#[utoipa::path(
    operation_id = "runStatement",
    tag = "statements",
    params(
        ("id" = String, Path, description = "id or name"),
        ("Idempotency-Key" = Option<String>, Header, description = "the same key and body are answered with the same statement for retention.idempotency"),
    ),
    request_body = StatementRequest,
    responses(
        (status = 201, body = StatementView, headers(("Location" = String, description = "the statement's path"))),
        (status = 400, description = "the request can't be read; the body says why"),
        (status = 403),
        (status = 404),
        (status = 413, description = "the body is over limits.request_body, or the code over limits.code_bytes"),
        (status = 422, description = "the Idempotency-Key came with another request before"),
        (status = 429, description = "more statements a minute than the caller's quota allows; nothing was stored"),
        (status = 500, description = "the session has ended; nothing was stored"),
        (status = 503, description = "too many wait or the store fails; nothing was stored"),
    )
)]
#[post("/sessions/{id}/statements")]
pub async fn run(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let scope = format!("session/{}", on.session.id);
    let (body, key) = read_keyed::<StatementRequest>(&request, payload, scope).await?;
    let code = body
        .code
        .ok_or_else(|| ApiError::BadBody("code: the statement's code is missing".to_owned()))?;
    Notes::of(&request).code(&on.app.audit, &code);
    let most = on.app.config.limits.code_bytes;
    if code.len() > most.len() {
        return Err(ApiError::CodeTooLarge(code.len(), most));
    }
    let kind = statement_kind(body.kind.as_deref(), on.session.kind)?;
    count_statement(&on.app, &request)?;
    crate::kill_point!("statement.parsed");
    let (statement, replayed) = on.session.submit(&code, kind, context_of(&request), key).await?;
    let path = format!("/sessions/{}/statements/{}", on.session.id, statement.id);
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, link_to(&request, &path)));
    if replayed {
        response.insert_header(REPLAYED);
    }
    Ok(answered(
        "statement.answered",
        answer(&on.app, &request, response, &statement),
    ))
}

/// One statement.
#[utoipa::path(
    operation_id = "getStatement",
    tag = "statements",
    params(
        ("id" = String, Path, description = "id or name"),
        ("statement" = i32, Path),
        ("X-Firesteel-Live" = Option<bool>, Header, description = "true: while it runs, output has what it has printed so far"),
        Tagged,
    ),
    responses((status = 200, body = StatementView), NotModified, (status = 403), (status = 404))
)]
#[get("/sessions/{id}/statements/{statement}")]
pub async fn show(on: OnSession<View>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = statement_number(&request)?;
    let mut statement = on.session.held(id).await?.ok_or(ApiError::StatementNotFound)?;
    if request.headers().get(LIVE).is_some_and(|live| live == "true") {
        statement = with_text_so_far(&on.session, statement);
    }
    Ok(answer(&on.app, &request, HttpResponse::Ok(), &statement))
}

/// Cancels a statement: one that waits never runs, one that runs is interrupted. The session stays.
#[utoipa::path(
    operation_id = "cancelStatement",
    tag = "statements",
    params(("id" = String, Path, description = "id or name"), ("statement" = i32, Path)),
    responses((status = 200, body = Message), (status = 403), (status = 404))
)]
#[post("/sessions/{id}/statements/{statement}/cancel")]
pub async fn cancel(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    ignore(&request, payload).await?;
    let id = statement_number(&request)?;
    on.session.cancel(id).await?;
    Ok(ok(&request, &Message { msg: "canceled" }))
}

/// What could stand at the cursor.
#[utoipa::path(
    operation_id = "completeCode",
    tag = "statements",
    params(("id" = String, Path, description = "id or name")),
    request_body = CompletionRequest,
    responses((status = 200, body = Candidates), (status = 400), (status = 403), (status = 404))
)]
#[post("/sessions/{id}/completion")]
pub async fn complete(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let body: CompletionRequest = read(&request, payload).await?;
    let missing = |field: &str| ApiError::BadBody(format!("{field}: code, kind and cursor are needed"));
    let code = body.code.ok_or_else(|| missing("code"))?;
    let kind = body.kind.ok_or_else(|| missing("kind"))?;
    let cursor = body.cursor.ok_or_else(|| missing("cursor"))?;
    let kind = statement_kind(Some(&kind), on.session.kind)?;
    let candidates = on.session.complete(kind, code, cursor).await;
    Ok(ok(&request, &Candidates { candidates }))
}

fn statement_kind(named: Option<&str>, session: Kind) -> Result<Kind, ApiError> {
    let Some(named) = named else {
        return Ok(session.of_statement());
    };
    match Kind::parse(named)? {
        Kind::Shared => Err(ApiError::BadBody(
            "kind: a statement needs a language; shared is none".to_owned(),
        )),
        kind => Ok(kind),
    }
}

/// A statement, with what goes into headers.
pub(super) fn answer(
    app: &App,
    request: &HttpRequest,
    mut response: HttpResponseBuilder,
    statement: &Statement,
) -> HttpResponse {
    if let Some(rows) = statement.rows_cut {
        response.insert_header((TRUNCATED, format!("rows={rows}")));
    } else if let Some(bytes) = statement.bytes_cut {
        response.insert_header((TRUNCATED, format!("bytes={bytes}")));
    }
    match StatementBody::of_one(statement) {
        Some(body) => body.answer(request, response, app.background.clone()),
        // What nobody asks for again is not kept.
        None if request.method() != Method::GET => {
            respond(request, response, &StatementView::from(statement))
        }
        None => {
            let make = || json_of(&StatementView::from(statement));
            send(request, response, &statement.body.or_make(make))
        }
    }
}

/// A page of statements.
pub(super) fn answer_page<'a>(
    app: &App,
    request: &HttpRequest,
    total_statements: i64,
    statements: impl Iterator<Item = &'a Statement> + Clone,
) -> HttpResponse {
    match StatementBody::of_page(total_statements, statements.clone()) {
        Some(body) => body.answer(request, HttpResponse::Ok(), app.background.clone()),
        None => tagged(
            request,
            &StatementsView {
                total_statements,
                statements: statements.map(StatementView::from).collect(),
            },
        ),
    }
}
