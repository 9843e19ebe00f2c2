//! One warm driver: started, waited for, ended.

use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, timeout};
use tracing::warn;
use uuid::Uuid;

use super::Pool;
use super::shelves::Place;
use crate::clock::now_ms;
use crate::driver::{self, Ahead, Driver, DriverEvent, Events, Identity};
use crate::gpu::{Lease, stored};
use crate::store::{DriverRow, Op};

/// How long the rest of a driver's end may take, beside the graces of the configuration.
const END: Duration = Duration::from_secs(5);

/// A driver that waits for its session.
#[derive(Debug)]
pub(super) struct Warm {
    pub driver: Driver,
    pub events: Events,
    /// Whose sessions may take it; none: everybody's.
    pub user: Option<String>,
    /// As whom it runs; none: as the server.
    identity: Option<Identity>,
    /// What it holds of the GPUs.
    pub lease: Option<Lease>,
    /// When it was ready.
    pub since: Instant,
}

impl Warm {
    /// Starts one and waits until it is ready. An error is a sentence; nothing is left then.
    pub(super) async fn start(
        pool: &Pool,
        place: &Place,
        identity: Option<Identity>,
        lease: Option<Lease>,
    ) -> Result<Self, String> {
        let inner = &pool.0;
        let suit = inner.suits.get(place.suit).ok_or("there is no such profile")?;
        let id = Uuid::new_v4();
        let parts = lease.as_ref().map_or(&[][..], Lease::parts);
        let mut spec = suit.spec.clone();
        spec.user.clone_from(&place.user);
        spec.gpus = inner.gpus.mask(parts);
        spec.ahead = Some(Ahead {
            imports: inner.config.pool.imports.clone(),
            first_job: inner.config.pool.first_job,
        });
        let row = DriverRow {
            id: id.to_string(),
            session_id: None,
            batch_id: None,
            epoch: inner.store.epoch(),
            created: now_ms(),
            gpus: stored(parts),
            cluster: spec.cluster.clone(),
            remote: inner.drivers.runs_in_cluster(&spec).unwrap_or_default(),
        };
        // Before there is a driver, as for a session: the next server finds what it has to end.
        inner.store.insist(Op::InsertDriver(Box::new(row))).await;
        let drivers = std::sync::Arc::clone(&inner.drivers);
        let launched = inner.background.blocking(move || drivers.launch(id, &spec)).await;
        let launched = launched
            .map_err(|panicked| panicked.to_string())
            .and_then(|launched| launched.map_err(|error| error.to_string()));
        let (driver, events) = match launched {
            Ok(launched) => launched,
            Err(reason) => {
                inner.store.insist(Op::ForgetDriver { id: id.to_string() }).await;
                return Err(reason);
            }
        };
        let mut warm = Self {
            driver,
            events,
            user: place.user.clone(),
            identity,
            lease,
            since: Instant::now(),
        };
        let limit = inner.config.session.start_timeout;
        let ready = tokio::select! {
            ready = timeout(limit.get(), warm.ready()) => {
                ready.unwrap_or_else(|_| Err(format!("it was not ready within {limit} (session.start_timeout)")))
            }
            () = inner.background.draining().cancelled() => Err("the server stops".to_owned()),
        };
        match ready {
            Ok(()) => {
                warm.since = Instant::now();
                Ok(warm)
            }
            Err(reason) => {
                drop(warm.end(pool).await);
                Err(reason)
            }
        }
    }

    /// Waits until it says that it can be taken.
    async fn ready(&mut self) -> Result<(), String> {
        let mut why = "its driver ended".to_owned();
        while let Some((seq, event)) = self.events.recv().await {
            self.driver.stored(seq).await;
            match event {
                DriverEvent::Warm { failed } => {
                    for (what, error) in failed {
                        warn!(what, error, "a warm driver could not do what it was to do ahead");
                    }
                    return Ok(());
                }
                DriverEvent::Failed { reason } => why = reason,
                DriverEvent::Exited { .. } => break,
                _ => {}
            }
        }
        Err(why)
    }

    /// Whether its user is the host's user still as whom it runs: numbers and groups may have changed.
    pub(super) async fn is_still_its_users(&self, pool: &Pool) -> bool {
        let now = pool.0.drivers.identity(self.user.as_deref()).await;
        now.is_ok_and(|now| now == self.identity)
    }

    /// Takes its news; false once it has ended. What it tells before a session has it is acknowledged with what follows.
    pub(super) fn lives(&mut self) -> bool {
        loop {
            match self.events.try_recv() {
                Ok((_, DriverEvent::Exited { .. })) | Err(TryRecvError::Disconnected) => return false,
                Ok(_) => {}
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Ends it and leaves nothing of it; what it held of the GPUs is free for another driver then.
    pub(super) async fn end(mut self, pool: &Pool) -> Option<Lease> {
        let inner = &pool.0;
        self.driver.kill().await;
        let gone = async {
            // The channel closes with the driver's task, and that ends with the driver or with the server.
            while !matches!(
                self.events.recv().await,
                None | Some((_, DriverEvent::Exited { .. }))
            ) {}
        };
        let limit = inner.config.driver.kill_grace.get() + END;
        let ended = timeout(limit, gone).await.is_ok();
        inner.drivers.forget(&self.driver);
        let id = self.driver.id;
        if ended && !inner.background.stopping().is_cancelled() {
            if driver::clear(self.driver.run_dir, true, &inner.background).await {
                inner.store.insist(Op::ForgetDriver { id: id.to_string() }).await;
            }
        } else {
            warn!(driver = %id, "a warm driver that was to end is left to the next start");
        }
        self.lease
    }
}
