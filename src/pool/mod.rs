//! Warm drivers: started before a session asks for one, given to the first that they suit, and replaced (docs/pool.md).
//!
//! Owns: how many there are, when one is started, how old it becomes, and which sessions it suits. Called by `session`, which takes them, and by `api`,
//! which shows them; calls `profile`, `starts`, `gpu`, `driver`, `store` and `config`. A driver that was taken is its session's and never comes back; one that
//! nobody took goes with the server. Where drivers run as their users each is one user's, and only that user's sessions take it.
//!
//! `suit` compares conf, `shelves` is where they wait, `warm` is one driver's life, `keep` starts and ends them.

mod keep;
mod shelves;
mod suit;
mod warm;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::background::Background;
use crate::config::{Clusters, Config, RunAsMode};
use crate::driver::{Claim, Claimed, Driver, DriverSpec, Drivers, Events};
use crate::gpu::{Gpus, Lease, Wanted};
use crate::metrics;
use crate::starts::Starts;
use crate::store::{Op, Store};
use shelves::{Place, Shelves};
use suit::Suit;
use warm::Warm;

/// Conf keys that are remembered as settable at a driver's start only; beyond so many the driver itself is asked each time.
const REFUSED_KEPT: usize = 1000;

/// As whom the GPUs show a warm driver.
const NOBODY: &str = "a warm driver";

/// The warm drivers of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    drivers: Arc<Drivers>,
    gpus: Gpus,
    starts: Starts,
    store: Store,
    background: Background,
    suits: Vec<Suit>,
    state: Mutex<State>,
    /// There may be something to do.
    wake: Notify,
    /// All that goes on for the pool.
    tasks: TaskTracker,
}

#[derive(Debug)]
struct State {
    shelves: Shelves,
    /// For which shelf one is on its way.
    starting: Option<Place>,
    /// Keys of queries' conf that drivers could not set any more.
    refused: HashSet<String>,
}

/// What has become of a profile's warm drivers since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They became ready.
    pub started: u64,
    /// A session took them.
    pub claimed: u64,
    /// A session would have taken one, and none was ready.
    pub missed: u64,
    /// They did not become ready, or ended while they waited.
    pub failed: u64,
    /// They became too old, or left their GPUs to one that waited.
    pub retired: u64,
}

/// What can become of a warm driver.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Started,
    Claimed,
    Missed,
    Failed,
    Retired,
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        let (count, word) = match fate {
            Fate::Started => (&mut self.started, "started"),
            Fate::Claimed => (&mut self.claimed, "claimed"),
            Fate::Missed => (&mut self.missed, "missed"),
            Fate::Failed => (&mut self.failed, "failed"),
            Fate::Retired => (&mut self.retired, "retired"),
        };
        *count += 1;
        metrics::POOL_EVENTS.with_label_values(&[word]).inc();
    }
}

/// The warm drivers of one profile, and of one user where drivers run as their users, for people.
#[derive(Clone, Debug)]
pub struct Stock {
    /// As whom they run; none where all drivers run as the server.
    pub user: Option<String>,
    /// The profile; none for sessions without one.
    pub profile: Option<String>,
    /// How many are kept.
    pub size: usize,
    /// How many can be taken now.
    pub ready: usize,
    /// How many are on their way.
    pub starting: usize,
    /// What has become of them.
    pub counts: Counts,
}

/// A warm driver that a session has put its hand on; dropping it puts it back.
#[derive(Debug)]
pub struct Reserved {
    pool: Pool,
    place: Place,
    claim: Claim,
    warm: Option<Warm>,
}

/// What became of a reserved driver.
#[derive(Debug)]
pub enum Outcome {
    /// It is the session's.
    Taken(Driver, Box<Events>, Option<Lease>),
    /// It was of no use. What it held of the GPUs is the session's all the same.
    Not(Option<Lease>),
}

