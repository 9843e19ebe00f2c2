//! The actor that owns one session: its state, its queue, its driver. Everything that changes a session comes through here, one
//! thing at a time; readers see snapshots.
//!
//! No handler of this loop waits for the driver or for a person. What takes time (the store's commit, starting a driver, reading
//! a log) goes on beside it and comes back as [`Done`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::admission::Ticket;
use super::handle::Contacts;
use super::kind::Kind;
use super::registry::Shared;
use super::request::NewSession;
use super::snapshot::{RECENT, RECENT_BYTES, Snapshot};
use super::state::{SessionEvent, SessionState, StatementState};
use super::statement::Statement;
use crate::clock::now_ms;
use crate::driver::{Driver, DriverEvent, StatementResult, diagnose};
use crate::store::{DriverRow, Op, Store, StoreError};

/// Lines that the server adds to one session's log, at most; the oldest go.
const NOTES: usize = 200;
/// Between two tries of a write that must not be lost.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What others ask of a session.
#[derive(Debug)]
pub(super) enum Command {
    Submit {
        code: Arc<str>,
        kind: Kind,
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    },
    Cancel {
        id: i64,
        reply: oneshot::Sender<()>,
    },
    Interrupt {
        reply: oneshot::Sender<()>,
    },
    Delete {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    End {
        reason: String,
    },
}

/// A statement that was accepted.
#[derive(Debug)]
pub(super) struct Submitted {
    pub statement: Arc<Statement>,
    /// True when nothing stands before it: its result may come at once.
    pub is_next: bool,
}

/// Why a statement was not accepted. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The session takes no more statements.
    #[error("Session is in state {0}")]
    Ended(SessionState),
    /// `limits.statements_waiting` are waiting.
    #[error("{0} statements wait in this session (limits.statements_waiting)")]
    QueueFull(usize),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that went on beside the loop has ended.
enum Done {
    Admitted(OwnedSemaphorePermit),
    Launched(std::io::Result<(Driver, mpsc::Receiver<(u64, DriverEvent)>)>),
    ResultStored {
        seq: u64,
        statement: Arc<Statement>,
    },
    Deleted {
        stored: Result<(), StoreError>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Diagnosed(String),
    Nothing,
}

/// A statement whose row has been written, or not.
struct Accepted {
    stored: Result<(), StoreError>,
    statement: Arc<Statement>,
    reply: oneshot::Sender<Result<Submitted, SubmitError>>,
}

struct Running {
    statement: Arc<Statement>,
    cancel_asked: bool,
}

pub(super) struct Actor {
    id: i64,
    request: NewSession,
    shared: Arc<Shared>,
    contacts: Arc<Contacts>,
    commands: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<Snapshot>>,
    snapshot: Snapshot,
    accepting: FuturesOrdered<Work<Accepted>>,
    work: FuturesUnordered<Work<Done>>,
    permit: Option<OwnedSemaphorePermit>,
    driver: Option<Driver>,
    events: Option<mpsc::Receiver<(u64, DriverEvent)>>,
    queue: VecDeque<Arc<Statement>>,
    running: Option<Running>,
    recent: VecDeque<Arc<Statement>>,
    next_statement: i64,
    was_ready: bool,
    created: i64,
    launched: Option<Instant>,
    ended: Option<Instant>,
    /// Why it ends, where this is known before the driver's log has been read.
    reason: Option<String>,
    deleted: bool,
}

impl Actor {
    pub(super) fn new(
        id: i64,
        request: NewSession,
        shared: Arc<Shared>,
        contacts: Arc<Contacts>,
        commands: mpsc::Receiver<Command>,
        publish: watch::Sender<Arc<Snapshot>>,
    ) -> Self {
        let mut snapshot = Snapshot::new(SessionState::Starting);
        snapshot.notes = Arc::new(request.notes.clone());
        Self {
            id,
            request,
            shared,
            contacts,
            commands,
            publish,
            snapshot,
            accepting: FuturesOrdered::new(),
            work: FuturesUnordered::new(),
            permit: None,
            driver: None,
            events: None,
            queue: VecDeque::new(),
            running: None,
            recent: VecDeque::new(),
            next_statement: 0,
            was_ready: false,
            created: now_ms(),
            launched: None,
            ended: None,
            reason: None,
            deleted: false,
        }
    }

