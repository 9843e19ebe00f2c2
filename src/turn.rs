//! A driver's turn: a place among those that run, room in its owner's quota, and its GPUs. Sessions and batches wait for it in the same way.
//! Calls `admission`, `quota` and `gpu`. What it holds then has room for its start (`starts`), for which it waits next.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;
use uuid::Uuid;

use crate::admission::{Admission, Place as Permit, QueueFull, Ticket};
use crate::config::Config;
use crate::gpu::{Gpus, Lease, Part, Place, Usage, Waiting, Wanted, Watched};
use crate::quota::{Claim, Over, Quotas};
use crate::starts::{Start, Starts};

/// What there is not enough of for everybody: sessions and batches take of the same.
#[derive(Clone, Debug)]
pub struct Scarce {
    /// The GPUs.
    pub gpus: Gpus,
    /// What each user may use.
    pub quotas: Quotas,
    /// Who may start.
    pub starts: Starts,
}

/// Where drivers wait for their turn. Clones are the same.
#[derive(Clone, Debug)]
pub struct Gate {
    admission: Admission,
    gpus: Gpus,
    quotas: Quotas,
    wait: Duration,
}

/// Why a user can't be given what another's driver takes.
#[derive(Debug)]
pub enum NoRoom {
    /// Their quota has no room for it.
    Quota(Over),
    /// They may not hold so many GPUs.
    Gpus,
}

/// One that waits for its turn; dropping it leaves all lines.
#[derive(Debug)]
pub struct Turn {
    gate: Gate,
    ticket: Ticket,
    claim: Claim,
    place: Option<Place>,
    /// What it will wait for once its quota has room: until then it would keep GPUs from others.
    wanted: Option<Wanted>,
}

/// What a driver holds while it lives; dropping it gives it back.
#[derive(Debug, Default)]
pub struct Held {
    _permit: Option<Permit>,
    lease: Option<Lease>,
    watched: Option<Watched>,
    start: Option<Start>,
}

impl Gate {
    /// The gate of sessions or of batches (`what`), so many at once and so many waiting.
    #[must_use]
    pub fn new(
        what: &'static str,
        limit: usize,
        queue_limit: usize,
        scarce: &Scarce,
        config: &Config,
    ) -> Self {
        let Scarce { gpus, quotas, .. } = scarce.clone();
        Self {
            admission: Admission::new(what, limit, queue_limit, &quotas),
            gpus,
            quotas,
            wait: config.gpu.wait.get(),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The queue is full.
    pub fn enter(&self, claim: Claim) -> Result<Turn, QueueFull> {
        let ticket = self.admission.enter(&claim)?;
        Ok(self.turn(ticket, claim))
    }

    /// Takes a place for one that was accepted by an earlier server, however many wait.
    #[must_use]
    pub fn enter_again(&self, claim: Claim) -> Turn {
        self.turn(self.admission.enter_again(&claim), claim)
    }

    /// What a driver holds that runs already.
    #[must_use]
    pub fn running(&self, driver: Uuid, claim: &Claim) -> Held {
        let lease = self.gpus.claim(driver);
        Held {
            _permit: Some(self.admission.count(claim)),
            watched: self.gpus.watch(driver, lease.as_ref()),
            lease,
            start: None,
        }
    }

    /// Makes what a driver takes or waits for another user's: of the quota, and of the GPUs; `who` is what people know it by.
    ///
    /// # Errors
    /// That user has no room for it. Nothing has changed then.
    pub fn hand_over(&self, who: &str, claim: &Claim, owner: &Option<String>) -> Result<(), NoRoom> {
        let before = claim.owner();
        self.admission.hand_over(claim, owner).map_err(NoRoom::Quota)?;
        if self.gpus.hand_over(who, owner) {
            return Ok(());
        }
        self.admission.take_back(claim, &before);
        Err(NoRoom::Gpus)
    }

    /// Takes a hand-over back: its owner of before has room for it, as they just had.
    pub fn take_back(&self, who: &str, claim: &Claim, owner: &Option<String>) {
        let _ = self.gpus.hand_over(who, owner);
        self.admission.take_back(claim, owner);
    }

    /// How many wait for a place, and how many have one.
    #[must_use]
    pub fn lengths(&self) -> (usize, usize) {
        self.admission.lengths()
    }

    /// The GPUs.
    #[must_use]
    pub fn gpus(&self) -> &Gpus {
        &self.gpus
    }

    /// What each user may use.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    fn join(&self, wanted: Wanted) -> Place {
        self.gpus.wait(wanted.owner, wanted.who, wanted.ask)
    }

    fn turn(&self, ticket: Ticket, claim: Claim) -> Turn {
        Turn {
            gate: self.clone(),
            ticket,
            claim,
            place: None,
            wanted: None,
        }
    }
}

impl Turn {
    /// Waits for GPUs as well.
    #[must_use]
    pub fn with_gpus(mut self, wanted: Option<Wanted>) -> Self {
        if self.ticket.is_over_quota() {
            self.wanted = wanted;
        } else {
            self.place = wanted.map(|wanted| self.gate.join(wanted));
        }
        self
    }

