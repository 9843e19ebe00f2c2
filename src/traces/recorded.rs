//! Spans that are recorded. Called by the other modules; calls export.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context as Around, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::info;

use super::export::Queue;
use super::{Context, NotSent, Settings};
use crate::background::Background;

/// What makes spans, once there is somewhere to send them.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Spans are recorded from now on, where there is an endpoint. They are sent until the background's work ends, and what waits is sent then.
///
/// # Errors
/// The client that sends them can't be made.
pub fn begin(settings: &Settings, background: &Background) -> Result<(), NotSent> {
    if settings.endpoint.is_empty() {
        return Ok(());
    }
    let resource = Resource::builder()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let queue = Queue::open(settings, &resource, background)?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            settings.sample,
        ))))
        .with_span_processor(queue)
        .build();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    // Fails only where there is one already, which then goes on.
    let _ = TRACER.set(provider.tracer_with_scope(scope));
    info!("traces go to {}", settings.endpoint);
    Ok(())
}

/// A span; it ends when it is dropped. The default is one of no trace.
#[derive(Debug, Default)]
pub struct Span {
    /// What spans below it have as their parent.
    context: Option<Context>,
    /// None: it is not recorded.
    recorded: Option<Box<opentelemetry_sdk::trace::Span>>,
}

impl Span {
    /// A request's; `parent` is the client's.
    #[must_use]
    pub fn of_request(parent: Option<Context>) -> Self {
        Self::make("request", SpanKind::Server, parent, SystemTime::now())
    }

    /// One of the server's own.
    #[must_use]
    pub fn begin(name: &'static str, parent: Option<Context>) -> Self {
        Self::make(name, SpanKind::Internal, parent, SystemTime::now())
    }

    fn make(name: &'static str, kind: SpanKind, parent: Option<Context>, began: SystemTime) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self {
                context: parent,
                recorded: None,
            };
        };
        let is_remote = kind == SpanKind::Server;
        let around = parent.map_or_else(Around::new, |parent| {
            Around::new().with_remote_span_context(named(parent, is_remote))
        });
        let builder = tracer.span_builder(name).with_kind(kind).with_start_time(began);
        let span = tracer.build_with_context(builder, &around);
        let context = span.span_context();
        Self {
            // Also of one that is not recorded: what is below it is not, either.
            context: context.is_valid().then(|| Context {
                trace: u128::from_be_bytes(context.trace_id().to_bytes()),
                span: u64::from_be_bytes(context.span_id().to_bytes()),
                is_sampled: context.is_sampled(),
            }),
            recorded: span.is_recording().then(|| Box::new(span)),
        }
    }

    /// What spans below it have as their parent; none where there is no trace.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.context
    }

    /// What Spark is told: nothing where a server that records traces does not record this one.
    #[must_use]
    pub fn for_spark(&self) -> Option<Context> {
        self.context
            .filter(|context| context.is_sampled || TRACER.get().is_none())
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl FnOnce() -> String) {
        if let Some(span) = &mut self.recorded {
            span.update_name(name());
        }
    }

    /// An attribute that is a text.
    pub fn text(&mut self, key: &'static str, value: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value.into()));
        }
    }

    /// An attribute that is a number.
    pub fn number(&mut self, key: &'static str, value: i64) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Something that happens now.
    pub fn event(&mut self, name: &'static str) {
        if let Some(span) = &mut self.recorded {
            span.add_event(name, Vec::new());
        }
    }

    /// A span below it that began then and ends now.
    pub fn phase(&self, name: &'static str, began: Instant) {
        if self.recorded.is_some() {
            let now = SystemTime::now();
            let began = now.checked_sub(began.elapsed()).unwrap_or(now);
            drop(Self::make(name, SpanKind::Internal, self.context, began));
        }
    }

    /// It is an error. What went wrong may quote a user's own words, so its words stay in the log.
    pub fn failed(&mut self) {
        if let Some(span) = &mut self.recorded {
            span.set_status(Status::error(""));
        }
    }
}

fn named(context: Context, is_remote: bool) -> SpanContext {
    SpanContext::new(
        context.trace.into(),
        context.span.into(),
        TraceFlags::NOT_SAMPLED.with_sampled(context.is_sampled),
        is_remote,
        TraceState::NONE,
    )
}
