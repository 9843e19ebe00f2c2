//! Beginning and end: the driver launched, the session's times watched, the end told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Actor, Done, Launched};
use crate::clock::now_ms;
use crate::driver::{self, Driver, DriverSpec, Events};
use crate::gpu::stored;
use crate::pool::{Outcome, Reserved};
use crate::session::feed::Phase;
use crate::session::shared::Shared;
use crate::session::state::{SessionEvent, SessionState};
use crate::session::times::{Ages, Limits, overdue};
use crate::store::{DriverRow, Op};
use crate::turn::Held;

impl Actor {
    pub(super) async fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Launched(Ok(launched)) => self.launched(*launched).await,
            Done::Launched(Err(error)) => {
                self.launching = false;
                self.driver_gone(format!("The driver could not be started: {error}"));
            }
            Done::Unclaimed(held) => {
                self.launching = false;
                match self.snapshot.state.is_open() {
                    true => self.line_up(held),
                    false => self.driver_gone(self.reason.clone().unwrap_or_default()),
                }
            }
            Done::ResultStored(statement) => self.result_stored(statement).await,
            Done::Deleted { stored, reply } => {
                if stored.is_ok() && !self.deleted {
                    self.deleted = true;
                    crate::kill_point!("delete.marked");
                    self.shared.sessions.forget(self.id);
                    self.shared.outputs.forget(self.id);
                    self.end("It was deleted.".to_owned()).await;
                }
                let _ = reply.send(stored);
            }
            Done::Diagnosed(sentence) => self.driver_gone(sentence),
        }
    }

    /// It is the session's turn.
    pub(super) fn admitted(&mut self, held: Result<Held, String>) {
        self.turn = None;
        self.waiting = None;
        match held {
            Ok(held) if self.snapshot.state.is_open() => self.launch(held),
            Ok(_) => {}
            Err(why) => self.driver_gone(why),
        }
    }

    /// Takes a warm driver, or launches one, once it may start.
    fn launch(&mut self, held: Held) {
        let mut spec = self.request.driver.clone();
        spec.user = self.request.user().map(str::to_owned);
        if spec.app_name.is_empty() {
            spec.app_name = format!("firesteel-session-{}", self.id);
        }
        // One that waited looks again. What asks for GPUs has its own by now.
        let again = || {
            let user = self.request.user();
            self.shared.pool.reserve(&spec, user, None, held.may_start())
        };
        let may_look = self.request.gpus.is_none();
        let warm = self.warm.take().or_else(|| may_look.then(again).flatten());
        let (shared, session) = (Arc::clone(&self.shared), self.id);
        match warm {
            Some(warm) => {
                self.launching = true;
                self.start_passed("queue");
                self.work
                    .push(Box::pin(claimed(shared, session, spec, held, warm)));
            }
            None if held.may_start() => {
                self.launching = true;
                self.start_passed("queue");
                self.work.push(Box::pin(async move {
                    Done::Launched(with_driver(&shared, session, spec, held).await.map(Box::new))
                }));
            }
            None => self.line_up(held),
        }
    }

    /// Waits until its driver may start.
    fn line_up(&mut self, held: Held) {
        let waits = self.shared.starts.session(self.request.owner.as_deref());
        if !waits.has_come() {
            self.note(waits.notice());
            self.publish();
        }
        self.turn = Some(Box::pin(async move { Ok(held.with_start(waits.come().await)) }));
    }

    async fn launched(&mut self, launched: Launched) {
        let Launched { driver, events, held } = launched;
        crate::kill_point!("create.named");
        self.launching = false;
        self.start_passed("spawn");
        self.ready_by = Some(self.start_limit());
        if !self.snapshot.state.is_open() {
            driver.kill().await;
        }
        self.has_driver(driver, events);
        self.holds(held);
        self.write_notes();
        self.publish();
    }

    /// A phase of the start has ended: it is counted, and told to those who watch.
    fn start_passed(&mut self, name: &'static str) {
        if let Some(took) = self.start.passed(name) {
            self.feed.started(Phase { name, took });
        }
    }

    /// The same for a phase that is counted elsewhere.
    pub(super) fn start_step(&mut self, name: &'static str) {
        if let Some(took) = self.start.step(name) {
            self.feed.started(Phase { name, took });
        }
    }

    /// When a driver that begins now must be ready, and the sentence for one that is not.
    pub(super) fn start_limit(&self) -> (Instant, String) {
        let limit = self.shared.config.session.start_timeout;
        let sentence = format!("The driver was not ready within {limit} (session.start_timeout).");
        (Instant::now() + limit.get(), sentence)
    }

    /// Takes back a driver of an earlier server: it calls, or its end is told.
    pub(super) async fn adopted(&mut self, driver: Driver, events: Events, held: Held) {
        let config = &self.shared.config.session;
        let (wait, key) = if self.was_ready {
            (config.recover_timeout.get(), "session.recover_timeout")
        } else {
            // At least the time that its agent may take to call.
            let left = config.start_timeout.get().saturating_sub(self.age);
            (left.max(config.watch_interval.get()), "session.start_timeout")
        };
        let sentence = format!("The driver that an earlier server started did not call in time ({key}).");
        self.ready_by = Some((Instant::now() + wait, sentence));
        self.holds(held);
        self.is_unsure = true;
        if !self.snapshot.state.is_open() {
            driver.kill().await;
        }
        self.has_driver(driver, events);
        self.note("The server was restarted and takes this session back.".to_owned());
    }

    fn has_driver(&mut self, driver: Driver, events: Events) {
        self.events = Some(events);
        self.snapshot.run_dir = Some(driver.run_dir.clone());
        self.snapshot.driver = Some(driver.clone());
        self.driver = Some(driver);
    }

    /// Ends the session: asks its driver, where there is one.
    pub(super) async fn end(&mut self, reason: String) {
        self.reason.get_or_insert(reason.clone());
        self.apply(SessionEvent::Stop);
        match &self.driver {
            Some(driver) if self.was_ready => driver.stop().await,
            // Its agent can't stop a context that it does not have yet.
            Some(driver) => driver.kill().await,
            // Its launch is under way: it is stopped when it is there.
            None if self.launching => {}
            None => self.driver_gone(reason),
        }
    }

    /// Nothing of the driver is left, or none was ever started.
    pub(super) fn driver_gone(&mut self, why: String) {
        if self.ended.is_some() {
            return;
        }
        // Another may start, but the GPUs are free only once the store knows that nothing of the driver is left.
        let lease = std::mem::take(&mut self.held).into_lease();
        let gone = self.driver.take().map(|driver| (driver, lease));
        if let Some((driver, _)) = &gone {
            self.shared.drivers.forget(driver);
            crate::kill_point!("delete.reaped");
        }
        self.snapshot.driver = None;
        self.turn = None;
        if !self.deleted {
            self.note(format!("The session has ended: {why}"));
            if let Some(running) = self.running.take_if(|running| !running.answered) {
                self.finish(&running.statement.lost(&why));
            }
            for statement in std::mem::take(&mut self.queue) {
                self.finish(&statement.cancelled());
            }
            self.snapshot.diagnosis = Some(why.into());
        } else {
            // One that came meanwhile.
            self.shared.outputs.forget(self.id);
        }
        self.ended = Some(Instant::now());
        self.age = Duration::ZERO;
        self.apply_and_clear(SessionEvent::DriverGone, gone);
    }

    /// Looks at the session's times.
    pub(super) async fn watch(&mut self) {
        if !self.snapshot.state.is_open() {
            return;
        }
        self.watch_line();
        if let Some((_, sentence)) = self.ready_by.take_if(|(by, _)| Instant::now() > *by) {
            self.reason.get_or_insert(sentence);
            if let Some(driver) = &self.driver {
                driver.kill().await;
            }
        }
        if self.reason.is_some() {
            // It is ending.
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
            life: self.age + self.begun.elapsed(),
            idle: is_idle.then(|| self.contacts.inactive()),
            unheard: self.contacts.unheard(),
        };
        if let Some(sentence) = overdue(limits, ages) {
            self.end(sentence).await;
        } else {
            self.watch_gpus(is_idle).await;
        }
    }
}

