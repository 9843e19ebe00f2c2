//! What clients are sent. No key is ever left out or added: some of Livy's clients are strict (clients.md, W7 and W8).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::authentication::TokenFacts;
use crate::batch::{self, Batch};
use crate::gpu::{Summary, Usage};
use crate::ownership::{Grantee, Ownership, Share};
use crate::policy;
use crate::session::{Echo, Kind, Session, SessionState, Snapshot, Statement, StatementState};
use crate::upload::Upload;

/// Links of an application; all values are texts.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppInfo {
    /// The driver's log, where a cluster serves it.
    pub driver_log_url: Option<String>,
    /// Spark's UI.
    pub spark_ui_url: Option<String>,
    /// The executors' logs, where a cluster serves them.
    pub executor_log_urls: Option<String>,
    /// Its cluster, where that is not the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What it holds of the GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<String>,
    /// Seconds of holding a whole GPU: two count twice, half of one counts half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<String>,
    /// Seconds in which something of it ran on a GPU, as far as looks can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_busy_seconds: Option<String>,
    /// Percent at the last look, the mean over its GPUs; missing where no GPU tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_utilization: Option<String>,
    /// The most of the GPUs' memory that its processes were seen to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory_peak: Option<String>,
    /// The exit code of a batch's application, once it has exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<String>,
}

impl AppInfo {
    /// What is told of GPUs: all as texts, as Livy's clients expect.
    fn of_gpus(held: Option<&str>, usage: Option<&Usage>) -> Self {
        let summary = usage.and_then(Usage::summary);
        let figure = |of: fn(&Summary) -> String| summary.as_ref().map(of);
        Self {
            gpus: held.map(str::to_owned),
            gpu_seconds: figure(|summary| summary.seconds.to_string()),
            gpu_busy_seconds: figure(|summary| summary.busy_seconds.to_string()),
            gpu_utilization: summary
                .as_ref()
                .and_then(|summary| summary.utilization)
                .map(|percent| percent.to_string()),
            gpu_memory_peak: figure(|summary| summary.memory_peak.clone()),
            ..Self::default()
        }
    }
}

/// A session, in Livy's order of keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// A small integer.
    #[schema(example = 0)]
    pub id: i64,
    /// The name that the request gave.
    pub name: Option<String>,
    /// Spark's application id.
    pub app_id: Option<String>,
    /// Whose it is: who created it, unless it was handed over; null without authentication.
    pub owner: Option<String>,
    /// As whom its driver runs.
    pub proxy_user: Option<String>,
    /// `starting`, `idle`, `busy`, `shutting_down`, `dead`, `recovering`.
    #[schema(example = "idle")]
    pub state: Cow<'static, str>,
    /// `pyspark`, `sql`, `shared`.
    #[schema(example = "pyspark")]
    pub kind: Cow<'static, str>,
    /// Links.
    pub app_info: AppInfo,
    /// The log's last lines, ten at most.
    pub log: Vec<String>,
    /// The request. Not sent to Livy's own Java client, which fails on keys that its version does not know.
    #[serde(flatten)]
    pub details: Option<Details>,
}

/// The request as it is echoed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Livy's duration string.
    pub ttl: Option<String>,
    /// Livy's duration string.
    pub idle_timeout: Option<String>,
    /// Such as `1g`.
    pub driver_memory: Option<String>,
    /// 0 when the request has none.
    pub driver_cores: i64,
    /// Such as `1g`.
    pub executor_memory: Option<String>,
    /// 0 when the request has none.
    pub executor_cores: i64,
    /// The request's conf.
    #[schema(value_type = Object)]
    pub conf: Map<String, Value>,
    /// As the request has them.
    pub archives: Vec<String>,
    /// As the request has them.
    pub files: Vec<String>,
    /// 0 for none.
    pub heartbeat_timeout_in_second: i64,
    /// As the request has them.
    pub jars: Vec<String>,
    /// 0 when the request has none.
    pub num_executors: i64,
    /// As the request has them.
    pub py_files: Vec<String>,
    /// The cluster's queue.
    pub queue: Option<String>,
}

impl Details {
    /// The secrets of an ended session's conf are in no store any more, and so in no answer.
    fn of(echo: &Echo, has_ended: bool) -> Self {
        let mut echo = echo.clone();
        if has_ended {
            policy::redact(&mut echo.conf);
        }
        Self {
            ttl: echo.ttl,
            idle_timeout: echo.idle_timeout,
            driver_memory: echo.driver_memory,
            driver_cores: echo.driver_cores,
            executor_memory: echo.executor_memory,
            executor_cores: echo.executor_cores,
            conf: echo.conf,
            archives: echo.archives,
            files: echo.files,
            heartbeat_timeout_in_second: echo.heartbeat_timeout_in_second,
            jars: echo.jars,
            num_executors: echo.num_executors,
            py_files: echo.py_files,
            queue: echo.queue,
        }
    }
}

