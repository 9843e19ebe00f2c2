//! Traces (docs/traces.md): spans of requests, of sessions' starts and of statements, sent to a collector by OpenTelemetry's protocol.
//!
//! Owns: what a `traceparent` says, the spans, and how they are sent. Without the feature `otel` nothing is recorded, and a [`Span`] only hands on
//! what the client sent, so that Spark's jobs can be found by it; callers are the same. No span has code, output, conf, or a text of a client's.
//! Called by every module; calls background and metrics.

mod context;
#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
#[path = "passed_on.rs"]
mod span;
#[cfg(feature = "otel")]
#[path = "recorded.rs"]
mod span;

use std::time::Duration;

pub use context::Context;
pub use span::{Span, begin};

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector's URL, path and all. Empty: nothing is recorded.
    pub endpoint: String,
    /// The share of traces that begin here which is recorded, 0 to 1.
    pub sample: f64,
    /// The most spans that wait to be sent; more are left out.
    pub queue: usize,
    /// How long a span waits for others to be sent with.
    pub interval: Duration,
    /// How long the collector may take.
    pub timeout: Duration,
}

/// Traces can't be sent as they are to be, a sentence.
#[derive(Debug, thiserror::Error)]
#[error("traces.endpoint: {0}")]
pub struct NotSent(pub String);
