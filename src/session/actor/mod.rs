//! The actor that owns one session: its state, its queue, its driver. Everything that changes a session comes through here, one
//! thing at a time; readers see snapshots.
//!
//! No handler of this loop waits for the driver or for a person. What takes time (the store's commit, starting a driver, reading
//! a log) goes on beside it and comes back as [`Done`].
//!
//! Here: the loop, and the one function that changes the state. `commands` has what clients ask, `driving` the driver's side, `life` the
//! beginning and the end.

mod commands;
mod driving;
mod gpus;
mod life;
mod spans;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use self::spans::Spans;
use super::command::{Command, SubmitError, Submitted};
use super::feed::Feed;
use super::handle::Session;
use super::request::NewSession;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::state::{SessionEvent, SessionState};
use super::statement::Statement;
use super::times::Contacts;
use crate::clock::now_ms;
use crate::driver::{self, Driver, DriverEvent, Events};
use crate::gpu::{Lease, Waiting};
use crate::metrics::{self, StartClock};
use crate::ownership::Share;
use crate::pool::Reserved;
use crate::store::{Op, StoreError};
use crate::traces::Span;
use crate::turn::{Held, Turn};

/// Lines that the server adds to one session's log, at most; the oldest go.
const NOTES: usize = 200;

/// What a client waits for: that its request is stored.
type Reply = oneshot::Sender<Result<(), StoreError>>;
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that went on beside the loop has ended.
enum Done {
    Launched(std::io::Result<Box<Launched>>),
    /// No warm driver was to be had after all.
    Unclaimed(Held),
    ResultStored(Arc<Statement>),
    Deleted {
        stored: Result<(), StoreError>,
        reply: Reply,
    },
    Diagnosed(String),
    Nothing,
}

/// A driver that was launched for the session, or that it has taken.
struct Launched {
    driver: Driver,
    events: Events,
    held: Held,
}

/// A statement whose row has been written, or not.
struct Accepted {
    since: Instant,
    stored: Result<(), StoreError>,
    statement: Arc<Statement>,
    reply: oneshot::Sender<Result<Submitted, SubmitError>>,
}

struct Running {
    statement: Arc<Statement>,
    /// When it was handed to the driver, until that tells that it has begun.
    sent: Option<Instant>,
    cancel_asked: bool,
    /// Its result has come and is being stored: nothing else ends it.
    answered: bool,
}

/// How an actor begins.
#[derive(Debug)]
pub(super) enum Begin {
    /// A driver is launched when it is the session's turn, unless this one waits for it.
    Queued(Turn, Option<Box<Reserved>>),
    /// An earlier server launched a driver, which is taken back.
    Adopted {
        driver: Driver,
        events: Events,
        held: Held,
    },
    /// It ended under an earlier server, and is shown for a while yet.
    Ended,
}

/// What a session has behind it when its actor begins; nothing for a new one.
#[derive(Debug)]
pub(super) struct Past {
    pub snapshot: Snapshot,
    /// Statements and jobs without an end, oldest first.
    pub statements: VecDeque<Arc<Statement>>,
    pub next_statement: i64,
    pub next_job: i64,
    /// True once its driver was ready.
    pub was_ready: bool,
    /// Why it was ending already.
    pub reason: Option<String>,
    /// How long it has lived, or, once it has ended, how long ago that was.
    pub age: Duration,
    /// With whom it is shared.
    pub shares: Vec<Share>,
}

impl Past {
    pub(super) fn none(request: &NewSession) -> Self {
        let mut snapshot = Snapshot::new(SessionState::Starting);
        snapshot.notes = Arc::new(request.notes.clone());
        Self {
            snapshot,
            statements: VecDeque::new(),
            next_statement: 0,
            next_job: -1,
            was_ready: false,
            reason: None,
            age: Duration::ZERO,
            shares: Vec::new(),
        }
    }
}

