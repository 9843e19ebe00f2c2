//! The GPUs of this host as sessions and batches see them: ask, wait, hold. The book's rules, with those who wait told as their turn comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::info;
use uuid::Uuid;

use super::ask::{Ask, Refused, Rules, WHOLE};
use super::book::{Book, Holder, Part};
use super::device::Device;
use super::inventory::Seen;
use super::mask::Mask;
use super::spark::in_cluster;
use super::usage::Usage;
use crate::config::{Gpu, Spark};

/// Clones are the same GPUs.
#[derive(Clone, Debug)]
pub struct Gpus {
    rules: Rules,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    answers: HashMap<Uuid, oneshot::Sender<Vec<Part>>>,
    /// What drivers of an earlier server hold, until they are taken back or ended.
    unclaimed: HashMap<Uuid, Lease>,
    /// What is seen of the drivers that run.
    watched: HashMap<Uuid, Usage>,
    /// What the last look has shown, those that are not well too; none on a host where there is nothing to look at.
    seen: Option<Vec<Seen>>,
    /// False until what an earlier server leased is taken back.
    is_open: bool,
}

/// Who asks for GPUs.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The user; none without authentication.
    pub owner: Option<String>,
    /// What people know it by, such as `session 7`.
    pub who: String,
    /// What is asked for.
    pub ask: Ask,
}

/// A place in the line; dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    /// Where what is leased goes back to; the lease takes it over.
    lease: Option<Lease>,
    answer: oneshot::Receiver<Vec<Part>>,
    owner: Option<String>,
}

/// One that waits, for who tells how the line moves.
#[derive(Clone, Debug)]
pub struct Waiting {
    gpus: Gpus,
    id: Uuid,
    owner: Option<String>,
}

/// What is held of the GPUs; dropping it gives it back. The server's own end gives nothing back: the drivers go on.
#[derive(Debug)]
pub struct Lease {
    gpus: Gpus,
    id: Uuid,
    parts: Vec<Part>,
    /// How long an earlier server's driver had it already.
    before: Duration,
}

/// A driver whose use of the GPUs is looked at; dropping it ends that.
#[derive(Debug)]
pub struct Watched {
    gpus: Gpus,
    driver: Uuid,
    usage: Usage,
}

impl Gpus {
    /// The rules of the configuration; no device, and nothing is leased until [`Gpus::open`].
    #[must_use]
    pub fn of(config: &Gpu) -> Self {
        let limit = |gpus: u32| Some(gpus.saturating_mul(WHOLE)).filter(|limit| *limit > 0);
        Self::new(Rules {
            sharing: config.sharing,
            of_owner: limit(config.owner_limit),
            in_all: limit(config.limit),
        })
    }