    /// Runs until the session is deleted, or has been shown long enough after its end.
    pub(super) async fn run(mut self, ticket: Ticket) {
        if let Some(notice) = ticket.notice() {
            self.note(notice);
        }
        self.publish();
        self.work.push(Box::pin(async {
            match ticket.admitted().await {
                Some(permit) => Done::Admitted(permit),
                None => Done::Nothing,
            }
        }));
        let mut tick = tokio::time::interval(self.shared.config.session.watch_interval.get());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.shared.background.stopping().clone();
        while !self.is_over() {
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command).await,
                event = next_event(&mut self.events) => self.driver_event(event).await,
                Some(accepted) = self.accepting.next() => self.accepted(accepted).await,
                Some(done) = self.work.next() => self.done(done).await,
                _ = tick.tick() => self.watch().await,
                () = stopping.cancelled() => return,
            }
        }
        self.shared.sessions.remove(self.id, &self.request);
        if let Some(run_dir) = self.snapshot.run_dir.take() {
            let removed = self.shared.background.blocking(move || run_dir.remove()).await;
            if let Ok(Err(error)) = removed {
                warn!(session.id = self.id, %error, "a run directory could not be removed");
            }
        }
    }

    fn is_over(&self) -> bool {
        let shown = self.shared.config.session.ended_shown.get();
        let ended = self
            .ended
            .is_some_and(|ended| self.deleted || ended.elapsed() >= shown);
        ended && self.work.is_empty() && self.accepting.is_empty()
    }

    // The one place where the state changes.

    /// Changes the state as the table says: checks, logs, stores, publishes. False where the event can't happen now.
    fn apply(&mut self, event: SessionEvent) -> bool {
        let Some(next) = self.snapshot.state.after(event) else {
            return false;
        };
        let old = self.snapshot.state;
        let is_toggle = [old, next]
            .iter()
            .all(|state| matches!(state, SessionState::Idle | SessionState::Busy));
        if is_toggle {
            debug!(session.id = self.id, %old, new = %next, "the session's state changed");
        } else {
            info!(session.id = self.id, %old, new = %next, "the session's state changed");
        }
        self.snapshot.state = next;
        let ended = (next == SessionState::Dead).then(now_ms);
        // Which of idle and busy it is follows from the statements: the store has one word for both.
        if !is_toggle && !self.deleted {
            self.store_later(Op::UpdateSession {
                id: self.id,
                epoch: self.shared.store.epoch(),
                state: next.as_str().to_owned(),
                app_id: self.snapshot.app_id.clone(),
                ui_url: self.snapshot.ui_url.clone(),
                diagnosis: self.snapshot.diagnosis.as_deref().map(str::to_owned),
                ended,
            });
        }
        self.publish();
        true
    }

    fn publish(&mut self) {
        let live = self
            .running
            .iter()
            .map(|running| &running.statement)
            .chain(&self.queue);
        self.snapshot.live = Arc::new(live.cloned().collect());
        self.publish.send_replace(Arc::new(self.snapshot.clone()));
    }

    fn note(&mut self, line: String) {
        let notes = Arc::make_mut(&mut self.snapshot.notes);
        if notes.len() >= NOTES {
            notes.remove(0);
        }
        notes.push(line);
    }

    /// Stores in the order of the calls; tries again until it is stored or the server stops.
    fn store_later(&self, op: Op) {
        let store = self.shared.store.clone();
        self.work.push(Box::pin(async move {
            store_for_sure(&store, op).await;
            Done::Nothing
        }));
    }