pub(super) struct Actor {
    id: i64,
    request: NewSession,
    shared: Arc<Shared>,
    contacts: Arc<Contacts>,
    commands: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<Snapshot>>,
    feed: Arc<Feed>,
    snapshot: Snapshot,
    accepting: FuturesOrdered<Work<Accepted>>,
    work: FuturesUnordered<Work<Done>>,
    /// Its turn, while it waits for it. Dropping it leaves the queue.
    turn: Option<Work<Result<Held, String>>>,
    /// The driver that waits for it.
    warm: Option<Box<Reserved>>,
    /// Its place in the line for GPUs.
    waiting: Option<Waiting>,
    held: Held,
    driver: Option<Driver>,
    events: Option<Events>,
    queue: VecDeque<Arc<Statement>>,
    running: Option<Running>,
    /// The number of the driver's last frame that was taken.
    taken: u64,
    /// Whether a result that it brought is being stored.
    storing: bool,
    /// Whether an earlier server may have handed it the first statement of the queue: it has not told yet.
    is_unsure: bool,
    recent: VecDeque<Arc<Statement>>,
    next_statement: i64,
    next_job: i64,
    was_ready: bool,
    begun: Instant,
    start: StartClock,
    spans: Spans,
    /// How long it had lived before this server, or how long ago it had ended.
    age: Duration,
    launching: bool,
    /// When its driver must be ready, and the sentence for one that is not.
    ready_by: Option<(Instant, String)>,
    ended: Option<Instant>,
    /// Why it ends, where this is known before the driver's log has been read.
    reason: Option<String>,
    deleted: bool,
    /// Whether its log has warned that its GPUs do nothing.
    gpus_warned: bool,
}

impl Actor {
    pub(super) fn new(
        session: &Session,
        request: NewSession,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        publish: watch::Sender<Arc<Snapshot>>,
        past: Past,
    ) -> Self {
        let is_new = past.age.is_zero();
        let start = match is_new {
            true => Spans::of_start(session.id, session.kind, request.trace),
            false => Span::default(),
        };
        Self {
            id: session.id,
            request,
            shared,
            contacts: Arc::clone(&session.contacts),
            commands,
            publish,
            feed: Arc::clone(&session.feed),
            snapshot: past.snapshot,
            accepting: FuturesOrdered::new(),
            work: FuturesUnordered::new(),
            turn: None,
            warm: None,
            waiting: None,
            held: Held::default(),
            driver: None,
            events: None,
            queue: past.statements,
            running: None,
            taken: 0,
            storing: false,
            is_unsure: false,
            recent: VecDeque::new(),
            next_statement: past.next_statement,
            next_job: past.next_job,
            was_ready: past.was_ready,
            begun: Instant::now(),
            start: StartClock::begin(is_new, start),
            spans: Spans::default(),
            age: past.age,
            launching: false,
            ready_by: None,
            ended: None,
            reason: past.reason,
            deleted: false,
            gpus_warned: false,
        }
    }

