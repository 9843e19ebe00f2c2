//! Beginning and end: the driver launched, the session's times watched, the end told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::{Actor, Done};
use crate::clock::now_ms;
use crate::driver::{Driver, DriverEvent};
use crate::session::state::{SessionEvent, SessionState};
use crate::session::times::{Ages, Limits, overdue};
use crate::store::{DriverRow, Op};

impl Actor {
    pub(super) async fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Admitted(permit) => self.launch(permit),
            Done::Launched(Ok((driver, events))) => self.launched(driver, events).await,
            Done::Launched(Err(error)) => {
                self.driver_gone(format!("The driver could not be started: {error}"));
            }
            Done::ResultStored { seq, statement } => self.result_stored(seq, statement).await,
            Done::Deleted { stored, reply } => {
                if stored.is_ok() && !self.deleted {
                    self.deleted = true;
                    self.shared.sessions.remove(self.id, &self.request);
                    self.end("It was deleted.".to_owned()).await;
                }
                let _ = reply.send(stored);
            }
            Done::Diagnosed(sentence) => self.driver_gone(sentence),
        }
    }

    fn launch(&mut self, permit: OwnedSemaphorePermit) {
        if !self.snapshot.state.is_open() {
            return;
        }
        self.permit = Some(permit);
        let (drivers, background) = (Arc::clone(&self.shared.drivers), self.shared.background.clone());
        let mut spec = self.request.driver.clone();
        if spec.app_name.is_empty() {
            spec.app_name = format!("firesteel-session-{}", self.id);
        }
        self.work.push(Box::pin(async move {
            let launched = background.blocking(move || drivers.launch(&spec)).await;
            Done::Launched(launched.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))))
        }));
    }

    async fn launched(&mut self, driver: Driver, events: mpsc::Receiver<(u64, DriverEvent)>) {
        self.launched = Some(Instant::now());
        self.events = Some(events);
        self.snapshot.run_dir = Some(driver.run_dir.clone());
        self.snapshot.driver = Some(driver.clone());
        if let Some(keeper) = &driver.keeper {
            self.store_later(Op::InsertDriver(Box::new(DriverRow {
                id: driver.id.to_string(),
                session_id: self.id,
                run_dir: driver.run_dir.path().display().to_string(),
                keeper_pid: keeper.pid.into(),
                keeper_start: i64::try_from(keeper.start).unwrap_or(i64::MAX),
                boot_id: keeper.boot.clone(),
                epoch: self.shared.store.epoch(),
                created: now_ms(),
            })));
        }
        if !self.snapshot.state.is_open() {
            driver.kill().await;
        }
        self.driver = Some(driver);
        self.publish();
    }

    /// Ends the session: asks its driver, where there is one.
    pub(super) async fn end(&mut self, reason: String) {
        self.reason.get_or_insert(reason.clone());
        self.apply(SessionEvent::Stop);
        let is_starting_one = self.permit.is_some() && self.launched.is_none() && self.ended.is_none();
        match &self.driver {
            Some(driver) if self.was_ready => driver.stop().await,
            // Its agent can't stop a context that it does not have yet.
            Some(driver) => driver.kill().await,
            // Its launch is under way: it is stopped when it is there.
            None if is_starting_one => {}
            None => self.driver_gone(reason),
        }
    }

    /// Nothing of the driver is left, or none was ever started.
    pub(super) fn driver_gone(&mut self, why: String) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(Instant::now());
        if let Some(driver) = self.driver.take() {
            self.shared.drivers.forget(&driver);
            self.store_later(Op::EndDriver {
                id: driver.id.to_string(),
                at: now_ms(),
            });
        }
        self.snapshot.driver = None;
        self.permit = None;
        if !self.deleted {
            self.note(format!("The session has ended: {why}"));
            if let Some(running) = self.running.take() {
                self.finish(&running.statement.lost(&why));
            }
            for statement in std::mem::take(&mut self.queue) {
                self.finish(&statement.cancelled());
            }
            self.snapshot.diagnosis = Some(why.into());
        }
        self.apply(SessionEvent::DriverGone);
        let kept = i64::try_from(self.shared.config.session.history_kept).unwrap_or(i64::MAX);
        self.store_later(Op::TrimHistory { kept });
    }

    /// Looks at the session's times.
    pub(super) async fn watch(&mut self) {
        if !self.snapshot.state.is_open() {
            return;
        }
        let config = &self.shared.config.session;
        let is_late = self
            .launched
            .is_some_and(|at| at.elapsed() > config.start_timeout.get());
        if is_late && !self.was_ready {
            if self.reason.is_none() {
                let limit = config.start_timeout;
                let sentence = format!("The driver was not ready within {limit} (session.start_timeout).");
                self.reason = Some(sentence);
                if let Some(driver) = &self.driver {
                    driver.kill().await;
                }
            }
            return;
        }
        let heartbeat = u64::try_from(self.request.echo.heartbeat_timeout_in_second).unwrap_or(0);
        let is_idle = self.snapshot.state == SessionState::Idle && self.accepting.is_empty();
        let limits = Limits {
            ttl: self.request.ttl,
            idle: self.request.idle_timeout,
            heartbeat: Some(Duration::from_secs(heartbeat)).filter(|limit| !limit.is_zero()),
        };
        let ages = Ages {
            life: self.created.elapsed(),
            idle: is_idle.then(|| self.contacts.inactive()),
            unheard: self.contacts.unheard(),
        };
        if let Some(sentence) = overdue(limits, ages) {
            self.end(sentence).await;
        }
    }
}