    // Commands.

    async fn command(&mut self, command: Command) {
        match command {
            Command::Submit { code, kind, reply } => self.submit(code, kind, reply).await,
            Command::Cancel { id, reply } => {
                self.cancel(id).await;
                let _ = reply.send(());
            }
            Command::Interrupt { reply } => {
                if let Some(running) = self.running.as_ref().map(|running| running.statement.id) {
                    self.cancel(running).await;
                }
                let _ = reply.send(());
            }
            Command::Delete { reply } => {
                let store = self.shared.store.clone();
                let state = SessionState::Dead.as_str().to_owned();
                let op = Op::DeleteSession {
                    id: self.id,
                    state,
                    at: now_ms(),
                };
                self.work.push(Box::pin(async move {
                    Done::Deleted {
                        stored: store.write(op).await,
                        reply,
                    }
                }));
            }
            Command::End { reason } => self.end(reason).await,
        }
    }

    async fn submit(
        &mut self,
        code: Arc<str>,
        kind: Kind,
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    ) {
        let limit = self.shared.config.limits.statements_waiting;
        let refusal = if !self.snapshot.state.is_open() || self.deleted {
            Some(SubmitError::Ended(self.snapshot.state))
        } else if self.queue.len() + self.accepting.len() >= limit {
            Some(SubmitError::QueueFull(limit))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let statement = Arc::new(Statement::new(self.next_statement, code, kind));
        self.next_statement += 1;
        let answer = self.shared.store.submit(statement.insert(self.id)).await;
        self.accepting.push_back(Box::pin(async move {
            let stored = match answer {
                Ok(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
                Err(error) => Err(error),
            };
            Accepted {
                stored,
                statement,
                reply,
            }
        }));
    }

    async fn accepted(
        &mut self,
        Accepted {
            stored,
            statement,
            reply,
        }: Accepted,
    ) {
        if let Err(error) = stored {
            let _ = reply.send(Err(error.into()));
            return;
        }
        if !self.snapshot.state.is_open() {
            // It ended between the write and its commit: the statement is stored, and so it is told how it ended.
            let _ = reply.send(Err(SubmitError::Ended(self.snapshot.state)));
            self.finish(&statement.cancelled());
            return;
        }
        let id = statement.id;
        let is_next =
            self.snapshot.state == SessionState::Idle && self.queue.is_empty() && self.running.is_none();
        self.queue.push_back(Arc::clone(&statement));
        self.dispatch().await;
        let statement = self.snapshot.live(id).cloned().unwrap_or(statement);
        let _ = reply.send(Ok(Submitted { statement, is_next }));
    }

    async fn cancel(&mut self, id: i64) {
        let waiting = self.queue.iter().position(|statement| statement.id == id);
        if let Some(statement) = waiting.and_then(|at| self.queue.remove(at)) {
            self.finish(&statement.cancelled());
            self.publish();
            return;
        }
        let running = self
            .running
            .as_mut()
            .filter(|running| running.statement.id == id && !running.cancel_asked);
        if let Some(running) = running {
            running.cancel_asked = true;
            let statement = Statement {
                state: StatementState::Cancelling,
                ..(*running.statement).clone()
            };
            running.statement = Arc::new(statement);
            if let Some(driver) = &self.driver {
                driver.cancel(id).await;
            }
            self.publish();
        }
    }

    // The driver.

    /// Hands the next statement to the driver, if it has none; without a next one the session is idle.
    async fn dispatch(&mut self) {
        let ready = matches!(self.snapshot.state, SessionState::Idle | SessionState::Busy);
        if ready && self.running.is_none() {
            if let (Some(driver), Some(statement)) = (self.driver.clone(), self.queue.pop_front()) {
                let statement = Arc::new(statement.sent());
                driver
                    .run(statement.id, statement.kind.as_str(), Arc::clone(&statement.code))
                    .await;
                self.running = Some(Running {
                    statement,
                    cancel_asked: false,
                });
                self.apply(SessionEvent::StatementSent);
            } else {
                self.apply(SessionEvent::QueueEmpty);
            }
        }
        self.publish();
    }

    async fn driver_event(&mut self, event: Option<(u64, DriverEvent)>) {
        let (seq, event) = event.unwrap_or((0, DriverEvent::Exited { exit: None }));
        match event {
            DriverEvent::Ready {
                app_id,
                ui_url,
                spark_version,
            } => {
                info!(
                    session.id = self.id,
                    ?app_id,
                    ?spark_version,
                    "the driver is ready"
                );
                self.snapshot.app_id = app_id;
                self.snapshot.ui_url = ui_url;
                self.was_ready = true;
                self.contacts.activity.store(now_ms(), Ordering::Relaxed);
                self.apply(SessionEvent::DriverReady);
                self.dispatch().await;
            }
            DriverEvent::Failed { reason } => self.reason = Some(one_line(&reason)),
            DriverEvent::Started { id, at } => self.update_running(id, |statement| statement.started = at),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share of tasks, shown with a few digits"
            )]
            DriverEvent::Progress { id, done, total } => self.update_running(id, |statement| {
                statement.progress = done as f64 / total.max(1) as f64;
            }),
            DriverEvent::Notice { text } => {
                self.note(one_line(&text));
                self.publish();
            }
            DriverEvent::Result(result) => {
                if self.result(seq, *result) {
                    // Acknowledged once it is stored.
                    return;
                }
            }
            DriverEvent::Exited { exit } => {
                self.events = None;
                let was_ready = self.was_ready;
                match self.reason.clone() {
                    _ if self.deleted => self.driver_gone(String::new()),
                    Some(reason) => self.driver_gone(reason),
                    None => {
                        let snapshot = self.snapshot.clone();
                        let background = self.shared.background.clone();
                        self.work.push(Box::pin(async move {
                            let read = move || diagnose(exit.as_ref(), &snapshot.log(), was_ready);
                            let sentence = background.blocking(read).await;
                            Done::Diagnosed(sentence.unwrap_or_else(|_| "The driver ended.".to_owned()))
                        }));
                    }
                }
            }
        }
        if let Some(driver) = &self.driver {
            driver.stored(seq).await;
        }
    }

