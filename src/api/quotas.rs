//! `/quotas`: what each user may use and uses, shown, and changed by administrators while the server runs.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, get, put};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::error::ApiError;
use super::guard::{Administer, List, OnServer};
use super::json::{ok, read};
use super::pages::PageQuery;
use super::wire::lenient;
use crate::access::valid_user;
use crate::authentication::Proved;
use crate::config::Size;
use crate::quota::{Changes, Cost, Limits, Report};
use crate::store::Op;

/// The largest number that every JSON reader takes.
const LARGEST: u64 = (1 << 53) - 1;

/// `GET /quotas`.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotasView {
    /// The first row's place among all.
    pub from: i64,
    /// How many there are.
    pub total: usize,
    /// The caller's own; an administrator's answer has those of all users who are known, by name.
    pub quotas: Vec<QuotaView>,
}

/// One user's quota.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaView {
    /// The user; null for everybody without authentication.
    #[schema(example = "ada")]
    pub user: Option<String>,
    /// The quota's name in the configuration (`quota.NAME`); null where none is theirs.
    #[schema(example = "default")]
    pub quota: Option<String>,
    /// Whether usage and limits are those of all users of the quota together.
    pub together: bool,
    /// What an administrator has changed; null for nothing.
    pub changed: Option<AmountsView>,
    /// The limits that hold.
    pub limits: AmountsView,
    /// What is in use.
    pub usage: AmountsView,
}

/// Amounts. Null: no limit, nothing changed, or not counted.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmountsView {
    /// Sessions that run.
    pub sessions: Option<u64>,
    /// Batches that run.
    pub batches: Option<u64>,
    /// Sessions that wait, and batches that wait.
    pub queued: Option<u64>,
    /// Cores.
    pub cores: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// GPUs.
    pub gpus: Option<f64>,
    /// Bytes of uploads.
    pub uploads: Option<u64>,
    /// Statements and jobs.
    pub statements_per_minute: Option<u64>,
}

/// `PUT /quotas/{user}`: the user's limits from now on. Missing: as the configuration has it; 0: no limit.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct QuotaRequest {
    /// Sessions that run.
    #[serde(deserialize_with = "lenient::integer")]
    #[schema(example = 4)]
    pub sessions: Option<i64>,
    /// Batches that run.
    #[serde(deserialize_with = "lenient::integer")]
    pub batches: Option<i64>,
    /// Sessions that wait, and batches that wait.
    #[serde(deserialize_with = "lenient::integer")]
    pub queued: Option<i64>,
    /// Cores.
    #[serde(deserialize_with = "lenient::integer")]
    pub cores: Option<i64>,
    /// Memory with its unit.
    #[schema(value_type = Option<String>, example = "64GiB")]
    pub memory: Option<Size>,
    /// GPUs.
    #[serde(deserialize_with = "lenient::integer")]
    pub gpus: Option<i64>,
    /// Uploads, with their unit.
    #[schema(value_type = Option<String>, example = "10GiB")]
    pub uploads: Option<Size>,
    /// Statements and jobs.
    #[serde(deserialize_with = "lenient::integer")]
    pub statements_per_minute: Option<i64>,
}

impl From<QuotaRequest> for Changes {
    fn from(asked: QuotaRequest) -> Self {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Self {
            sessions: number(asked.sessions),
            batches: number(asked.batches),
            queued: number(asked.queued),
            cores: number(asked.cores),
            memory: asked.memory.map(Size::bytes),
            gpus: number(asked.gpus),
            uploads: asked.uploads.map(Size::bytes),
            statements_per_minute: number(asked.statements_per_minute),
        }
    }
}

impl From<&Limits> for AmountsView {
    fn from(limits: &Limits) -> Self {
        Self {
            sessions: limits.sessions,
            batches: limits.batches,
            queued: limits.queued,
            cores: limits.cores,
            memory: limits.memory,
            gpus: limits.gpus.map(whole),
            uploads: limits.uploads,
            statements_per_minute: limits.statements_per_minute,
        }
    }
}

/// GPUs of thousandths.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 GPUs")]
fn whole(thousandths: u64) -> f64 {
    thousandths.min(LARGEST) as f64 / 1000.0
}

