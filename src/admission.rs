//! How many drivers run at once, and whose turn it is: a fair queue with a bound. Sessions have one, batches another. Calls nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The gate in front of drivers.
#[derive(Clone, Debug)]
pub struct Admission {
    free: Arc<Semaphore>,
    queued: Arc<AtomicUsize>,
    limit: usize,
    queue_limit: usize,
    what: &'static str,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of {0} is full")]
pub struct QueueFull(pub &'static str);

/// A place in the queue; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket {
    gate: Admission,
    /// Those who were waiting before; 0 for one that need not wait.
    pub ahead: usize,
}

impl Admission {
    /// `limit` at once, `queue_limit` waiting. `what` they are is the name of the key of the limit, too: `sessions` for `limits.sessions`.
    #[must_use]
    pub fn new(what: &'static str, limit: usize, queue_limit: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            queued: Arc::default(),
            limit,
            queue_limit,
            what,
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The queue is full.
    pub fn enter(&self) -> Result<Ticket, QueueFull> {
        let ahead = self.queued.fetch_add(1, Ordering::AcqRel);
        let ticket = Ticket {
            gate: self.clone(),
            ahead,
        };
        let must_wait = ahead + 1 > self.free.available_permits();
        if must_wait && ahead + 1 > self.queue_limit + self.free.available_permits() {
            return Err(QueueFull(self.what));
        }
        Ok(ticket)
    }

    /// Takes a place for one that was accepted by an earlier server, however many wait.
    #[must_use]
    pub fn enter_again(&self) -> Ticket {
        Ticket {
            gate: self.clone(),
            ahead: self.queued.fetch_add(1, Ordering::AcqRel),
        }
    }

    /// Counts a driver that runs already. None where more run than the limit allows now: those run on all the same.
    #[must_use]
    pub fn count(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

impl Ticket {
    /// What the log of one that must wait says.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        if self.ahead < self.gate.free.available_permits() {
            return None;
        }
        let Admission { limit, what, .. } = self.gate;
        Some(format!(
            "Waiting in the queue: {limit} {what} run (limits.{what}), {} wait before this one.",
            self.ahead
        ))
    }

    /// Waits for its turn. The permit is held while the driver lives. None when the gate is closed, which it never is.
    pub async fn admitted(self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.gate.free).acquire_owned().await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_fair_and_bounded() {
        let gate = Admission::new("sessions", 1, 1);
        let first = gate.enter().unwrap();
        assert_eq!(first.notice(), None);
        let permit = first.admitted().await.unwrap();
        let second = gate.enter().unwrap();
        assert!(second.notice().unwrap().contains("0 wait before"));
        assert_eq!(gate.enter().unwrap_err(), QueueFull("sessions"));
        let waiting = second.admitted();
        drop(permit);
        assert!(waiting.await.is_some());
        assert!(gate.enter().is_ok());
    }
}