/// Takes the warm driver.
async fn claimed(
    shared: Arc<Shared>,
    session: i64,
    spec: DriverSpec,
    held: Held,
    warm: Box<Reserved>,
) -> Done {
    match warm.claim(session, &spec.app_name).await {
        Outcome::Taken(driver, events, lease) => {
            let mut held = held.with_lease(lease);
            held.launched(driver.id, &shared.gpus);
            Done::Launched(Ok(Box::new(Launched {
                driver,
                events: *events,
                held,
            })))
        }
        Outcome::Not(lease) => Done::Unclaimed(held.with_lease(lease)),
    }
}

/// Launches the session's own driver.
async fn with_driver(
    shared: &Arc<Shared>,
    session: i64,
    mut spec: DriverSpec,
    mut held: Held,
) -> std::io::Result<Launched> {
    let id = Uuid::new_v4();
    held.launched(id, &shared.gpus);
    spec.gpus = shared.gpus.mask(held.gpus());
    // Stored first: a server that dies between the two leaves a row without a driver, never a driver without a row.
    let row = DriverRow {
        id: id.to_string(),
        session_id: Some(session),
        batch_id: None,
        epoch: shared.store.epoch(),
        created: now_ms(),
        gpus: stored(held.gpus()),
        cluster: spec.cluster.clone(),
        remote: shared.drivers.runs_in_cluster(&spec).unwrap_or_default(),
    };
    shared.store.insist(Op::InsertDriver(Box::new(row))).await;
    let drivers = Arc::clone(&shared.drivers);
    let launched = shared
        .background
        .blocking(move || drivers.launch(id, &spec))
        .await;
    let (driver, events) = launched.map_err(std::io::Error::other)??;
    Ok(Launched { driver, events, held })
}

/// Clears what a driver that has ended has on disk, and closes its row. A deleted session's log goes too.
pub(super) async fn clear(shared: &Shared, driver: Driver, deleted: bool) {
    driver::clear(driver.run_dir, deleted, &shared.background).await;
    crate::kill_point!("delete.files_removed");
    let op = Op::EndDriver {
        id: driver.id.to_string(),
        at: now_ms(),
    };
    shared.store.insist(op).await;
    crate::kill_point!("delete.row_closed");
}