    /// No device, and nothing is leased until [`Gpus::open`].
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let state = State {
            book: Book::new(rules),
            ..State::default()
        };
        Self {
            rules,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What a request asks for of this host; none where it asks for nothing. For a driver in the cluster its conf is put as Spark needs it.
    ///
    /// # Errors
    /// It makes no sense, or can never be met.
    pub fn asked(&self, conf: &mut BTreeMap<String, String>, spark: &Spark) -> Result<Option<Ask>, Refused> {
        if in_cluster(conf, spark)? {
            return Ok(None);
        }
        let Some(ask) = Ask::read(conf, self.rules)? else {
            return Ok(None);
        };
        ask.check(&self.devices(), self.rules)?;
        Ok(Some(ask))
    }

    /// Takes a place in the line. `who` is what people know it by, such as `session 7`.
    #[must_use]
    pub fn wait(&self, owner: Option<String>, who: String, ask: Ask) -> Place {
        let id = Uuid::new_v4();
        let (answer, waiting) = oneshot::channel();
        let mut state = self.lock();
        state.book.wait(id, owner.clone(), who, ask);
        state.answers.insert(id, answer);
        state.serve();
        drop(state);
        let lease = Lease {
            gpus: self.clone(),
            id,
            parts: Vec::new(),
            before: Duration::ZERO,
        };
        Place {
            lease: Some(lease),
            answer: waiting,
            owner,
        }
    }

    /// Counts what a driver of an earlier server holds, and has held for so long, until it is claimed and given back.
    pub fn adopt(
        &self,
        driver: Uuid,
        owner: Option<String>,
        who: String,
        parts: Vec<Part>,
        before: Duration,
    ) {
        let id = Uuid::new_v4();
        let holder = Holder {
            owner,
            who,
            parts: parts.clone(),
        };
        let lease = Lease {
            gpus: self.clone(),
            id,
            parts,
            before,
        };
        let mut state = self.lock();
        state.book.adopt(id, holder);
        state.unclaimed.insert(driver, lease);
    }

    /// What a driver of an earlier server holds: who watches it keeps the lease until nothing of the driver is left.
    #[must_use]
    pub fn claim(&self, driver: Uuid) -> Option<Lease> {
        self.lock().unclaimed.remove(&driver)
    }

    /// What a driver is to see that holds these; none on a host without GPUs, where nothing is changed. GPUs that can't be seen at the moment
    /// are there all the same.
    #[must_use]
    pub fn mask(&self, parts: &[Part]) -> Option<Mask> {
        let is_without = parts.is_empty() && self.lock().seen.is_none();
        (!is_without).then(|| Mask::of(parts))
    }

    /// Watches a driver's use of the GPUs from now on; none on a host without GPUs.
    #[must_use]
    pub fn watch(&self, driver: Uuid, lease: Option<&Lease>) -> Option<Watched> {
        let (parts, before) = lease.map_or((Vec::new(), Duration::ZERO), |lease| {
            (lease.parts.clone(), lease.before)
        });
        let mut state = self.lock();
        if parts.is_empty() && state.seen.is_none() {
            return None;
        }
        let usage = Usage::new(parts, before);
        state.watched.insert(driver, usage.clone());
        drop(state);
        Some(Watched {
            gpus: self.clone(),
            driver,
            usage,
        })
    }

    /// Takes what a look has shown, so long after the one before; `driver_of` says whose a process is.
    pub fn observe(&self, seen: Vec<Seen>, driver_of: &dyn Fn(u32) -> Option<Uuid>, elapsed: Duration) {
        let watched: Vec<(Uuid, Usage)> = {
            let state = self.lock();
            let watched = state.watched.iter();
            watched.map(|(driver, usage)| (*driver, usage.clone())).collect()
        };
        for (driver, usage) in watched {
            usage.observe(driver, &seen, driver_of, elapsed);
        }
        let well = seen.iter().filter(|seen| seen.trouble.is_none());
        let devices: Vec<Device> = well.map(|seen| seen.device.clone()).collect();
        self.set_devices(devices);
        self.lock().seen = Some(seen);
    }

    /// What the last look has shown, with who holds what of each.
    #[must_use]
    pub fn seen(&self) -> Vec<(Seen, Vec<(Holder, Part)>)> {
        let state = self.lock();
        let held_of = |seen: &Seen| {
            let holders = state.book.holders().flat_map(|(_, holder)| {
                let of_it = holder.parts.iter().filter(|part| part.uuid == seen.device.uuid);
                of_it.map(|part| (holder.clone(), part.clone()))
            });
            holders.collect()
        };
        state
            .seen
            .iter()
            .flatten()
            .map(|seen| (seen.clone(), held_of(seen)))
            .collect()
    }

    /// Counts what a session or batch holds, or waits for, as that user's from now on; `who` is what people know it by. False, and nothing has
    /// changed, where that user may not hold so much.
    #[must_use]
    pub fn hand_over(&self, who: &str, owner: &Option<String>) -> bool {
        let mut state = self.lock();
        let may = state.book.hand_over(who, owner);
        // Another may now hold more, or wait for less.
        state.serve();
        may
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().book.waiting()
    }

    /// All that is held has been taken back: those that wait are served from now on.
    pub fn open(&self) {
        let mut state = self.lock();
        state.is_open = true;
        state.serve();
    }

    /// The devices that can be leased from now on; a line of the log for each that has gone or come.
    fn set_devices(&self, devices: Vec<Device>) {
        let mut state = self.lock();
        let is_known = |device: &Device| state.book.devices().any(|known| known == device);
        if devices.len() == state.book.devices().count() && devices.iter().all(is_known) {
            return;
        }
        for device in &devices {
            if !is_known(device) {
                info!("GPU {device}");
            }
        }
        let gone = state.book.devices().filter(|device| !devices.contains(device));
        for device in gone {
            info!(gpu.uuid = %device.uuid, "a GPU is withdrawn: who holds it keeps it, and nobody else gets it");
        }
        state.book.set_devices(devices);
        state.serve();
    }

    /// The devices that can be leased, whether they are or not.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        self.lock().book.devices().cloned().collect()
    }

    fn leave(&self, id: Uuid) {
        let mut state = self.lock();
        state.book.leave(id);
        state.answers.remove(&id);
        state.serve();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serve(&mut self) {
        if !self.is_open {
            return;
        }
        for (id, parts) in self.book.serve() {
            if let Some(answer) = self.answers.remove(&id) {
                // One that has left since gives it back itself.
                let _ = answer.send(parts);
            }
        }
    }
}

impl Waiting {
    /// What the log of one that must wait says now; none once it waits no more. Another user's sessions have no names in it.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let state = self.gpus.lock();
        let (ahead, holders) = state.book.before(self.id)?;
        let held: Vec<String> = holders
            .iter()
            .flat_map(|holder| {
                let who = if holder.owner == self.owner {
                    holder.who.as_str()
                } else {
                    "another user"
                };
                holder
                    .parts
                    .iter()
                    .map(move |part| format!("{} by {who}", part.uuid))
            })
            .collect();
        let held = if held.is_empty() {
            "none can be had now".to_owned()
        } else {
            format!("held are {}", held.join(", "))
        };
        Some(format!("Waiting for GPUs: {ahead} wait before this one; {held}."))
    }
}

