//! How many drivers start at the same time (`limits.starting`): each takes all cores for seconds, and the server and the sessions that run have to
//! share the host with those. Who has their place, quota and GPUs waits here for the rest; owners take turns.
//!
//! Called by `turn`, `session`, `batch` and `pool`; calls `admission`, `quota` for the shape of a claim, `config` and `background`. A driver
//! that was taken back from an earlier server does not count, nor does the one that makes the class-data archive.

use std::collections::BTreeMap;
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tracing::debug;

use crate::admission::{Admission, Place, Ticket};
use crate::background::Background;
use crate::config::Config;
use crate::quota::{Claim, Cost, Kind, Quotas};

/// Drivers for each of the host's processors, where the configuration says no number.
const EACH: usize = 2;

/// The drivers that start. Clones are the same.
#[derive(Clone, Debug)]
pub struct Starts {
    line: Admission,
    limit: usize,
    sessions: Duration,
    batches: Duration,
    background: Background,
}

/// One that waits until it may start; dropping it leaves the line.
#[derive(Debug)]
pub struct Waits {
    starts: Starts,
    ticket: Ticket,
    most: Duration,
}

/// One that starts; dropping it lets another start. It counts for so long at most, whoever holds it.
#[derive(Debug)]
pub struct Start {
    _over: oneshot::Sender<()>,
}

impl Starts {
    /// As many as the configuration says.
    #[must_use]
    pub fn new(config: &Config, background: &Background) -> Self {
        let limits = &config.limits;
        let limit = match limits.starting {
            0 => EACH * available_parallelism().map_or(1, usize::from),
            limit => limit,
        };
        // What a driver may use of its owner's quota it has by now.
        let quotas = Quotas::new(&BTreeMap::new(), BTreeMap::new());
        Self {
            line: Admission::new("starting", limit, usize::MAX, &quotas),
            limit,
            sessions: limits.starting_session.get(),
            batches: limits.starting_batch.get(),
            background: background.clone(),
        }
    }

    /// Takes a place in the line for a session's driver. As many wait as have their turn, which is bounded.
    #[must_use]
    pub fn session(&self, owner: Option<&str>) -> Waits {
        self.enter(owner, Kind::Session, self.sessions)
    }

    /// The same for a batch's.
    #[must_use]
    pub fn batch(&self, owner: Option<&str>) -> Waits {
        self.enter(owner, Kind::Batch, self.batches)
    }

    /// For a warm driver: none while others wait, or as many start as may.
    #[must_use]
    pub fn warm(&self) -> Option<Start> {
        let waits = self.enter(None, Kind::Session, self.sessions);
        waits.has_come().then(|| waits.come().now_or_never()).flatten()
    }

    /// How many drivers wait until they may start, and how many start.
    #[must_use]
    pub fn lengths(&self) -> (usize, usize) {
        self.line.lengths()
    }

    fn enter(&self, owner: Option<&str>, kind: Kind, most: Duration) -> Waits {
        let claim = Claim::new(owner.map(str::to_owned), kind, Cost::default());
        Waits {
            starts: self.clone(),
            ticket: self.line.enter_again(&claim),
            most,
        }
    }

    fn begun(&self, place: Option<Place>, most: Duration) -> Start {
        let (over, ended) = oneshot::channel();
        let stopping = self.background.stopping().clone();
        self.background.spawn(async move {
            let _place = place;
            tokio::select! {
                _ = ended => {}
                () = tokio::time::sleep(most) => debug!("a driver counts no longer as one that starts"),
                () = stopping.cancelled() => {}
            }
        });
        Start { _over: over }
    }
}

impl Waits {
    /// What the log of one that must wait says.
    #[must_use]
    pub fn notice(&self) -> String {
        format!(
            "Waiting to be started: {} drivers start at the same time (limits.starting), {} wait before this one.",
            self.starts.limit,
            self.ticket.ahead()
        )
    }

    /// Whether it may start already.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.ticket.is_come()
    }

    /// Waits until it may.
    pub async fn come(self) -> Start {
        let Self { starts, ticket, most } = self;
        let place = ticket.admitted().await;
        starts.begun(place, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    const LONG: u64 = 3_600_000;

    /// Sessions count for so long; batches for longer than any test.
    fn starts(limit: usize, milliseconds: u64) -> Starts {
        let mut config = Config::default();
        config.limits.starting = limit;
        config.limits.starting_session = Span::millis(milliseconds);
        config.limits.starting_batch = Span::millis(LONG);
        Starts::new(&config, &Background::new())
    }

    #[tokio::test]
    async fn so_many_start_at_the_same_time() {
        let starts = starts(2, LONG);
        let first = starts.session(Some("ada")).come().await;
        let _second = starts.batch(Some("bob")).come().await;
        let third = starts.session(Some("ada"));
        assert!(!third.has_come());
        assert_eq!(
            third.notice(),
            "Waiting to be started: 2 drivers start at the same time (limits.starting), 0 wait before this one."
        );
        let fourth = starts.session(Some("ada"));
        assert!(fourth.notice().contains("1 wait before"));
        assert!(starts.warm().is_none());
        drop(first);
        let third = third.come().await;
        // One that leaves the line takes nothing along.
        drop(fourth);
        let fifth = starts.session(Some("ada"));
        assert!(!fifth.has_come());
        drop(third);
        drop(fifth.come().await);
    }

    #[tokio::test]
    async fn owners_take_turns() {
        let starts = starts(1, LONG);
        let running = starts.session(Some("ada")).come().await;
        let hers: Vec<Waits> = (0..10).map(|_| starts.session(Some("ada"))).collect();
        let his = starts.session(Some("bob"));
        assert!(his.notice().contains("1 wait before"), "{}", his.notice());
        drop(running);
        let mut hers = hers.into_iter();
        drop(hers.next().unwrap().come().await);
        drop(his.come().await);
        assert_eq!(hers.len(), 9);
    }

    #[tokio::test]
    async fn one_that_is_never_ready_counts_for_so_long() {
        let starts = starts(1, 50);
        let stuck = starts.session(None).come().await;
        let other = starts.batch(None).come().await;
        // Its end, when its place is another's by now, frees nothing.
        drop(stuck);
        tokio::task::yield_now().await;
        let third = starts.session(None);
        assert!(!third.has_come());
        drop(other);
        drop(third.come().await);
    }

    #[tokio::test]
    async fn a_warm_one_takes_what_nobody_waits_for() {
        let starts = starts(1, LONG);
        let warm = starts.warm().unwrap();
        let session = starts.session(None);
        assert!(!session.has_come());
        assert!(starts.warm().is_none());
        drop(warm);
        drop(session.come().await);
    }

    #[tokio::test]
    async fn as_many_as_processors_by_default() {
        let starts = starts(0, LONG);
        assert_eq!(starts.limit, 2 * available_parallelism().unwrap().get());
    }
}