    fn update_running(&mut self, id: i64, change: impl FnOnce(&mut Statement)) {
        if let Some(running) = self.running.as_mut().filter(|running| running.statement.id == id) {
            change(Arc::make_mut(&mut running.statement));
            self.publish();
        }
    }

    /// Stores the running statement's result; false for a result of another statement, which is nobody's.
    fn result(&mut self, seq: u64, result: StatementResult) -> bool {
        let Some(running) = self
            .running
            .as_ref()
            .filter(|running| running.statement.id == result.id)
        else {
            warn!(
                session.id = self.id,
                statement.id = result.id,
                "a result came that was not waited for"
            );
            return false;
        };
        let statement = Arc::new(running.statement.ended(result));
        let (store, op) = (self.shared.store.clone(), statement.end(self.id));
        self.work.push(Box::pin(async move {
            store_for_sure(&store, op).await;
            Done::ResultStored { seq, statement }
        }));
        true
    }

    async fn result_stored(&mut self, seq: u64, statement: Arc<Statement>) {
        if let Some(driver) = &self.driver {
            driver.stored(seq).await;
        }
        // Gone where the driver's end has been told meanwhile.
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.statement.id == statement.id)
        {
            self.running = None;
            self.contacts.activity.store(now_ms(), Ordering::Relaxed);
            self.remember(statement);
            self.drop_old_statements();
            self.dispatch().await;
        }
    }

    /// A statement that ends without the driver's word.
    fn finish(&mut self, statement: &Statement) {
        self.store_later(statement.end(self.id));
        self.remember(Arc::new(statement.clone()));
    }

    fn remember(&mut self, statement: Arc<Statement>) {
        if statement.output.as_ref().map_or(0, |output| output.get().len()) > RECENT_BYTES {
            return;
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(statement);
        self.snapshot.recent = Arc::new(self.recent.iter().cloned().collect());
    }

    fn drop_old_statements(&mut self) {
        let kept = i64::try_from(self.shared.config.statement.kept).unwrap_or(i64::MAX);
        let below = self.next_statement.saturating_sub(kept);
        let first_live = self.queue.front().map_or(i64::MAX, |statement| statement.id);
        if below > 0 {
            self.store_later(Op::DropStatements {
                session_id: self.id,
                below: below.min(first_live),
            });
        }
    }

    // Beginning and end.

    async fn done(&mut self, done: Done) {
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
            driver.stop().await;
        }
        self.driver = Some(driver);
        self.publish();
    }

    /// Ends the session: asks its driver, where there is one.
    async fn end(&mut self, reason: String) {
        self.reason.get_or_insert(reason.clone());
        self.apply(SessionEvent::Stop);
        let is_starting_one = self.permit.is_some() && self.launched.is_none() && self.ended.is_none();
        match &self.driver {
            Some(driver) => driver.stop().await,
            // Its launch is under way: it is stopped when it is there.
            None if is_starting_one => {}
            None => self.driver_gone(reason),
        }
    }

    /// Nothing of the driver is left, or none was ever started.
    fn driver_gone(&mut self, why: String) {
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
    async fn watch(&mut self) {
        if !self.snapshot.state.is_open() {
            return;
        }
        let now = now_ms();
        let past = |since: i64, limit: Duration| u128::try_from(now - since).unwrap_or(0) > limit.as_millis();
        let config = &self.shared.config.session;
        let start_timeout = config.start_timeout.get();
        let heartbeat = u64::try_from(self.request.echo.heartbeat_timeout_in_second).unwrap_or(0);
        let is_idle = self.snapshot.state == SessionState::Idle && self.accepting.is_empty();
        let too_slow = !self.was_ready && self.launched.is_some_and(|at| at.elapsed() > start_timeout);
        if too_slow && self.reason.is_none() {
            let limit = config.start_timeout;
            self.reason = Some(format!(
                "The driver was not ready within {limit} (session.start_timeout)."
            ));
            if let Some(driver) = &self.driver {
                driver.kill().await;
            }
        } else if let Some(ttl) = self.request.ttl.filter(|ttl| past(self.created, *ttl)) {
            self.end(format!(
                "The session's time to live is over ({}).",
                humantime::format_duration(ttl)
            ))
            .await;
        } else if let Some(limit) = self
            .request
            .idle_timeout
            .filter(|limit| is_idle && past(self.contacts.activity.load(Ordering::Relaxed), *limit))
        {
            let limit = humantime::format_duration(limit);
            self.end(format!(
                "The session was idle for {limit} (idleTimeout, session.idle_timeout)."
            ))
            .await;
        } else if heartbeat > 0
            && past(
                self.contacts.heard.load(Ordering::Relaxed),
                Duration::from_secs(heartbeat),
            )
        {
            let sentence = format!("No client was heard of for {heartbeat} s (heartbeatTimeoutInSecond).");
            self.end(sentence).await;
        }
    }
}

/// The driver's next event; waits for ever without a driver. None: its task has ended, and the driver with it.
async fn next_event(events: &mut Option<mpsc::Receiver<(u64, DriverEvent)>>) -> Option<(u64, DriverEvent)> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes until it is written. Bounded by the store's life: a full disk may have room again, a closed store never opens.
async fn store_for_sure(store: &Store, op: Op) {
    loop {
        match store.write(op.clone()).await {
            Ok(()) | Err(StoreError::Closed) => return,
            Err(error) => {
                warn!(%error, "a write will be tried again");
                tokio::time::sleep(STORE_RETRY).await;
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(1000)
        .collect()
}
