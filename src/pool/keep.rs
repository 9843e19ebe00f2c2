//! Keeps as many warm drivers as the configuration says: one is started at a time, those that are of no use any more are ended.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::shelves::{Place, Shelf};
use super::warm::Warm;
use super::{Fate, NOBODY, Pool};
use crate::driver::NoUser;
use crate::gpu::Lease;
use crate::starts::Start;

/// How often is looked for drivers that have ended or are too old, and for room for one more.
const LOOK: Duration = Duration::from_secs(1);
/// How long a start waits after one that failed: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Runs until the server drains and nothing is left.
pub(super) async fn keep(pool: Pool) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let draining = pool.0.background.draining().clone();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = pool.0.wake.notified() => {}
            () = draining.cancelled() => break,
        }
        sort_out(&pool);
        if let Some((place, lease, may)) = next(&pool) {
            pool.spawn(start(pool.clone(), place, lease, may));
        }
    }
    loop {
        let all: Vec<Warm> = {
            let mut state = pool.lock();
            state
                .shelves
                .iter_mut()
                .flat_map(|(_, _, shelf)| shelf.ready.drain(..))
                .collect()
        };
        futures_util::future::join_all(all.into_iter().map(|warm| warm.end(&pool))).await;
        // One that a session had put its hand on comes back, or is that session's.
        if pool
            .lock()
            .shelves
            .iter()
            .all(|(_, _, shelf)| shelf.ready.is_empty())
        {
            return;
        }
    }
}

/// Ends what has ended, what is too old, what is a user's who has had no session for long, and what holds GPUs that a session or batch waits for.
fn sort_out(pool: &Pool) {
    let max_age = pool.0.config.pool.max_age.positive();
    let mut is_waited_for = pool.0.gpus.waiting() > 0;
    let mut state = pool.lock();
    for warm in state.shelves.clear_idle(pool.0.config.pool.owner_idle.get()) {
        info!(driver = %warm.driver.id, user = warm.user, "a warm driver is ended: its user has had no session for long (pool.owner_idle)");
        pool.discard(warm);
    }
    for (_, _, shelf) in state.shelves.iter_mut() {
        for mut warm in std::mem::take(&mut shelf.ready) {
            let lives = warm.lives();
            let is_old = max_age.is_some_and(|age| warm.since.elapsed() >= age);
            let yields = is_waited_for && warm.lease.is_some();
            if lives && !is_old && !yields {
                shelf.ready.push_back(warm);
                continue;
            }
            // One at a time: the line may be served by then.
            is_waited_for &= !yields;
            match lives {
                true => shelf.counts.add(Fate::Retired),
                false => shelf.counts.add(Fate::Failed),
            }
            info!(driver = %warm.driver.id, lives, is_old, yields, "a warm driver is ended");
            pool.discard(warm);
        }
    }
}

/// The shelf that gets the next driver, and what that holds of the GPUs. None where nothing is to be started now.
fn next(pool: &Pool) -> Option<(Place, Option<Lease>, Start)> {
    let inner = &pool.0;
    let mut state = pool.lock();
    // One at a time: the others' sessions come first.
    if state.starting.is_some() {
        return None;
    }
    let now = Instant::now();
    let is_due = |shelf: &Shelf| shelf.not_before.is_none_or(|not_before| now >= not_before);
    let lacks = |(_, suit, shelf): &(&Option<String>, usize, &Shelf)| {
        let size = inner.suits.get(*suit).map_or(0, |suit| suit.size);
        shelf.ready.len() < size && is_due(shelf)
    };
    let lacking: Vec<Place> = state
        .shelves
        .iter()
        .filter(lacks)
        .map(|(user, suit, _)| Place {
            user: user.clone(),
            suit,
        })
        .collect();
    for place in lacking {
        let wanted = inner.config.pool.memory_available.bytes();
        if memory_available().is_some_and(|available| available < wanted) {
            debug!("no warm driver is started: the host has too little memory (pool.memory_available)");
            return None;
        }
        // Before it holds any GPUs.
        let start = inner.starts.warm()?;
        let lease = match inner.suits.get(place.suit).and_then(|suit| suit.gpus.as_ref()) {
            None => None,
            Some(_) if inner.gpus.waiting() > 0 => continue,
            Some(ask) => {
                let waits = inner.gpus.wait(None, NOBODY.to_owned(), ask.clone());
                match waits.granted().now_or_never() {
                    Some(lease) => Some(lease),
                    None => continue,
                }
            }
        };
        state.starting = Some(place.clone());
        return Some((place, lease, start));
    }
    None
}

async fn start(pool: Pool, place: Place, lease: Option<Lease>, may: Start) {
    let user = place.user.as_deref();
    let started = match pool.0.drivers.identity(user).await {
        Ok(identity) => Warm::start(&pool, &place, identity, lease).await,
        Err(error) => {
            if !matches!(error, NoUser::Unavailable(_)) {
                // Whoever the host does not know any more has no sessions either.
                let over = pool.lock().shelves.clear(user);
                over.into_iter().for_each(|warm| pool.discard(warm));
            }
            Err(error.to_string())
        }
    };
    drop(may);
    if let Some(useless) = put(&pool, &place, started) {
        drop(useless.end(&pool).await);
    }
    crate::kill_point!("pool.refilled");
    pool.0.wake.notify_one();
}

/// Puts a driver that is ready on its shelf; gives back one that comes too late.
fn put(pool: &Pool, place: &Place, started: Result<Warm, String>) -> Option<Warm> {
    let is_draining = pool.0.background.draining().is_cancelled();
    let mut state = pool.lock();
    state.starting = None;
    let shelf = state.shelves.get(place);
    match (started, shelf) {
        (Ok(warm), Some(shelf)) if !is_draining => {
            info!(driver = %warm.driver.id, user = warm.user, "a warm driver is ready");
            shelf.failures = 0;
            shelf.counts.add(Fate::Started);
            shelf.ready.push_back(warm);
        }
        // Or its user has no shelf any more.
        (Ok(warm), _) => return Some(warm),
        (Err(_), _) if is_draining => {}
        (Err(reason), None) => warn!(reason, user = place.user, "a warm driver did not start"),
        (Err(reason), Some(shelf)) => {
            let pause = AGAIN
                .1
                .min(AGAIN.0 * 2_u32.saturating_pow(shelf.failures.min(10)));
            warn!(reason, user = place.user, again_in = ?pause, "a warm driver did not start");
            shelf.counts.add(Fate::Failed);
            shelf.failures = shelf.failures.saturating_add(1);
            shelf.not_before = Some(Instant::now() + pause);
        }
    }
    None
}

/// What the kernel reckons can be had without swapping, in bytes.
fn memory_available() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
