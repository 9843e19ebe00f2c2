//! How many drivers run at once, and whose turn it is: a queue with a bound, in which owners take turns, so that none waits behind all that
//! another has asked for. Sessions have one, batches another, and all that start a third (`starts`). An owner's own come in their order. Who is at the limit of a quota waits
//! without keeping others waiting. Calls `quota`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;

use crate::metrics;
use crate::quota::{Claim, Freed, Lease, Over, Quotas};

/// The gate in front of drivers. Clones are the same.
#[derive(Clone, Debug)]
pub struct Admission {
    gate: Arc<Gate>,
}

/// No further one may wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// As many as may wait in all.
    #[error("Too many {0} are waiting to be started (limits.{0}_queued).")]
    All(&'static str),
    /// As many as may wait of one owner.
    #[error("{count} of your {what} wait to be started, and that is the most ({by}).")]
    Own {
        /// Sessions or batches.
        what: &'static str,
        /// How many wait.
        count: u64,
        /// The quota.
        by: String,
    },
}

/// A place in the queue, held from the moment it was asked for; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket {
    place: Ahead,
    /// Whether the quota has no room for it.
    is_over_quota: bool,
    /// How many turns come before its own, when it was taken.
    ahead: usize,
    notices: Vec<String>,
}

/// One that runs, from when its turn came; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    /// Dropped after the gate's own count: its end is what others are told of.
    lease: Option<Lease>,
}

#[derive(Debug)]
enum Ahead {
    /// Its turn has come.
    Come(Place),
    /// It waits.
    Waits(Waits),
}

/// One that waits.
#[derive(Debug)]
struct Waits {
    gate: Arc<Gate>,
    claim: Claim,
    id: u64,
    come: oneshot::Receiver<Place>,
}

struct Gate {
    line: Mutex<Line>,
    quotas: Quotas,
    limit: usize,
    queue_limit: usize,
    what: &'static str,
}

#[derive(Default)]
struct Line {
    running: usize,
    next_id: u64,
    /// Owners of whom some wait, in the order of their turns.
    order: VecDeque<Option<String>>,
    waiting: HashMap<Option<String>, VecDeque<Waiter>>,
}

struct Waiter {
    id: u64,
    claim: Claim,
    /// What it has of its quota already.
    lease: Option<Lease>,
    come: oneshot::Sender<Place>,
}