impl SessionView {
    /// A session for a caller who may see all of it.
    #[must_use]
    pub fn new(session: &Session, snapshot: &Snapshot, log: Vec<String>) -> Self {
        let whose = session.whose.get();
        Self {
            id: session.id,
            name: session.name.clone(),
            app_id: snapshot.app_id.clone(),
            owner: whose.owner.clone(),
            proxy_user: whose.proxy_user.clone(),
            state: snapshot.state.as_str().into(),
            kind: session.kind.as_str().into(),
            app_info: AppInfo {
                driver_log_url: snapshot.driver_log_url.clone(),
                spark_ui_url: snapshot.ui_url.clone(),
                cluster: session.cluster.as_deref().map(str::to_owned),
                ..AppInfo::of_gpus(snapshot.gpus.as_deref(), snapshot.gpu_usage.as_ref())
            },
            log,
            details: Some(Details::of(&session.echo, snapshot.state == SessionState::Dead)),
        }
    }

    /// The same for a stranger where `access.lists = "livy"`: the shape stays, conf and log are emptied.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        self.log.clear();
        if let Some(details) = &mut self.details {
            details.conf.values_mut().for_each(|value| *value = "".into());
        }
        self
    }
}

/// `GET /sessions`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionsView {
    /// As asked.
    pub from: i64,
    /// All sessions that the caller may see.
    pub total: usize,
    /// The page.
    pub sessions: Vec<SessionView>,
}

/// A batch, in Livy's order of keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// A small integer, counted apart from sessions.
    #[schema(example = 0)]
    pub id: i64,
    /// The name that the request gave.
    pub name: Option<String>,
    /// Whose it is: who created it, unless it was handed over; null without authentication.
    pub owner: Option<String>,
    /// As whom its driver runs.
    pub proxy_user: Option<String>,
    /// `starting`, `running`, `success`, `dead`, `killed`.
    #[schema(example = "running")]
    pub state: &'static str,
    /// Spark's application id, where a cluster tells it.
    pub app_id: Option<String>,
    /// Links, and the exit code.
    pub app_info: AppInfo,
    /// The log's last lines, ten at most.
    pub log: Vec<String>,
}

impl BatchView {
    /// A batch, with the last lines of its log.
    #[must_use]
    pub fn new(batch: &Batch, snapshot: &batch::Snapshot, log: Vec<String>) -> Self {
        let whose = batch.whose.get();
        let links = snapshot
            .application
            .as_ref()
            .map(|application| &application.links);
        Self {
            id: batch.id,
            name: batch.name.clone(),
            owner: whose.owner.clone(),
            proxy_user: whose.proxy_user.clone(),
            state: snapshot.state.as_str(),
            app_id: snapshot
                .application
                .as_ref()
                .map(|application| application.id.clone()),
            app_info: AppInfo {
                driver_log_url: links.and_then(|links| links.driver_log.clone()),
                spark_ui_url: links.and_then(|links| links.ui.clone()),
                exit_code: snapshot.exit_code.map(|code| code.to_string()),
                cluster: batch.cluster.as_deref().map(str::to_owned),
                ..AppInfo::of_gpus(snapshot.gpus.as_deref(), snapshot.gpu_usage.as_ref())
            },
            log,
        }
    }
}

/// `GET /batches`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchesView {
    /// As asked.
    pub from: i64,
    /// All batches that the caller may see.
    pub total: usize,
    /// The page; the key is Livy's.
    pub sessions: Vec<BatchView>,
}

/// `GET /sessions/{id}/state`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateView {
    /// The session.
    pub id: i64,
    /// Livy's word.
    #[schema(example = "idle")]
    pub state: &'static str,
}

/// `GET /sessions/{id}/log`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Log {
    /// The session.
    pub id: i64,
    /// The number of the first line of this page.
    pub from: usize,
    /// All lines.
    pub total: usize,
    /// The page.
    pub log: Vec<String>,
}

/// A statement, in Livy's order of keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementView<'a> {
    /// Counted from 0 within the session.
    pub id: i64,
    /// The code as it was posted.
    pub code: &'a str,
    /// `waiting`, `running`, `cancelling`, `cancelled`, `available`.
    #[schema(example = "available")]
    pub state: &'static str,
    /// Livy's output object; null until done, and for a clean cancel.
    #[schema(value_type = Option<Object>, example = json!({"status": "ok", "execution_count": 0, "data": {"text/plain": "2"}}))]
    pub output: Option<&'a RawValue>,
    /// Completed tasks of all known, 0.0 to 1.0.
    pub progress: f64,
    /// When it began, in epoch milliseconds; 0 until it does.
    pub started: i64,
    /// When it ended; 0 until it does.
    pub completed: i64,
}

