//! A session's times: when clients were heard of, and which of its limits is over. All by the monotonic clock: a wall clock that
//! jumps ends no session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When clients were last heard of.
#[derive(Debug)]
pub struct Contacts {
    start: Instant,
    heard: AtomicU64,
    activity: AtomicU64,
}

impl Contacts {
    /// Heard of now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            activity: AtomicU64::new(0),
        }
    }

    /// A request named the session: the heartbeat.
    pub fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// Work was asked for or has ended: the idle time counts from here (livy-spec.md, 2.1).
    pub fn active(&self) {
        self.activity.store(self.now(), Ordering::Relaxed);
    }

    /// How long nobody has named the session.
    pub fn unheard(&self) -> Duration {
        self.since(&self.heard)
    }

    /// How long nobody has worked with it.
    pub fn inactive(&self) -> Duration {
        self.since(&self.activity)
    }

    fn since(&self, mark: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(mark.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a session was promised. None: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Longest life.
    pub ttl: Option<Duration>,
    /// Longest time without work.
    pub idle: Option<Duration>,
    /// Longest time without a request.
    pub heartbeat: Option<Duration>,
}

/// How long things have lasted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ages {
    /// The session.
    pub life: Duration,
    /// Without work; none for a session that is not idle: a busy one never is (contracts.md).
    pub idle: Option<Duration>,
    /// Without a request.
    pub unheard: Duration,
}

/// The sentence for the limit that is over, if one is.
#[must_use]
pub fn overdue(limits: Limits, ages: Ages) -> Option<String> {
    let over = |limit: Option<Duration>, age: Duration| {
        limit.filter(|limit| age > *limit).map(humantime::format_duration)
    };
    if let Some(limit) = over(limits.ttl, ages.life) {
        return Some(format!(
            "The session's time to live is over: {limit} (ttl, session.ttl)."
        ));
    }
    if let Some(limit) = ages.idle.and_then(|idle| over(limits.idle, idle)) {
        return Some(format!(
            "The session was idle for {limit} (idleTimeout, session.idle_timeout)."
        ));
    }
    let limit = over(limits.heartbeat, ages.unheard)?;
    Some(format!(
        "No client was heard of for {limit} (heartbeatTimeoutInSecond)."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_limit_has_its_sentence() {
        let limits = Limits {
            ttl: Some(8 * SECOND),
            idle: Some(4 * SECOND),
            heartbeat: Some(2 * SECOND),
        };
        let ages = Ages {
            life: 5 * SECOND,
            idle: Some(3 * SECOND),
            unheard: SECOND,
        };
        assert_eq!(overdue(limits, ages), None);
        for (ages, word) in [
            (
                Ages {
                    life: 9 * SECOND,
                    ..ages
                },
                "time to live",
            ),
            (
                Ages {
                    idle: Some(5 * SECOND),
                    ..ages
                },
                "idle for 4s",
            ),
            (
                Ages {
                    unheard: 3 * SECOND,
                    ..ages
                },
                "No client",
            ),
        ] {
            assert!(overdue(limits, ages).unwrap().contains(word));
        }
        assert_eq!(
            overdue(limits, Ages { idle: None, ..ages }),
            None,
            "a busy session is never idle"
        );
        assert_eq!(
            overdue(
                Limits::default(),
                Ages {
                    life: 1000 * SECOND,
                    ..ages
                }
            ),
            None
        );
    }
}