impl Place {
    /// For the log of one that must wait.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        let lease = self.lease.as_ref()?;
        Some(Waiting {
            gpus: lease.gpus.clone(),
            id: lease.id,
            owner: self.owner.clone(),
        })
    }

    /// Waits for its turn. Cancel safe: dropping it leaves the line.
    pub async fn granted(mut self) -> Lease {
        let parts = (&mut self.answer).await;
        match (self.lease.take(), parts) {
            (Some(mut lease), Ok(parts)) => {
                lease.parts = parts;
                lease
            }
            // The book lives as long as this place: it always answers.
            _ => std::future::pending().await,
        }
    }
}

impl Lease {
    /// Counts it as that user's from now on, who is known so. False, and nothing has changed, where they may not hold so much.
    #[must_use]
    pub fn pass_to(&self, owner: Option<String>, who: String) -> bool {
        self.gpus.lock().book.pass(self.id, owner, who)
    }

    /// What is held, in the order in which the driver sees it.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Watched {
    /// What is seen.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.usage.end();
        self.gpus.lock().watched.remove(&self.driver);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.gpus.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn one() -> Gpus {
        let gpus = Gpus::new(Rules::default());
        gpus.set_devices(vec![Device {
            uuid: "GPU-1".to_owned(),
            name: "NVIDIA H200".to_owned(),
            memory: 141 << 30,
        }]);
        gpus
    }

    fn wait(gpus: &Gpus, owner: &str, who: &str) -> Place {
        let ask = Ask {
            thousandths: Some(WHOLE),
            memory: None,
            kind: None,
        };
        gpus.wait(Some(owner.to_owned()), who.to_owned(), ask)
    }

    #[test]
    fn a_lease_goes_on_when_it_is_dropped() {
        let gpus = one();
        let first = wait(&gpus, "ann", "session 1");
        let second = wait(&gpus, "ann", "session 2");
        let third = wait(&gpus, "bob", "session 3");
        let mut first = Box::pin(first.granted());
        assert!(first.as_mut().now_or_never().is_none(), "it is not open yet");
        gpus.open();
        let lease = first.as_mut().now_or_never().expect("it is the first");
        assert_eq!(lease.parts()[0].uuid, "GPU-1");
        let notice = |place: &Place| place.waiting().and_then(|waiting| waiting.notice());
        let told = notice(&second).unwrap();
        assert_eq!(
            told,
            "Waiting for GPUs: 0 wait before this one; held are GPU-1 by session 1."
        );
        let told = notice(&third).unwrap();
        assert_eq!(
            told,
            "Waiting for GPUs: 1 wait before this one; held are GPU-1 by another user."
        );
        drop(second);
        drop(lease);
        // One that is served and does not take it gives it back.
        let fourth = wait(&gpus, "bob", "batch 4");
        drop(third);
        assert!(fourth.granted().now_or_never().is_some());
        assert_eq!(gpus.lock().book.holders().count(), 0);
    }

    #[test]
    fn what_is_handed_over_counts_for_the_new_owner() {
        let gpus = Gpus::new(Rules {
            of_owner: Some(WHOLE),
            ..Rules::default()
        });
        let device = |number: u8| Device {
            uuid: format!("GPU-{number}"),
            name: "NVIDIA H200".to_owned(),
            memory: 141 << 30,
        };
        gpus.set_devices(vec![device(1), device(2)]);
        gpus.open();
        let first = wait(&gpus, "ann", "session 1").granted().now_or_never();
        let mut second = Box::pin(wait(&gpus, "ann", "session 2").granted());
        assert!(second.as_mut().now_or_never().is_none(), "one is her quota");
        let bob = Some("bob".to_owned());
        assert!(gpus.hand_over("session 1", &bob));
        let second = second.now_or_never();
        assert!(first.is_some() && second.is_some());
        assert!(!gpus.hand_over("session 2", &bob), "one is his");
        let owners = |gpus: &Gpus| {
            let state = gpus.lock();
            let mut owners: Vec<_> = state
                .book
                .holders()
                .map(|(_, holder)| holder.owner.clone())
                .collect();
            owners.sort();
            owners
        };
        assert_eq!(owners(&gpus), [Some("ann".to_owned()), bob.clone()]);
        // What waits, waits as the new owner's.
        let mut third = Box::pin(wait(&gpus, "ann", "session 3").granted());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(gpus.hand_over("session 3", &Some("eve".to_owned())));
        drop(first);
        assert!(third.now_or_never().is_some());
        // What holds nothing is anybody's.
        assert!(gpus.hand_over("session 9", &bob));
    }

    #[test]
    fn what_is_taken_back_is_held() {
        let gpus = one();
        let part = Part {
            uuid: "GPU-1".to_owned(),
            name: "NVIDIA H200".to_owned(),
            bytes: 141 << 30,
            memory: 141 << 30,
            is_share: false,
        };
        let driver = Uuid::new_v4();
        gpus.adopt(driver, None, "session 1".to_owned(), vec![part], Duration::ZERO);
        gpus.open();
        let adopted = gpus.claim(driver).unwrap();
        assert!(gpus.claim(driver).is_none());
        let mut waiting = Box::pin(wait(&gpus, "ann", "session 2").granted());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(adopted);
        assert!(waiting.now_or_never().is_some());
    }
}
