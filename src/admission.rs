//! How many drivers run at once, and whose turn it is: a fair queue with a bound. Sessions have one, batches another. Calls nobody.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The gate in front of drivers.
#[derive(Clone, Debug)]
pub struct Admission {
    free: Arc<Semaphore>,
    waiting: Waiting,
    limit: usize,
    queue_limit: usize,
    what: &'static str,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of {0} is full")]
pub struct QueueFull(pub &'static str);

/// A place in the queue, held from the moment it was asked for; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket {
    gate: Admission,
    turn: Turn,
}

/// Whose turn it is. `None` in place of a permit stands for a gate that is closed, which it never is.
enum Turn {
    /// This one's, at once.
    Now(Option<OwnedSemaphorePermit>),
    /// Another's: the semaphore has this one in its line, so many before it.
    Later {
        ahead: usize,
        permit: Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>,
        counted: Counted,
    },
}

/// How many wait. Locked while one takes its place, so that what it is told is where it stands.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<usize>>);

/// One that waits, counted while it does.
struct Counted(Waiting);

impl Admission {
    /// `limit` at once, `queue_limit` waiting. `what` they are is the name of the key of the limit, too: `sessions` for `limits.sessions`.
    #[must_use]
    pub fn new(what: &'static str, limit: usize, queue_limit: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            waiting: Waiting::default(),
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
        let ticket = self.enter_again();
        match ticket.turn {
            Turn::Later { ahead, .. } if ahead >= self.queue_limit => Err(QueueFull(self.what)),
            _ => Ok(ticket),
        }
    }

    /// Takes a place for one that was accepted by an earlier server, however many wait.
    #[must_use]
    pub fn enter_again(&self) -> Ticket {
        let mut permit = Box::pin(Arc::clone(&self.free).acquire_owned());
        let mut waiting = self.waiting.lock();
        // The first look gives the permit, or a place in the semaphore's line.
        let turn = match permit.as_mut().now_or_never() {
            Some(permit) => Turn::Now(permit.ok()),
            None => {
                let ahead = *waiting;
                *waiting += 1;
                Turn::Later {
                    ahead,
                    permit,
                    counted: Counted(self.waiting.clone()),
                }
            }
        };
        drop(waiting);
        Ticket {
            gate: self.clone(),
            turn,
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
        let Turn::Later { ahead, .. } = self.turn else {
            return None;
        };
        let Admission { limit, what, .. } = self.gate;
        Some(format!(
            "Waiting in the queue: {limit} {what} run (limits.{what}), {ahead} wait before this one."
        ))
    }

    /// Waits for its turn. The permit is held while the driver lives. None when the gate is closed, which it never is.
    pub async fn admitted(self) -> Option<OwnedSemaphorePermit> {
        match self.turn {
            Turn::Now(permit) => permit,
            Turn::Later { permit, counted, .. } => {
                let permit = permit.await.ok();
                drop(counted);
                permit
            }
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(_) => formatter.write_str("Now"),
            Self::Later { ahead, .. } => write!(formatter, "Later({ahead} before)"),
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
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

    #[tokio::test]
    async fn a_place_is_held_from_the_moment_it_was_asked_for() {
        let gate = Admission::new("batches", 1, 9);
        let first = gate.enter().unwrap();
        let second = gate.enter().unwrap();
        let third = gate.enter().unwrap();
        assert!(third.notice().unwrap().contains("1 wait before"));
        drop(first);
        // The third asks first and is not let in all the same.
        let mut third = Box::pin(third.admitted());
        assert!(third.as_mut().now_or_never().is_none());
        let permit = second.admitted().await;
        assert!(third.as_mut().now_or_never().is_none());
        drop(permit);
        assert!(third.await.is_some());
        assert_eq!(*gate.waiting.lock(), 0);
    }
}
