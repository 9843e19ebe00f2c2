//! How many a minute: a bucket that fills evenly, and holds a minute's worth. Pure; the caller brings the time.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// One account's count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// When the bucket will be full again.
    full: Instant,
}

impl Rate {
    /// Nothing has been counted yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Counts one more, where `most` a minute allow it.
    ///
    /// # Errors
    /// They don't: the time after which they do.
    pub(super) fn count(&mut self, most: u64, now: Instant) -> Result<(), Duration> {
        let each = MINUTE / u32::try_from(most).unwrap_or(u32::MAX).max(1);
        let full = self.full.max(now) + each;
        let over = full.saturating_duration_since(now + MINUTE);
        if over.is_zero() {
            self.full = full;
            Ok(())
        } else {
            Err(over)
        }
    }

    /// Whether it is as if nothing had been counted.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_evenly() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..3 {
            assert_eq!(rate.count(3, start), Ok(()));
        }
        assert_eq!(rate.count(3, start), Err(Duration::from_secs(20)));
        let later = start + Duration::from_secs(20);
        assert_eq!(rate.count(3, later), Ok(()));
        assert_eq!(rate.count(3, later), Err(Duration::from_secs(20)));
        assert!(!rate.is_full(later));
        assert!(rate.is_full(start + 3 * MINUTE));
    }

    proptest! {
        /// Whenever they come, no more than a minute's worth and what has come in since are let through.
        #[test]
        fn never_more(most in 1..200u64, pauses in prop::collection::vec(0..5_000u64, 1..400)) {
            let start = Instant::now();
            let (mut rate, mut now, mut passed) = (Rate::new(start), start, 0u64);
            for pause in pauses {
                now += Duration::from_millis(pause);
                if rate.count(most, now).is_ok() {
                    passed += 1;
                }
                let worth = most as f64 * (1.0 + (now - start).as_secs_f64() / 60.0) + 1e-6;
                prop_assert!(passed as f64 <= worth + 1.0);
            }
        }
    }
}
