//! The start of one session, phase by phase.

use std::time::{Duration, Instant};

use super::table::START;
use crate::traces::Span;

/// When the phases of a session's start began, and its span. Once it is over it counts nothing.
#[derive(Debug)]
pub struct StartClock {
    begun: Instant,
    phase: Instant,
    is_over: bool,
    span: Span,
}

impl StartClock {
    /// The start begins now, and so does its span; one of an earlier server's session counts nothing.
    #[must_use]
    pub fn begin(is_new: bool, span: Span) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            phase: begun,
            is_over: !is_new,
            span,
        }
    }

    /// This phase has ended, which took so long, and the next begins.
    pub fn passed(&mut self, phase: &'static str) -> Option<Duration> {
        let took = self.step(phase)?;
        START.with_label_values(&[phase]).observe(took.as_secs_f64());
        Some(took)
    }

    /// The same for a phase that the driver's part of the server counts.
    pub fn step(&mut self, phase: &'static str) -> Option<Duration> {
        let now = Instant::now();
        let began = std::mem::replace(&mut self.phase, now);
        if self.is_over {
            return None;
        }
        self.span.phase(phase, began);
        Some(now - began)
    }

    /// The session is ready.
    pub fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            START
                .with_label_values(&["total"])
                .observe(self.begun.elapsed().as_secs_f64());
            self.end("ready");
        }
    }

    /// The session has ended. Where it never was ready its start has this outcome.
    pub fn failed(&mut self, outcome: &'static str) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.span.failed();
            self.end(outcome);
        }
    }

    fn end(&mut self, outcome: &'static str) {
        self.span.text("firesteel.outcome", outcome);
        self.span = Span::default();
    }
}