impl<'a> From<&'a Statement> for StatementView<'a> {
    fn from(statement: &'a Statement) -> Self {
        Self {
            id: statement.id,
            code: &statement.code,
            state: statement.state.as_str(),
            output: statement.output.as_deref(),
            progress: statement.progress,
            started: statement.started,
            // Dates of a wall clock that may have been set back in between; a duration is never negative.
            completed: match statement.completed {
                0 => 0,
                completed => completed.max(statement.started),
            },
        }
    }
}

/// A part of what a statement prints.
#[derive(Debug, Serialize, ToSchema)]
pub struct TextPage {
    /// What places count in: `printed`, all that the statement prints, as it comes; `output`, the text of its output.
    #[schema(example = "printed")]
    pub source: &'static str,
    /// The statement's state.
    #[schema(example = "running")]
    pub state: &'static str,
    /// The place of the first byte: later than asked for where what is before it is not kept.
    pub from: u64,
    /// The place after the last byte: where to read on.
    pub next: u64,
    /// Bytes so far.
    pub total: u64,
    /// The part, up to the next gap.
    pub text: String,
}

/// `GET /sessions/{id}/statements`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementsView<'a> {
    /// All statements that are kept.
    pub total_statements: i64,
    /// The page.
    pub statements: Vec<StatementView<'a>>,
}

/// A programmatic job, in Livy's order of keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView<'a> {
    /// Counted from 1 within the session.
    #[schema(example = 1)]
    pub id: i64,
    /// `SENT` in the answer to its POST; then `QUEUED`, `STARTED`, `SUCCEEDED`, `FAILED`, `CANCELLED`.
    #[schema(example = "SUCCEEDED")]
    pub state: &'static str,
    /// The serialized result in base64, once more in base64 for Python; null unless it succeeded.
    #[schema(value_type = Option<String>)]
    pub result: Option<&'a RawValue>,
    /// Why it failed, with the traceback; null unless it did.
    pub error: Option<String>,
}

impl JobView<'_> {
    /// A job that was accepted just now: whatever has become of it, Livy's answer says no more.
    #[must_use]
    pub fn sent(job: &Statement) -> Self {
        Self::without_outcome(job, "SENT")
    }

    fn without_outcome(job: &Statement, state: &'static str) -> Self {
        Self {
            id: -job.id,
            state,
            result: None,
            error: None,
        }
    }
}

impl<'a> From<&'a Statement> for JobView<'a> {
    fn from(job: &'a Statement) -> Self {
        let state = match job.state {
            StatementState::Waiting => "QUEUED",
            StatementState::Running | StatementState::Cancelling => "STARTED",
            StatementState::Cancelled => "CANCELLED",
            StatementState::Available => return Self::ended(job),
        };
        Self::without_outcome(job, state)
    }
}

/// What a driver says of a job that has ended.
#[derive(Debug, Deserialize)]
struct JobOutcome<'a> {
    status: &'a str,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    ename: String,
    #[serde(default)]
    evalue: String,
    #[serde(default)]
    traceback: Vec<String>,
}

impl<'a> JobView<'a> {
    fn ended(job: &'a Statement) -> Self {
        let outcome = job
            .output
            .as_deref()
            .and_then(|output| serde_json::from_str::<JobOutcome<'_>>(output.get()).ok());
        let error = match outcome {
            Some(JobOutcome {
                status: "ok", result, ..
            }) => {
                return Self {
                    result,
                    ..Self::without_outcome(job, "SUCCEEDED")
                };
            }
            Some(outcome) if outcome.traceback.is_empty() => format!("{}: {}", outcome.ename, outcome.evalue),
            // What Livy says of Python's.
            Some(outcome) if job.kind == Kind::Pyspark => {
                format!("Client job error:{}", outcome.traceback.concat())
            }
            Some(outcome) => outcome.traceback.concat(),
            None => "The driver gave no result that can be read.".to_owned(),
        };
        Self {
            error: Some(error),
            ..Self::without_outcome(job, "FAILED")
        }
    }
}

/// An answer that is one word.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// The word.
    #[schema(example = "deleted")]
    pub msg: &'static str,
}

/// `POST /sessions/{id}/completion`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Candidates {
    /// What could stand at the cursor.
    pub candidates: Vec<String>,
}