    /// What the log of one that must wait says.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let gpus = self.waiting().and_then(|waiting| waiting.notice());
        self.ticket.notices().iter().cloned().chain(gpus).collect()
    }

    /// Whether it has come already, but for GPUs.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.ticket.is_come()
    }

    /// Its place in the line for GPUs, which moves.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        self.place.as_ref().and_then(Place::waiting)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// No GPUs came in time: the sentence that says so.
    pub async fn come(self) -> Result<Held, String> {
        let Self {
            gate,
            ticket,
            claim,
            place,
            wanted,
        } = self;
        let held = |permit, lease| Held {
            _permit: permit,
            lease,
            watched: None,
            start: None,
        };
        let (mut permit, mut ticket) = (None, Some(ticket));
        let place = match (place, wanted) {
            (None, None) => return Ok(held(admitted(ticket).await, None)),
            (None, Some(wanted)) => {
                permit = admitted(ticket.take()).await;
                // It may have been handed over meanwhile.
                let owner = claim.owner();
                gate.join(Wanted { owner, ..wanted })
            }
            (Some(place), _) => place,
        };
        let mut granted = Box::pin(place.granted());
        if let Some(lease) = granted.as_mut().now_or_never() {
            let permit = match permit {
                Some(permit) => Some(permit),
                None => admitted(ticket).await,
            };
            return Ok(held(permit, Some(lease)));
        }
        // While it waits for GPUs others may run; what it has of its quota it keeps.
        if let Some(ticket) = ticket.filter(Ticket::is_come) {
            permit = ticket.admitted().await;
        }
        let quota = permit.and_then(Permit::leave);
        let Ok(lease) = timeout(gate.wait, granted).await else {
            let wait = humantime::format_duration(gate.wait);
            return Err(format!("No GPU was free for it within {wait} (gpu.wait)."));
        };
        let permit = gate.admission.enter_with(&claim, quota).admitted().await;
        Ok(held(permit, Some(lease)))
    }
}

async fn admitted(ticket: Option<Ticket>) -> Option<Permit> {
    match ticket {
        Some(ticket) => ticket.admitted().await,
        None => None,
    }
}

impl Held {
    /// What it holds of the GPUs.
    #[must_use]
    pub fn gpus(&self) -> &[Part] {
        self.lease.as_ref().map_or(&[], Lease::parts)
    }

    /// Holds this of the GPUs, which a warm driver has held so far.
    #[must_use]
    pub fn with_lease(mut self, lease: Option<Lease>) -> Self {
        self.lease = lease.or(self.lease);
        self
    }

    /// Its driver may start, and counts until it has.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// Whether its driver may start.
    #[must_use]
    pub fn may_start(&self) -> bool {
        self.start.is_some()
    }

    /// Its driver has started: another may.
    pub fn started(&mut self) {
        self.start = None;
    }

    /// The driver that it is held for is launched: its use of the GPUs is watched from now on.
    pub fn launched(&mut self, driver: Uuid, gpus: &Gpus) {
        self.watched = gpus.watch(driver, self.lease.as_ref());
    }

    /// What is seen of the driver's use of the GPUs; none on a host without any.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        self.watched.as_ref().map(Watched::usage)
    }

    /// Holds no GPUs any more; the driver goes on. They are free once the lease is dropped.
    #[must_use]
    pub fn give_back(&mut self) -> Option<Lease> {
        if let Some(usage) = self.usage() {
            usage.end();
        }
        self.lease.take()
    }

    /// Makes room for another driver. The GPUs stay held, until the store knows that the driver has ended.
    #[must_use]
    pub fn into_lease(self) -> Option<Lease> {
        self.lease
    }
}
