//! Spans on their way to the collector: a bounded queue, and one task that sends them together, by OTLP over HTTP. No span's end waits for the
//! network. What the queue has no room for, or the collector does not take, is left out and counted. Called by recorded; calls background
//! and metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context as Around;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanProcessor};
use reqwest::redirect::Policy;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{NotSent, Settings};
use crate::background::Background;
use crate::metrics;

/// Spans that are sent together, at most.
const BATCH: usize = 512;
/// How often a batch is sent before it is given up, and how long it waits after the first failure; twice as long after each.
const TRIES: u32 = 4;
const FIRST_REST: Duration = Duration::from_secs(1);
/// At the end, in this order: how long a batch may take that is on its way, how long spans are waited for that end with the server, and how
/// long all may take that are still to be sent. All background work has 5 s for its end.
const LAST: Duration = Duration::from_millis(1500);
const GATHER: Duration = Duration::from_millis(200);
const FLUSH: Duration = Duration::from_millis(2500);

/// Whether the log has been told that spans are left out. Told again only after some have been sent.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// The queue's end that spans come in by.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl Queue {
    /// Opens the queue and begins to send.
    ///
    /// # Errors
    /// The client can't be made.
    pub(super) fn open(
        settings: &Settings,
        resource: &Resource,
        background: &Background,
    ) -> Result<Self, NotSent> {
        let wrong = |error: &dyn std::error::Error| NotSent(format!("traces can't be sent there: {error}"));
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(settings.timeout)
            .build()
            .map_err(|error| wrong(&error))?;
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&settings.endpoint)
            .with_timeout(settings.timeout)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| wrong(&error))?;
        exporter.set_resource(resource);
        let (queue, waiting) = mpsc::channel(settings.queue);
        let sender = Sender {
            waiting,
            exporter,
            interval: settings.interval,
            stopping: background.stopping().clone(),
        };
        background.spawn(sender.run());
        Ok(Self(queue))
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut opentelemetry_sdk::trace::Span, _around: &Around) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            left_out(1, "too many wait (traces.queue)");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Sender {
    waiting: mpsc::Receiver<SpanData>,
    exporter: opentelemetry_otlp::SpanExporter,
    interval: Duration,
    stopping: CancellationToken,
}

impl Sender {
    /// Sends until all work has to end, and then what waits.
    async fn run(mut self) {
        let stopping = self.stopping.clone();
        let mut batch = Vec::new();
        while !stopping.is_cancelled() {
            tokio::select! {
                () = self.gather(&mut batch) => batch = self.send(batch).await,
                () = stopping.cancelled() => {}
            }
        }
        let end = Instant::now() + GATHER;
        while timeout_at(end, self.waiting.recv_many(&mut batch, BATCH))
            .await
            .is_ok()
        {}
        let count = batch.len();
        let mut sent = 0;
        let flush = async {
            while !batch.is_empty() {
                let rest = batch.split_off(batch.len().min(BATCH));
                let part = std::mem::replace(&mut batch, rest);
                let length = part.len();
                if self.exporter.export(part).await.is_err() {
                    break;
                }
                count_sent(length);
                sent += length;
            }
        };
        let _ = timeout(FLUSH, flush).await;
        if sent < count {
            left_out(
                count - sent,
                "the server ends, and the collector has not taken them",
            );
        }
    }

    /// Waits for a span, and then for more until the interval is over or there are enough. Cancel safe.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            self.waiting.recv_many(batch, BATCH).await;
        }
        let end = Instant::now() + self.interval;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            // Its other end is never closed.
            if timeout_at(end, self.waiting.recv_many(batch, room))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Sends a batch, several times where it must; spans wait in the queue meanwhile. Gives it back where the server ends before it is sent.
    async fn send(&self, batch: Vec<SpanData>) -> Vec<SpanData> {
        let ending = async {
            self.stopping.cancelled().await;
            sleep(LAST).await;
        };
        tokio::pin!(ending);
        let mut rest = FIRST_REST;
        for tried in 1..=TRIES {
            let (why, is_last) = tokio::select! {
                sent = self.exporter.export(batch.clone()) => match sent {
                    Ok(()) => {
                        count_sent(batch.len());
                        return Vec::new();
                    }
                    Err(error) => (error.to_string(), tried == TRIES),
                },
                () = &mut ending => ("no answer came before the server's end".to_owned(), true),
            };
            if is_last {
                left_out(batch.len(), &format!("the collector does not take them: {why}"));
                break;
            }
            tokio::select! {
                () = sleep(rest) => rest *= 2,
                () = self.stopping.cancelled() => return batch,
            }
        }
        Vec::new()
    }
}

fn count_sent(count: usize) {
    metrics::SPANS.with_label_values(&["sent"]).inc_by(count as u64);
    if IS_TOLD.swap(false, Ordering::Relaxed) {
        info!("the collector takes spans again");
    }
}

fn left_out(count: usize, why: &str) {
    metrics::SPANS
        .with_label_values(&["left_out"])
        .inc_by(count as u64);
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        warn!("spans are left out, which firesteel_spans_total counts: {why}");
    }
}