impl Admission {
    /// `limit` at once, `queue_limit` waiting. `what` they are is the name of the key of the limit, too: `sessions` for `limits.sessions`.
    #[must_use]
    pub fn new(what: &'static str, limit: usize, queue_limit: usize, quotas: &Quotas) -> Self {
        let gate = Arc::new(Gate {
            line: Mutex::default(),
            quotas: quotas.clone(),
            limit,
            queue_limit,
            what,
        });
        let listener: Weak<Gate> = Arc::downgrade(&gate);
        quotas.tell(listener);
        Self { gate }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The queue is full, or the owner's part of it.
    pub fn enter(&self, claim: &Claim) -> Result<Ticket, QueueFull> {
        let ticket = self.enter_again(claim);
        let Ahead::Waits(waits) = &ticket.place else {
            return Ok(ticket);
        };
        let Gate {
            queue_limit, what, ..
        } = *self.gate;
        let line = self.gate.line();
        let (all, own) = line.before(&waits.claim.owner(), waits.id);
        drop(line);
        if all >= queue_limit {
            metrics::QUEUE_REFUSED.with_label_values(&[what]).inc();
            return Err(QueueFull::All(what));
        }
        match self.gate.quotas.queued(claim.owner().as_deref()) {
            Some((most, by)) if own >= most => {
                metrics::QUEUE_REFUSED.with_label_values(&[what]).inc();
                Err(QueueFull::Own { what, count: own, by })
            }
            _ => Ok(ticket),
        }
    }

    /// How many wait, and how many have their turn.
    #[must_use]
    pub fn lengths(&self) -> (usize, usize) {
        let line = self.gate.line();
        (line.waiting.values().map(VecDeque::len).sum(), line.running)
    }

    /// Takes a place for one that was accepted by an earlier server, however many wait.
    #[must_use]
    pub fn enter_again(&self, claim: &Claim) -> Ticket {
        self.enter_with(claim, None)
    }

    /// Takes a place for one that has its part of the quota.
    #[must_use]
    pub fn enter_with(&self, claim: &Claim, lease: Option<Lease>) -> Ticket {
        let (come, mut coming) = oneshot::channel();
        let has_quota = lease.is_some();
        let id = self.gate.line().push(claim.clone(), lease, come);
        self.gate.serve();
        if let Ok(place) = coming.try_recv() {
            return Ticket {
                place: Ahead::Come(place),
                is_over_quota: false,
                ahead: 0,
                notices: Vec::new(),
            };
        }
        let why = self.gate.quotas.why_not(claim).filter(|_| !has_quota);
        let waits = Waits {
            gate: Arc::clone(&self.gate),
            claim: claim.clone(),
            id,
            come: coming,
        };
        let (ahead, is_full) = self.gate.ahead(claim, id);
        Ticket {
            is_over_quota: why.is_some(),
            ahead,
            notices: self.gate.notices(ahead, is_full, why),
            place: Ahead::Waits(waits),
        }
    }

    /// Makes a claim that user's: what it takes is counted for them, and one that waits for its turn is in their line, where it comes before
    /// what they asked for later.
    ///
    /// # Errors
    /// See [`Quotas::hand_over`], and where no further one of theirs may wait: the sentence. Nothing has changed then.
    pub fn hand_over(&self, claim: &Claim, owner: &Option<String>) -> Result<(), Over> {
        let mut line = self.gate.line();
        let place = line.find(claim);
        if place.is_some()
            && let Some((most, by)) = self.gate.quotas.queued(owner.as_deref())
            && line.waiting.get(owner).map_or(0, VecDeque::len) as u64 >= most
        {
            let what = self.gate.what;
            return Err(Over(format!(
                "{most} {what} wait to be started, and that is the most ({by})"
            )));
        }
        self.gate.quotas.hand_over(claim, owner)?;
        line.pass(place, owner);
        drop(line);
        self.gate.quotas.freed();
        Ok(())
    }

    /// Takes a hand-over back.
    pub fn take_back(&self, claim: &Claim, owner: &Option<String>) {
        let mut line = self.gate.line();
        let place = line.find(claim);
        self.gate.quotas.take_back(claim, owner);
        line.pass(place, owner);
        drop(line);
        self.gate.quotas.freed();
    }

    /// Counts a driver that runs already, where more run than the limits allow as well: it runs on all the same.
    #[must_use]
    pub fn count(&self, claim: &Claim) -> Place {
        self.gate.line().running += 1;
        Place {
            gate: Arc::clone(&self.gate),
            lease: Some(self.gate.quotas.count(claim)),
        }
    }
}

impl Ticket {
    /// What the log of one that must wait says.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How many turns came before its own when it was taken, if all who waited stayed and had room.
    #[must_use]
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// Whether its turn had come when it was taken.
    #[must_use]
    pub fn is_come(&self) -> bool {
        matches!(self.place, Ahead::Come(_))
    }

    /// Whether it has to wait for room in its owner's quota.
    #[must_use]
    pub fn is_over_quota(&self) -> bool {
        self.is_over_quota
    }

    /// Waits for its turn. The place is held while the driver lives. None when the gate has gone, which it never does before those who wait.
    pub async fn admitted(self) -> Option<Place> {
        match self.place {
            Ahead::Come(place) => Some(place),
            Ahead::Waits(mut waits) => (&mut waits.come).await.ok(),
        }
    }
}

impl Place {
    /// Makes room for another, and keeps its part of the quota.
    #[must_use]
    pub fn leave(mut self) -> Option<Lease> {
        self.lease.take()
    }
}

impl Gate {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives turns to those who can have them.
    fn serve(self: &Arc<Self>) {
        let mut left = Vec::new();
        let mut line = self.line();
        let mut at = 0;
        while line.running < self.limit
            && let Some(owner) = line.order.get(at)
        {
            let owner = owner.clone();
            let first = line.waiting.get_mut(&owner).and_then(VecDeque::front_mut);
            let taken = first.map(|first| match first.lease.take() {
                Some(lease) => Ok(lease),
                None => self.quotas.take(&first.claim),
            });
            match taken {
                Some(Ok(lease)) => {
                    let come = line.pop(at);
                    line.running += 1;
                    let place = Place {
                        gate: Arc::clone(self),
                        lease: Some(lease),
                    };
                    // One that has just left: its place ends once nothing is locked.
                    match come {
                        Some(come) => left.extend(come.send(place).err()),
                        None => left.push(place),
                    }
                    at = 0;
                }
                // Another's turn comes all the same.
                Some(Err(_)) => at += 1,
                None => {
                    line.order.remove(at);
                }
            }
        }
        drop(line);
    }