impl Pool {
    /// The pool that the configuration asks for; nothing is started until [`Pool::begin`].
    #[must_use]
    pub fn new(
        clusters: &Clusters,
        drivers: &Arc<Drivers>,
        gpus: &Gpus,
        starts: &Starts,
        store: &Store,
        background: &Background,
    ) -> Self {
        let config = clusters.whole();
        let suits = suit::all(clusters, drivers, gpus);
        let state = State {
            shelves: match config.run_as.mode {
                RunAsMode::Server => Shelves::common(suits.len()),
                RunAsMode::Owner => Shelves::of_users(suits.len()),
            },
            starting: None,
            refused: HashSet::new(),
        };
        Self(Arc::new(Inner {
            config: Arc::clone(config),
            drivers: Arc::clone(drivers),
            gpus: gpus.clone(),
            starts: starts.clone(),
            store: store.clone(),
            background: background.clone(),
            suits,
            state: Mutex::new(state),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Starts drivers from now on, until the server drains; then those that nobody took are ended.
    pub fn begin(&self) {
        if !self.0.suits.is_empty() {
            self.spawn(keep::keep(self.clone()));
        }
    }

    /// Waits, once the server drains, until nothing is left of the drivers that nobody took, at most `grace`.
    pub async fn close(&self, grace: Duration) {
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            warn!("not every warm driver has ended");
        }
    }

    /// A session of this user's was created. Where drivers run as their users, the user has warm ones from now on.
    pub fn see(&self, user: Option<&str>) {
        let inner = &self.0;
        let Some(user) = self.whose(user).flatten() else {
            return;
        };
        if inner.suits.is_empty() {
            return;
        }
        let pool = &inner.config.pool;
        // Its session's own start comes first.
        let not_before = Instant::now() + pool.refill_delay.get();
        let over = self.lock().shelves.see(&user, pool.owners, not_before);
        for warm in over {
            info!(driver = %warm.driver.id, user = warm.user, "a warm driver is ended: others have had sessions since");
            self.discard(warm);
        }
        inner.wake.notify_one();
    }

    /// Puts a hand on a driver that suits this user's session. What that holds of the GPUs is counted as the session's from here on. A session
    /// that does not look again (`is_last`) has missed one where none is ready.
    #[must_use]
    pub fn reserve(
        &self,
        spec: &DriverSpec,
        user: Option<&str>,
        gpus: Option<&Wanted>,
        is_last: bool,
    ) -> Option<Box<Reserved>> {
        let inner = &self.0;
        if inner.suits.is_empty() || inner.background.draining().is_cancelled() {
            return None;
        }
        let user = self.whose(user)?;
        let conf = inner.drivers.conf(spec)?;
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut missed = None;
        for (suit, kind) in inner.suits.iter().enumerate() {
            let ask = gpus.map(|wanted| &wanted.ask);
            let Some(differing) = kind.differing(spec, &conf, ask, &state.refused) else {
                continue;
            };
            let place = Place {
                user: user.clone(),
                suit,
            };
            let Some(shelf) = state.shelves.get(&place) else {
                continue;
            };
            let Some(warm) = shelf.ready.pop_front() else {
                missed.get_or_insert(place);
                continue;
            };
            if let (Some(lease), Some(wanted)) = (&warm.lease, gpus)
                && !lease.pass_to(wanted.owner.clone(), wanted.who.clone())
            {
                // It waits until its owner may hold so much.
                shelf.ready.push_front(warm);
                return None;
            }
            drop(guard);
            let claim = Claim {
                app_name: spec.app_name.clone(),
                kind: spec.kind.clone(),
                conf: differing,
                sql_max_rows: spec.sql_max_rows,
            };
            return Some(Box::new(Reserved {
                pool: self.clone(),
                place,
                claim,
                warm: Some(warm),
            }));
        }
        if let Some(shelf) = missed
            .filter(|_| is_last)
            .and_then(|place| state.shelves.get(&place))
        {
            shelf.counts.add(Fate::Missed);
        }
        None
    }

    /// What there is, for people.
    #[must_use]
    pub fn stock(&self) -> Vec<Stock> {
        let state = self.lock();
        let stock = state.shelves.iter().map(|(user, suit, shelf)| {
            let starting = state.starting.as_ref();
            let is_here = |place: &&Place| place.user == *user && place.suit == suit;
            let kind = self.0.suits.get(suit);
            Stock {
                user: user.clone(),
                profile: kind.and_then(|kind| kind.profile.clone()),
                size: kind.map_or(0, |kind| kind.size),
                ready: shelf.ready.len(),
                starting: usize::from(starting.filter(is_here).is_some()),
                counts: shelf.counts,
            }
        });
        stock.collect()
    }

    /// Whose shelves a user's sessions take from: the user's own where drivers run as their users, else everybody's. None for one without a name.
    fn whose(&self, user: Option<&str>) -> Option<Option<String>> {
        match self.0.config.run_as.mode {
            RunAsMode::Server => Some(None),
            RunAsMode::Owner => user.map(|user| Some(user.to_owned())),
        }
    }

    /// Ends one that nobody waits for.
    fn discard(&self, warm: Warm) {
        let ending = self.clone();
        self.spawn(async move {
            drop(warm.end(&ending).await);
            ending.0.wake.notify_one();
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.background.spawn(self.0.tasks.track_future(task));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Makes it the driver of this session, whose application has that name.
    pub async fn claim(mut self: Box<Self>, session: i64, app_name: &str) -> Outcome {
        self.claim.app_name = app_name.to_owned();
        let Some(warm) = self.warm.take() else {
            return Outcome::Not(None);
        };
        let pool = self.pool.clone();
        let claimed = match warm.is_still_its_users(&pool).await {
            true => warm.driver.claim(&self.claim).await,
            false => Claimed::Lost,
        };
        match claimed {
            Claimed::Yes => {
                crate::kill_point!("pool.claimed");
                pool.taken(&self.place, &warm.driver);
                let id = warm.driver.id.to_string();
                let op = Op::BindDriver {
                    id,
                    session_id: session,
                };
                pool.0.store.insist(op).await;
                crate::kill_point!("pool.bound");
                info!(session.id = session, age = ?warm.since.elapsed(), "a session takes a warm driver");
                Outcome::Taken(warm.driver, Box::new(warm.events), warm.lease)
            }
            Claimed::Refused(key) => {
                info!(
                    session.id = session,
                    key, "no warm driver suits a session: the key is read at a driver's start only"
                );
                pool.refused(key);
                if warm.lease.is_some() {
                    // The session waits in no line, and its own driver needs what this one holds.
                    return Outcome::Not(warm.end(&pool).await);
                }
                self.warm = Some(warm);
                Outcome::Not(None)
            }
            Claimed::Lost => {
                warn!(
                    session.id = session,
                    "a warm driver could not be taken and is ended"
                );
                if let Some(shelf) = pool.lock().shelves.get(&self.place) {
                    shelf.counts.add(Fate::Failed);
                }
                if warm.lease.is_none() {
                    pool.discard(warm);
                    pool.0.wake.notify_one();
                    return Outcome::Not(None);
                }
                Outcome::Not(warm.end(&pool).await)
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(warm) = self.warm.take() {
            let pool = self.pool.clone();
            if let Some(lease) = &warm.lease {
                // Nobody's quota is in the way of what is held already.
                let _ = lease.pass_to(None, NOBODY.to_owned());
            }
            let mut state = pool.lock();
            match state.shelves.get(&self.place) {
                Some(shelf) if !pool.0.background.draining().is_cancelled() => {
                    shelf.ready.push_front(warm);
                    pool.0.wake.notify_one();
                }
                _ => pool.discard(warm),
            }
        }
    }
}

impl Pool {
    /// A session has one: after a while there will be another.
    fn taken(&self, place: &Place, driver: &Driver) {
        if let Some(shelf) = self.lock().shelves.get(place) {
            shelf.counts.add(Fate::Claimed);
            shelf.not_before = Some(Instant::now() + self.0.config.pool.refill_delay.get());
        }
        let driver = driver.clone();
        self.spawn(async move { driver.to_foreground().await });
        self.0.wake.notify_one();
    }

    fn refused(&self, key: String) {
        let mut state = self.lock();
        if state.refused.len() < REFUSED_KEPT {
            state.refused.insert(key);
        }
    }
}