    /// Runs until the session is deleted or has been shown long enough after its end, or the server stops.
    pub(super) async fn run(mut self, begin: Begin) {
        match begin {
            Begin::Queued(turn, warm) => {
                self.warm = warm;
                self.waiting = turn.waiting();
                self.turn = Some(Box::pin(turn.come()));
            }
            Begin::Adopted { driver, events, held } => self.adopted(driver, events, held).await,
            Begin::Ended => self.ended = Some(self.begun),
        }
        self.publish();
        let mut tick = tokio::time::interval(self.shared.config.session.watch_interval.get());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.shared.background.stopping().clone();
        while !self.is_over() {
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command).await,
                held = next_turn(&mut self.turn) => self.admitted(held),
                event = next_event(&mut self.events) => match event {
                    // The driver's task ends with the server as well: that is no end of the driver.
                    None if stopping.is_cancelled() => break,
                    event => self.driver_event(event).await,
                },
                Some(accepted) = self.accepting.next() => self.accepted(accepted).await,
                Some(done) = self.work.next() => self.done(done).await,
                _ = tick.tick() => self.watch().await,
                () = stopping.cancelled() => break,
            }
        }
        if self.ended.is_none() {
            // The server stops and the driver goes on; the next server takes it from here.
            self.spans.leave();
            return;
        }
        self.shared.sessions.forget(self.id);
        self.feed.close();
        if let Some(run_dir) = self.snapshot.run_dir.take().filter(|_| self.deleted) {
            // Its log, where it had ended before it was deleted.
            driver::clear(run_dir, true, &self.shared.background).await;
        }
    }

    fn is_over(&self) -> bool {
        let shown = self.shared.config.session.ended_shown.get();
        let ended = self
            .ended
            .is_some_and(|ended| self.deleted || ended.elapsed() + self.age >= shown);
        ended && self.work.is_empty() && self.accepting.is_empty()
    }

    // The one place where the state changes.

    /// Changes the state as the table says: checks, logs, stores, publishes. False where the event can't happen now.
    fn apply(&mut self, event: SessionEvent) -> bool {
        self.apply_and_clear(event, None)
    }

    /// As [`Actor::apply`]; what `gone` has on disk is cleared once the change is stored: until then the next server needs it to
    /// know that there was a driver.
    fn apply_and_clear(&mut self, event: SessionEvent, gone: Option<(Driver, Option<Lease>)>) -> bool {
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
        if next == SessionState::Idle {
            self.start.ready();
        }
        if next == SessionState::Dead {
            let outcome = match old {
                SessionState::ShuttingDown => "stopped",
                SessionState::Starting => "not_started",
                _ => "died",
            };
            metrics::SESSIONS_ENDED.with_label_values(&[outcome]).inc();
            self.start.failed(outcome);
            self.link_history();
        }
        self.feed.state(next);
        let ended = (next == SessionState::Dead).then(now_ms);
        // Which of idle and busy it is follows from the statements: the store has one word for both.
        let op = (!is_toggle && !self.deleted).then(|| Op::UpdateSession {
            id: self.id,
            epoch: self.shared.store.epoch(),
            state: next.as_str().to_owned(),
            app_id: self.snapshot.app_id.clone(),
            ui_url: self.snapshot.ui_url.clone(),
            // One that is ending is ended by the next server for the same reason.
            diagnosis: self
                .snapshot
                .diagnosis
                .as_deref()
                .or(self.reason.as_deref())
                .map(str::to_owned),
            ended,
            request: ended.and_then(|_| self.request.without_secrets()),
        });
        if op.is_some() || gone.is_some() {
            let (shared, deleted) = (Arc::clone(&self.shared), self.deleted);
            self.work.push(Box::pin(async move {
                if let Some(op) = op {
                    shared.store.insist(op).await;
                    if next == SessionState::Idle {
                        crate::kill_point!("create.idle_stored");
                    }
                }
                if let Some((driver, lease)) = gone {
                    life::clear(&shared, driver, deleted).await;
                    drop(lease);
                }
                Done::Nothing
            }));
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
        self.write_notes();
    }

    /// Writes what the server adds to the log beside the driver's own, for a later server. A few short lines at most.
    fn write_notes(&self) {
        let Some(run_dir) = self.snapshot.run_dir.as_ref().filter(|_| self.ended.is_none()) else {
            return;
        };
        if let Err(error) = run_dir.replace("notes", self.snapshot.notes.join("\n").as_bytes()) {
            warn!(session.id = self.id, %error, "a line of the log could not be written");
        }
    }

    /// Stores beside the loop and then answers. One that fails is answered so, and tried again all the same: what it stores has
    /// happened already.
    fn store_and_reply(&self, op: Op, reply: Reply) {
        let store = self.shared.store.clone();
        self.work.push(Box::pin(async move {
            let stored = store.write(op.clone()).await;
            let failed = stored.is_err();
            crate::kill_point!("cancel.stored");
            let _ = reply.send(stored);
            if failed {
                store.insist(op).await;
            }
            Done::Nothing
        }));
    }

    /// Has the link to Spark's UI lead to the history server, where that shows the application: a driver's own UI ends with it.
    fn link_history(&mut self) {
        let url = self.snapshot.app_id.as_deref();
        let url = url.and_then(|id| self.shared.drivers.history_url(&self.request.driver, id));
        if url.is_some() || self.shared.drivers.runs_in_cluster(&self.request.driver) != Some(true) {
            self.snapshot.ui_url = url;
        }
    }

    /// Stores where the session's application is now.
    fn store_application(&self) {
        if self.deleted || !matches!(self.snapshot.state, SessionState::Idle | SessionState::Busy) {
            return;
        }
        self.store_later(Op::UpdateSession {
            id: self.id,
            epoch: self.shared.store.epoch(),
            // The store has one word for both.
            state: SessionState::Idle.as_str().to_owned(),
            app_id: self.snapshot.app_id.clone(),
            ui_url: self.snapshot.ui_url.clone(),
            diagnosis: None,
            ended: None,
            request: None,
        });
    }

    /// Stores beside the loop; tries again until it is stored or the server stops.
    fn store_later(&self, op: Op) {
        let store = self.shared.store.clone();
        self.work.push(Box::pin(async move {
            store.insist(op).await;
            Done::Nothing
        }));
    }
}

/// The session's turn; waits for ever where it does not wait for one.
async fn next_turn(turn: &mut Option<Work<Result<Held, String>>>) -> Result<Held, String> {
    match turn {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

/// The driver's next event; waits for ever without a driver. None: its task has ended, and the driver with it.
async fn next_event(events: &mut Option<Events>) -> Option<(u64, DriverEvent)> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
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