fn view(app: &App, report: &Report) -> QuotaView {
    let Cost { cores, memory, gpus } = report.usage.cost;
    QuotaView {
        quota: report.quota.clone(),
        together: report.together,
        changed: report
            .changes
            .map(|changes| AmountsView::from(&Limits::from(&changes))),
        limits: AmountsView::from(&report.limits),
        usage: AmountsView {
            sessions: Some(report.usage.sessions),
            batches: Some(report.usage.batches),
            cores: Some(cores.min(LARGEST)),
            memory: Some(memory.min(LARGEST)),
            gpus: Some(whole(gpus)),
            uploads: Some(app.uploads.taken(report.user.as_deref())),
            ..AmountsView::default()
        },
        user: report.user.clone(),
    }
}

/// Shows quotas and what is in use of them: the caller's own, for administrators everybody's.
#[utoipa::path(operation_id = "listQuotas", tag = "service", params(PageQuery), responses((status = 200, body = QuotasView)))]
#[get("/quotas")]
pub async fn list(
    on: OnServer<List>,
    page: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = page.window(on.app.config.limits.page)?;
    let quotas = on.app.sessions.quotas();
    quotas.know(on.caller.user.as_deref(), on.caller.groups());
    let own = || quotas.report(on.caller.user.as_deref());
    let reports = match on.caller.admin {
        true => quotas.reports(),
        false => vec![own()],
    };
    let total = reports.len();
    let from = window.from;
    let shown = window.of(reports);
    let quotas = shown.iter().map(|report| view(&on.app, report)).collect();
    Ok(ok(&request, &QuotasView { from, total, quotas }))
}

/// Changes a user's limits, at once and for good: who waits for room may get it. What runs goes on. An empty body has the limits as the
/// configuration says again.
#[utoipa::path(
    operation_id = "changeQuota",
    tag = "service",
    params(("user" = String, Path, description = "the user's name")),
    request_body = QuotaRequest,
    responses(
        (status = 200, body = QuotaView),
        (status = 400, description = "no such amount, or no name that a user could have"),
        (status = 403, description = "the caller is no administrator"),
        (status = 413, description = "the body is over limits.request_body"),
        (status = 503, description = "the store fails; try again after Retry-After"),
    )
)]
#[put("/quotas/{user}")]
pub async fn change(
    on: OnServer<Administer>,
    user: Path<String>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if !valid_user(&user) {
        return Err(ApiError::BadRequest("Invalid user name.".to_owned()));
    }
    let changes = Changes::from(read::<QuotaRequest>(&request, payload).await?);
    let stored = (changes != Changes::default())
        .then(|| serde_json::to_string(&changes).map_err(|error| ApiError::Unavailable(error.to_string())))
        .transpose()?;
    let app = on.app.clone();
    // As a task: a client that leaves must not have something else stored than what holds.
    let changed = app.background.spawn({
        let (app, user) = (app.clone(), user.clone());
        async move {
            let _turn = app.quota_changes.lock().await;
            let op = Op::SetQuota {
                owner: user.clone(),
                changes: stored,
            };
            app.sessions.store().write(op).await?;
            app.sessions.quotas().change(&user, changes);
            Ok::<(), ApiError>(())
        }
    });
    changed
        .await
        .unwrap_or_else(|_| Err(ApiError::Unavailable("The server is stopping.".to_owned())))?;
    let report = app.sessions.quotas().report(Some(&user));
    Ok(ok(&request, &view(&app, &report)))
}

/// Counts a statement or job of whoever sends a request.
///
/// # Errors
/// There were too many within the last minute.
pub fn count_statement(app: &Data<App>, request: &HttpRequest) -> Result<(), ApiError> {
    let extensions = request.extensions();
    let caller = extensions.get::<Proved>().map(|proved| &proved.caller);
    let user = caller.and_then(|caller| caller.user.as_deref());
    let quotas = app.sessions.quotas();
    quotas.know(user, caller.map_or(&[], |caller| caller.groups()));
    Ok(quotas.statement(user)?)
}
