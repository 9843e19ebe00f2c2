//! The start of one session, phase by phase.

use std::time::{Duration, Instant};

use super::table::START;

/// When the phases of a session's start began. Once it is over it counts nothing.
#[derive(Debug)]
pub struct StartClock {
    begun: Instant,
    phase: Instant,
    is_over: bool,
}

impl StartClock {
    /// The start begins now; one of an earlier server's session counts nothing.
    #[must_use]
    pub fn begin(is_new: bool) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            phase: begun,
            is_over: !is_new,
        }
    }

    /// This phase has ended, which took so long, and the next begins.
    pub fn passed(&mut self, phase: &str) -> Option<Duration> {
        let took = self.step()?;
        START.with_label_values(&[phase]).observe(took.as_secs_f64());
        Some(took)
    }

    /// The same for a phase that the driver's part of the server counts.
    pub fn step(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let began = std::mem::replace(&mut self.phase, now);
        (!self.is_over).then(|| now - began)
    }

    /// The session is ready.
    pub fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            START
                .with_label_values(&["total"])
                .observe(self.begun.elapsed().as_secs_f64());
        }
    }
}
