//! What is kept of ended sessions ends here: those beyond `retention.sessions` or `retention.age` go, oldest first, with their statements and
//! their drivers' directories. In small steps, each a commit of its own, so that nobody waits long behind one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::shared::Shared;
use crate::clock::now_ms;
use crate::kill_point;
use crate::store::{Op, StoreError};

/// Sessions that are looked up at once.
const SESSIONS: i64 = 32;
/// Statements, or keys, that one commit removes.
const ROWS: i64 = 100;

/// Looks each `retention.interval`, until the server stops or its store is no longer its own.
pub(super) async fn run(shared: Arc<Shared>) {
    let clock = Clock::new();
    let mut tick = tokio::time::interval(shared.config.retention.interval.get());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = shared.background.stopping().clone();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
        let swept = tokio::select! {
            swept = sweep(&shared, &clock) => swept,
            () = stopping.cancelled() => return,
        };
        match swept {
            Ok(0) => {}
            Ok(sessions) => info!(
                sessions,
                "ended sessions were removed (retention.sessions, retention.age)"
            ),
            Err(StoreError::Superseded | StoreError::Closed) => return,
            // The store has said what its trouble is; the next round goes on.
            Err(error) => warn!(%error, "retention was not finished"),
        }
    }
}

/// Removes what need not be kept; how many sessions. Cancel safe: what is half removed goes the next time.
async fn sweep(shared: &Shared, clock: &Clock) -> Result<usize, StoreError> {
    let retention = &shared.config.retention;
    let kept = i64::try_from(retention.sessions).unwrap_or(i64::MAX);
    let mut removed = 0;
    loop {
        let since = retention.age.positive().map_or(i64::MIN, |age| clock.ago(age));
        // Sessions that have just ended are shown for a while, log and all.
        let shown: Vec<i64> = shared.sessions.by_id.iter().map(|entry| *entry.key()).collect();
        let expired = shared
            .store
            .expired_sessions(kept, since, &shown, SESSIONS)
            .await?;
        if expired.is_empty() {
            forget_keys(shared, clock).await?;
            return Ok(removed);
        }
        kill_point!("retention.selected");
        for id in expired {
            remove(shared, id).await?;
            kill_point!("retention.deleted");
            removed += 1;
        }
    }
}

/// Removes one session: first its files, which the rows name, then its rows.
async fn remove(shared: &Shared, id: i64) -> Result<(), StoreError> {
    for driver in shared.store.drivers_of(id).await? {
        let Ok(driver) = driver.parse() else { continue };
        let run_dir = shared.drivers.run_dir(driver);
        let removed = shared.background.blocking(move || run_dir.remove()).await;
        if let Ok(Err(error)) = removed {
            warn!(session.id = id, %error, "a run directory could not be removed");
        }
    }
    while let Some(below) = shared.store.statement_at(id, ROWS).await? {
        let op = Op::DropStatements {
            session_id: id,
            below,
        };
        shared.store.write(op).await?;
    }
    shared.outputs.forget(id);
    shared.store.write(Op::ForgetSession { id }).await
}

/// Forgets the keys of requests that are too old.
async fn forget_keys(shared: &Shared, clock: &Clock) -> Result<(), StoreError> {
    let before = clock.ago(shared.config.retention.idempotency.get());
    while shared.store.has_keys_before(before).await? {
        let op = Op::ForgetKeys { before, most: ROWS };
        shared.store.write(op).await?;
    }
    Ok(())
}

/// The time of day, unless that was put forward while the server runs: a clock that jumps must not end what is to be kept.
struct Clock {
    began: i64,
    ticks: Instant,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: now_ms(),
            ticks: Instant::now(),
        }
    }

    /// When it was so long ago.
    fn ago(&self, span: Duration) -> i64 {
        let now = now_ms().min(self.began.saturating_add(milliseconds(self.ticks.elapsed())));
        now.saturating_sub(milliseconds(span))
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