    /// How many turns come before its own, and whether as many run as may.
    fn ahead(&self, claim: &Claim, id: u64) -> (usize, bool) {
        let line = self.line();
        (line.ahead(&claim.owner(), id), line.running >= self.limit)
    }

    /// What the log of one that waits says.
    fn notices(&self, ahead: usize, is_full: bool, why: Option<String>) -> Vec<String> {
        let (limit, what) = (self.limit, self.what);
        let quota = why.map(|why| format!("Waiting for room in the quota: {why}."));
        let queue = if is_full {
            Some(format!(
                "Waiting in the queue: {limit} {what} run (limits.{what}), {ahead} wait before this one."
            ))
        } else {
            // An earlier one of the same owner has no room.
            quota
                .is_none()
                .then(|| format!("Waiting in the queue: {ahead} wait before this one."))
        };
        quota.into_iter().chain(queue).collect()
    }
}

impl Freed for Gate {
    fn freed(self: Arc<Self>) {
        self.serve();
    }
}

impl Line {
    fn push(&mut self, claim: Claim, lease: Option<Lease>, come: oneshot::Sender<Place>) -> u64 {
        self.next_id += 1;
        let (id, owner) = (self.next_id, claim.owner());
        let waiter = Waiter {
            id,
            claim,
            lease,
            come,
        };
        self.insert(&owner, waiter);
        id
    }

    /// Puts one among the owner's, in the order in which they came.
    fn insert(&mut self, owner: &Option<String>, waiter: Waiter) {
        let own = self.waiting.entry(owner.clone()).or_default();
        if own.is_empty() {
            self.order.push_back(owner.clone());
        }
        let at = own.partition_point(|other| other.id < waiter.id);
        own.insert(at, waiter);
    }

    /// Where a claim waits.
    fn find(&self, claim: &Claim) -> Option<(Option<String>, u64)> {
        let owner = claim.owner();
        let mut own = self.waiting.get(&owner)?.iter();
        let found = own.find(|waiter| waiter.claim.is_same(claim))?;
        Some((owner, found.id))
    }

    /// Makes one that waits the owner's.
    fn pass(&mut self, place: Option<(Option<String>, u64)>, owner: &Option<String>) {
        let waiter = place.and_then(|(from, id)| self.leave(&from, id));
        if let Some(waiter) = waiter {
            self.insert(owner, waiter);
        }
    }

    /// Takes the first of the owner at a place of the order, who is the last in it from then on.
    fn pop(&mut self, at: usize) -> Option<oneshot::Sender<Place>> {
        let owner = self.order.remove(at)?;
        let own = self.waiting.get_mut(&owner)?;
        let first = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.order.push_back(owner);
        }
        first.map(|first| first.come)
    }

    /// Takes one out, where it still waits.
    fn leave(&mut self, owner: &Option<String>, id: u64) -> Option<Waiter> {
        let own = self.waiting.get_mut(owner)?;
        let at = own.iter().position(|waiter| waiter.id == id)?;
        let left = own.remove(at);
        if own.is_empty() {
            self.waiting.remove(owner);
            self.order.retain(|other| other != owner);
        }
        left
    }

    /// How many others wait, and how many of the same owner came before it.
    fn before(&self, owner: &Option<String>, id: u64) -> (usize, u64) {
        let all: usize = self.waiting.values().map(VecDeque::len).sum();
        let own = self.waiting.get(owner).into_iter().flatten();
        let own = own.filter(|waiter| waiter.id < id).count();
        (all.saturating_sub(1), own as u64)
    }

    /// How many turns come before its own, if all who wait stay and have room.
    fn ahead(&self, owner: &Option<String>, id: u64) -> usize {
        let (_, own) = self.before(owner, id);
        let own = usize::try_from(own).unwrap_or(usize::MAX);
        let at = self.order.iter().position(|other| other == owner).unwrap_or(0);
        let others = self.order.iter().enumerate().filter(|(place, _)| *place != at);
        let rounds = others.map(|(place, other)| {
            let count = self.waiting.get(other).map_or(0, VecDeque::len);
            count.min(own + usize::from(place < at))
        });
        own + rounds.sum::<usize>()
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // A turn that has come meanwhile ends with the channel, after this. What it has of its quota goes once nothing is locked.
        let mut line = self.gate.line();
        let left = line.leave(&self.claim.owner(), self.id);
        drop(line);
        drop(left);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.line().running -= 1;
        // A lease, which is dropped next, has all gates look again.
        if self.lease.is_none() {
            self.gate.serve();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        formatter
            .debug_struct("Gate")
            .field("what", &self.what)
            .field("running", &line.running)
            .field("order", &line.order)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
