//! The metrics: each request counted as it is answered, and the text for Prometheus. A scrape looks at snapshots, lengths and `/proc`: it asks
//! no driver and writes nothing.

use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, get};

use super::App;
use super::error::ApiError;
use super::guard::OnMetrics;
use crate::counters::{ALL, Cap};
use crate::metrics;

/// Of a path that no route takes.
const UNMATCHED: &str = "unmatched";
/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    method: &'static str,
}

impl Clock {
    /// It begins.
    pub(super) fn begin(request: &ServiceRequest) -> Self {
        Self {
            begun: Instant::now(),
            method: method(request.method()),
        }
    }

    /// The head of its answer is there.
    pub(super) fn end<B>(self, app: &App, answered: &ServiceResponse<B>) {
        let pattern = answered.request().match_pattern();
        let route = route(app, pattern.as_deref());
        let status = match answered.status().as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        metrics::HTTP_REQUESTS
            .with_label_values(&[self.method, route, status])
            .inc();
        metrics::HTTP_DURATION
            .with_label_values(&[self.method, route])
            .observe(self.begun.elapsed().as_secs_f64());
    }
}

/// A route's name: its pattern below `server.base_path`.
pub(super) fn route<'a>(app: &App, pattern: Option<&'a str>) -> &'a str {
    pattern.map_or(UNMATCHED, |pattern| {
        let path = pattern.strip_prefix(&app.config.server.base_path);
        path.filter(|path| path.starts_with('/')).unwrap_or(UNMATCHED)
    })
}

/// A method that clients make up must not make a label.
pub(super) fn method(method: &Method) -> &'static str {
    let known = metrics::METHODS.iter().find(|known| **known == method.as_str());
    known.unwrap_or(&"other")
}

/// Shows the server's metrics to Prometheus; with authentication to administrators only, unless `metrics.access` says otherwise.
#[utoipa::path(
    operation_id = "showMetrics",
    tag = "service",
    responses(
        (status = 200, description = "Prometheus' text format", content_type = "text/plain"),
        (status = 403)
    )
)]
#[get("/metrics")]
pub async fn show(on: OnMetrics) -> Result<HttpResponse, ApiError> {
    let app = on.app;
    // It reads files, and waits for another scrape.
    let text = web::block(move || metrics::scrape(|| look(&app))).await;
    match text {
        Ok(Ok(text)) => Ok(HttpResponse::Ok().content_type(TEXT).body(text)),
        _ => Err(ApiError::Unavailable("The metrics can't be told.".to_owned())),
    }
}

/// Sets what is looked at.
fn look(app: &Data<App>) {
    let followers = app.config.events.clients - app.followers.available_permits();
    metrics::FOLLOWERS.set(number(followers));
    look_at_work(app);
    look_at_queues(app);
    for cap in ALL {
        let count = metrics::RESULTS_CUT.with_label_values(&[Cap::name(cap)]);
        count.inc_by(cap.counted().saturating_sub(count.get()));
    }
    let store = app.sessions.store();
    metrics::STORE_QUEUE.set(number(store.waiting()));
    metrics::STORE_WRITABLE.set(i64::from(store.trouble().is_none()));
    for (file, bytes) in ["database", "log"].into_iter().zip(store.file_bytes()) {
        metrics::STORE_FILE.with_label_values(&[file]).set(number(bytes));
    }
    look_at_pool(app);
    look_at_gpus(app);
    metrics::BUILD
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    metrics::look_at_process();
}

/// Sessions, statements and batches by their states.
fn look_at_work(app: &App) {
    metrics::clear(&metrics::SESSIONS);
    metrics::clear(&metrics::STATEMENTS);
    metrics::clear(&metrics::BATCHES);
    app.sessions.each(|session| {
        let snapshot = session.snapshot();
        let labels = [snapshot.state.as_str(), session.kind.as_str()];
        metrics::SESSIONS.with_label_values(&labels).inc();
        for statement in snapshot.live.iter() {
            let labels = [statement.state.as_str(), statement.kind.as_str()];
            metrics::STATEMENTS.with_label_values(&labels).inc();
        }
    });
    app.batches.each(|batch| {
        let state = batch.snapshot().state.as_str();
        metrics::BATCHES.with_label_values(&[state]).inc();
    });
}

fn look_at_queues(app: &App) {
    let gates = [
        ("sessions", app.sessions.lengths()),
        ("batches", app.batches.lengths()),
        ("starting", app.sessions.starts().lengths()),
    ];
    for (queue, (waiting, running)) in gates {
        metrics::QUEUE_LENGTH
            .with_label_values(&[queue])
            .set(number(waiting));
        metrics::QUEUE_RUNNING
            .with_label_values(&[queue])
            .set(number(running));
    }
    let waiting = app.sessions.gpus().waiting();
    metrics::QUEUE_LENGTH
        .with_label_values(&["gpus"])
        .set(number(waiting));
}

/// Warm drivers of all users together.
fn look_at_pool(app: &App) {
    metrics::POOL_DRIVERS.reset();
    for stock in app.sessions.pool().stock() {
        let profile = stock.profile.as_deref().unwrap_or("");
        for (state, count) in [("ready", stock.ready), ("starting", stock.starting)] {
            metrics::POOL_DRIVERS
                .with_label_values(&[profile, state])
                .add(number(count));
        }
    }
}

/// The GPUs as the last look saw them.
fn look_at_gpus(app: &App) {
    let seen = app.sessions.gpus().seen();
    let leased = seen.iter().filter(|(_, held)| !held.is_empty()).count();
    metrics::GPUS.set(number(seen.len()));
    metrics::GPUS_LEASED.set(number(leased));
    metrics::GPU_UTILIZATION.reset();
    metrics::GPU_MEMORY.reset();
    metrics::GPU_MEMORY_USED.reset();
    for (gpu, _) in seen {
        let labels = [gpu.device.uuid.as_str()];
        if let Some(percent) = gpu.utilization {
            let share = f64::from(percent) / 100.0;
            metrics::GPU_UTILIZATION.with_label_values(&labels).set(share);
        }
        metrics::GPU_MEMORY
            .with_label_values(&labels)
            .set(number(gpu.device.memory));
        metrics::GPU_MEMORY_USED
            .with_label_values(&labels)
            .set(number(gpu.used));
    }
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