/// `GET /version`, with Livy's keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// Where the source is.
    pub url: &'static str,
    /// The line of releases.
    pub branch: &'static str,
    /// Firesteel's own version.
    pub revision: &'static str,
    /// The level of Livy's API that is spoken (clients.md, W15).
    #[schema(example = "0.9.0-firesteel")]
    pub version: &'static str,
    /// When it was built; not told.
    pub date: &'static str,
    /// Who built it; not told.
    pub user: &'static str,
}

/// A session that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedSession {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: Option<String>,
    /// Spark's application id.
    pub app_id: Option<String>,
    /// Where Spark's history server shows it; null where there is none, or the application had no event log.
    pub spark_ui_url: Option<String>,
    /// Who created it.
    pub owner: Option<String>,
    /// As whom its driver ran.
    pub proxy_user: Option<String>,
    /// The last state.
    pub state: String,
    /// The language.
    pub kind: String,
    /// The sentence that explains the end; null for a session that was deleted.
    pub diagnosis: Option<String>,
    /// When it was accepted, in epoch milliseconds.
    pub created: i64,
    /// When it ended.
    pub ended: Option<i64>,
}

/// `GET /history`.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedSessions {
    /// As asked.
    pub from: i64,
    /// All that are kept (`retention.sessions`, `retention.age`) and that the caller may see.
    pub total: i64,
    /// The page, newest first.
    pub sessions: Vec<EndedSession>,
}

/// An API token, without its text. Times are epoch milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    /// What it is revoked by.
    #[schema(example = "9f86d081884c7d65")]
    pub id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<&'static str>,
    /// When it was made.
    pub created: i64,
    /// From when on it does not count.
    pub expires: i64,
}

/// A new API token.
#[derive(Serialize, ToSchema)]
pub struct NewTokenView {
    /// Its text, which is told this once.
    pub token: String,
    /// The rest.
    #[serde(flatten)]
    pub facts: TokenView,
}

/// A page of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokensView {
    /// The first one shown.
    pub from: i64,
    /// How many there are.
    pub total: usize,
    /// Those of this page.
    pub tokens: Vec<TokenView>,
}

impl From<TokenFacts> for TokenView {
    fn from(token: TokenFacts) -> Self {
        Self {
            scopes: token.scopes.words(),
            id: token.id,
            name: token.label,
            owner: token.owner,
            created: token.created,
            expires: token.expires,
        }
    }
}

/// Somebody who has logged in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginView {
    /// Who it is.
    pub user: String,
    /// How long the cookie lasts.
    pub expires_in_seconds: u64,
}

/// An upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadView {
    /// Its id.
    #[schema(example = "5c1f0d5e-9d0a-4a39-8a3e-0a4c1f2d3b4e")]
    pub id: String,
    /// What requests name it by.
    #[schema(example = "upload://5c1f0d5e-9d0a-4a39-8a3e-0a4c1f2d3b4e/job.py")]
    pub uri: String,
    /// The file's name.
    #[schema(example = "job.py")]
    pub name: String,
    /// Bytes.
    #[schema(example = 1024)]
    pub size: u64,
    /// Of its bytes, 64 hex digits.
    pub sha256: String,
}

impl From<&Upload> for UploadView {
    fn from(upload: &Upload) -> Self {
        Self {
            id: upload.id.to_string(),
            uri: upload.uri(),
            name: upload.name.clone(),
            size: upload.size,
            sha256: upload.sha256.clone(),
        }
    }
}

/// A page of the caller's uploads.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadsView {
    /// The first one shown.
    pub from: i64,
    /// How many there are.
    pub total: usize,
    /// Those of this page.
    pub uploads: Vec<UploadView>,
}

/// With whom a session or batch is shared.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharesView {
    /// Whose it is.
    pub owner: Option<String>,
    /// As whom its driver runs, where impersonation is on.
    pub proxy_user: Option<String>,
    /// In order.
    pub shares: Vec<ShareView>,
}

/// One user or group with whom it is shared.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShareView {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Or the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `view`, `modify` or `own`.
    #[schema(example = "view")]
    pub access: &'static str,
}

impl From<&Ownership> for SharesView {
    fn from(ownership: &Ownership) -> Self {
        let view = |share: &Share| {
            let (user, group) = match share.with.clone() {
                Grantee::User(name) => (Some(name), None),
                Grantee::Group(name) => (None, Some(name)),
            };
            let access = share.right.as_str();
            ShareView { user, group, access }
        };
        Self {
            owner: ownership.owner.clone(),
            proxy_user: ownership.proxy_user.clone(),
            shares: ownership.shares.iter().map(view).collect(),
        }
    }
}
