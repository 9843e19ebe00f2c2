//! The start of one session, phase by phase.

use std::time::Instant;

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

    /// This phase has ended, and the next begins.
    pub fn passed(&mut self, phase: &str) {
        if !self.is_over {
            let elapsed = self.phase.elapsed();
            START.with_label_values(&[phase]).observe(elapsed.as_secs_f64());
            self.phase = Instant::now();
        }
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
