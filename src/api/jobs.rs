//! `/sessions/{id}/submit-job`, `run-job` and `jobs`: programmatic jobs, as Livy's Python and Java clients send them.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::error::ApiError;
use super::guard::{Modify, OnSession, View};
use super::json::{REPLAYED, ignore, read_keyed, respond};
use super::pages::number;
use super::quotas::count_statement;
use super::tagged::{NotModified, Tagged, tagged};
use super::traced::context_of;
use super::wire::{JobRequest, JobView};
use crate::session::Kind;

/// Runs a job in its turn, behind the session's statements and other jobs. The result is asked for at `/sessions/{id}/jobs/{job}`.
#[utoipa::path(
    operation_id = "submitJob",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "id or name"),
        ("Idempotency-Key" = Option<String>, Header, description = "the same key and body are answered with the same job for retention.idempotency"),
    ),
    request_body = JobRequest,
    responses(
        (status = 201, body = JobView),
        (status = 400, description = "the request can't be read, or the session can't run such jobs; the body says why"),
        (status = 403),
        (status = 404),
        (status = 413, description = "the body is over limits.request_body"),
        (status = 422, description = "the Idempotency-Key came with another request before"),
        (status = 429, description = "more statements and jobs a minute than the caller's quota allows; nothing was stored"),
        (status = 500, description = "the session has ended; nothing was stored"),
        (status = 503, description = "too many wait or the store fails; nothing was stored"),
    )
)]
#[post("/sessions/{id}/submit-job")]
pub async fn submit(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    take(&on, payload, &request).await
}

/// The same: Livy runs these on another thread, and here jobs and statements have their turns.
#[utoipa::path(
    operation_id = "runJob",
    tag = "jobs",
    params(("id" = String, Path, description = "id or name")),
    request_body = JobRequest,
    responses((status = 201, body = JobView), (status = 400), (status = 403), (status = 404), (status = 429), (status = 500), (status = 503))
)]
#[post("/sessions/{id}/run-job")]
pub async fn run(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    take(&on, payload, &request).await
}

/// One job. Its result can be read as often as wanted, as long as it is kept (`job.kept`).
#[utoipa::path(
    operation_id = "getJob",
    tag = "jobs",
    params(("id" = String, Path, description = "id or name"), ("job" = i32, Path), Tagged),
    responses((status = 200, body = JobView), NotModified, (status = 403), (status = 404))
)]
#[get("/sessions/{id}/jobs/{job}")]
pub async fn show(on: OnSession<View>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = number(request.match_info().query("job"))?;
    let found = match id {
        1.. => on.session.held(-id).await?,
        _ => None,
    };
    let job = found.ok_or(ApiError::JobNotFound(id))?;
    Ok(tagged(&request, &JobView::from(&*job)))
}

/// Cancels a job: one that waits never runs, one that runs is interrupted.
#[utoipa::path(
    operation_id = "cancelJob",
    tag = "jobs",
    params(("id" = String, Path, description = "id or name"), ("job" = i32, Path)),
    responses((status = 200, description = "also for a job that has ended; no body"), (status = 403), (status = 404))
)]
#[post("/sessions/{id}/jobs/{job}/cancel")]
pub async fn cancel(
    on: OnSession<Modify>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    ignore(&request, payload).await?;
    let id = number(request.match_info().query("job"))?;
    if id < 1 {
        return Err(ApiError::JobNotFound(id));
    }
    on.session.cancel(-id).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn take(
    on: &OnSession<Modify>,
    payload: Payload,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let scope = format!("session/{}", on.session.id);
    let (body, key) = read_keyed::<JobRequest>(request, payload, scope).await?;
    let job = body.job.filter(|job| !job.is_empty());
    let job = job.ok_or_else(|| {
        // Livy's words.
        ApiError::BadRequest("requirement failed: no job provided.".to_owned())
    })?;
    if let Err(error) = BASE64_STANDARD.decode(&job) {
        return Err(ApiError::BadBody(format!("job: it is not base64: {error}")));
    }
    let kind = job_kind(body.job_type.as_deref())?;
    if kind == Kind::Spark
        && let Some(reason) = on.session.why_no_java_jobs().await
    {
        return Err(ApiError::Rejected(reason));
    }
    count_statement(&on.app, request)?;
    let (job, replayed) = on.session.submit_job(job, kind, context_of(request), key).await?;
    let mut response = HttpResponse::Created();
    if replayed {
        response.insert_header(REPLAYED);
    }
    Ok(respond(request, response, &JobView::sent(&job)))
}

fn job_kind(named: Option<&str>) -> Result<Kind, ApiError> {
    match named.map(Kind::parse) {
        Some(Ok(kind @ (Kind::Pyspark | Kind::Spark))) => Ok(kind),
        _ => Err(ApiError::BadBody(
            "jobType: \"pyspark\" (a pickled Python function) or \"spark\" (a Java or Scala job in Kryo's form) is needed".to_owned(),
        )),
    }
}
