//! A driver's turn: a place among those that run, and its GPUs. Sessions and batches wait for it in the same way. Calls `admission` and `gpu`.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

use crate::admission::{Admission, QueueFull, Ticket};
use crate::config::Config;
use crate::gpu::{Gpus, Lease, Part, Place, Usage, Waiting, Wanted, Watched};

/// Where drivers wait for their turn. Clones are the same.
#[derive(Clone, Debug)]
pub struct Gate {
    admission: Admission,
    gpus: Gpus,
    wait: Duration,
}

/// One that waits for its turn; dropping it leaves all lines.
#[derive(Debug)]
pub struct Turn {
    gate: Gate,
    ticket: Ticket,
    place: Option<Place>,
}

/// What a driver holds while it lives; dropping it gives it back.
#[derive(Debug, Default)]
pub struct Held {
    /// None where more run than the limit allows now.
    _permit: Option<OwnedSemaphorePermit>,
    lease: Option<Lease>,
    watched: Option<Watched>,
}

impl Gate {
    /// The gate of sessions or of batches (`what`), so many at once and so many waiting.
    #[must_use]
    pub fn new(what: &'static str, limit: usize, queue_limit: usize, gpus: &Gpus, config: &Config) -> Self {
        Self {
            admission: Admission::new(what, limit, queue_limit),
            gpus: gpus.clone(),
            wait: config.gpu.wait.get(),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// The queue is full.
    pub fn enter(&self) -> Result<Turn, QueueFull> {
        self.admission.enter().map(|ticket| self.turn(ticket))
    }

    /// Takes a place for one that was accepted by an earlier server, however many wait.
    #[must_use]
    pub fn enter_again(&self) -> Turn {
        self.turn(self.admission.enter_again())
    }

    /// What a driver holds that runs already.
    #[must_use]
    pub fn running(&self, driver: Uuid) -> Held {
        let lease = self.gpus.claim(driver);
        Held {
            _permit: self.admission.count(),
            watched: self.gpus.watch(driver, lease.as_ref()),
            lease,
        }
    }

    /// The GPUs.
    #[must_use]
    pub fn gpus(&self) -> &Gpus {
        &self.gpus
    }

    fn turn(&self, ticket: Ticket) -> Turn {
        Turn {
            gate: self.clone(),
            ticket,
            place: None,
        }
    }
}

impl Turn {
    /// Waits for GPUs as well.
    #[must_use]
    pub fn with_gpus(mut self, wanted: Option<Wanted>) -> Self {
        self.place = wanted.map(|wanted| self.gate.gpus.wait(wanted.owner, wanted.who, wanted.ask));
        self
    }

    /// What the log of one that must wait says.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let gpus = self.waiting().and_then(|waiting| waiting.notice());
        self.ticket.notice().into_iter().chain(gpus).collect()
    }

    /// Whether it has come already, but for GPUs.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.ticket.notice().is_none()
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
        let Self { gate, ticket, place } = self;
        let Some(place) = place else {
            let permit = ticket.admitted().await;
            return Ok(Held {
                _permit: permit,
                ..Held::default()
            });
        };
        let mut granted = Box::pin(place.granted());
        if let Some(lease) = granted.as_mut().now_or_never() {
            let permit = ticket.admitted().await;
            return Ok(Held {
                _permit: permit,
                lease: Some(lease),
                watched: None,
            });
        }
        // While it waits for GPUs others may run.
        drop(ticket);
        let Ok(lease) = timeout(gate.wait, granted).await else {
            let wait = humantime::format_duration(gate.wait);
            return Err(format!("No GPU was free for it within {wait} (gpu.wait)."));
        };
        let permit = gate.admission.enter_again().admitted().await;
        Ok(Held {
            _permit: permit,
            lease: Some(lease),
            watched: None,
        })
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
