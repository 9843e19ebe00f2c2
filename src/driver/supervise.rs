//! One task for each driver: it owns the link's numbering, keeps what the agent has not acknowledged, watches the keeper, and
//! sees to it that a driver that is asked to end does end.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::FramedRead;
use tracing::{debug, warn};

use super::cgroup::{Group, Places};
use super::event::DriverEvent;
use super::keeper_watch::Keeper;
use super::link::{Call, Connection, Frame, FrameCodec, Slot};
use super::remote::Remote;
use super::run_dir::RunDir;
use super::staging::{Remover, Staging};
use crate::background::Background;
use crate::cluster::Application;
use crate::metrics;
use crate::traces;

/// Frames that are no results and that the agent keeps because it has not been told that they are stored.
const UNACKNOWLEDGED: u64 = 32;
/// Questions that may wait for their answer.
pub(super) const QUESTIONS_WAITING: usize = 64;

/// What a session asks of its driver.
#[derive(Debug)]
pub(super) enum Command {
    Run {
        id: i64,
        kind: String,
        code: Arc<str>,
        trace: Option<traces::Context>,
    },
    Cancel {
        id: i64,
    },
    /// Send a statement's whole result on a connection of its own.
    Fetch {
        id: i64,
        ticket: String,
        limit: Option<usize>,
    },
    /// End: ask the agent, then the keeper.
    Stop,
    /// End without asking the agent.
    Kill,
    /// All frames up to this one are stored.
    Stored {
        seq: u64,
    },
}

/// A question of an HTTP handler's. It has a queue of its own, so that many can't stand in a session's way.
#[derive(Debug)]
pub(super) struct Question {
    /// Without its number, `request`.
    pub frame: Frame,
    pub answer: oneshot::Sender<Frame>,
}

pub(super) struct Supervisor {
    pub run_dir: RunDir,
    pub keeper: Keeper,
    pub slot: Arc<Slot>,
    pub commands: mpsc::Receiver<Command>,
    pub questions: mpsc::Receiver<Question>,
    pub calls: mpsc::Receiver<Call>,
    pub events: mpsc::Sender<(u64, DriverEvent)>,
    pub stop_grace: Duration,
    pub codec: FrameCodec,
    pub outbox_bytes: u64,
    pub background: Background,
    /// Where the driver's cgroup is.
    pub cgroups: Places,
    /// This server's start number.
    pub epoch: i64,
    pub link: LinkState,
    /// Whether the agent has told why it ends.
    pub has_failed: bool,
    /// For a driver that runs in a cluster: its process here is its submit alone.
    pub remote: Option<Box<Remote>>,
    /// Removes what its application leaves there.
    pub staging: Option<Remover>,
}

/// The numbering of both directions, which outlives connections.
#[derive(Default)]
pub(super) struct LinkState {
    /// Sent, not acknowledged.
    kept: VecDeque<(u64, Frame)>,
    /// The number of our last frame.
    sent: u64,
    /// The number of the last frame that came.
    received: u64,
    /// The number of the agent's last frame that it is told of at once when it is stored.
    awaited: u64,
    /// The number of the agent's last frame that it was told is stored.
    acknowledged: u64,
    /// True until the agent of an earlier server's driver has called: from where both directions count is known then.
    unnumbered: bool,
    connection: Option<Connection>,
    questions: HashMap<i64, oneshot::Sender<Frame>>,
    next_question: i64,
    /// Whether an agent has called.
    has_called: bool,
    /// When the phase of the driver's start began that is under way; none once it is ready, and for an adopted one.
    phase: Option<Instant>,
}

impl Supervisor {
    /// Runs until nothing of the driver is left.
    pub(super) async fn run(mut self) {
        self.link.phase = (!self.keeper.is_adopted).then(Instant::now);
        let mut terminate_at: Option<Instant> = None;
        let mut session_is_there = true;
        let stopping = self.background.stopping().clone();
        let application = loop {
            tokio::select! {
                () = stopping.cancelled() => return self.leave(terminate_at.is_some()),
                () = self.keeper.ended(), if !self.is_submitted() => match &mut self.remote {
                    None => break None,
                    Some(remote) => {
                        self.keeper.reap();
                        remote.submitted(self.run_dir.exit());
                        self.ask_for_log().await;
                    }
                },
                () = changed(&mut self.remote) => if let Some(over) = self.look().await {
                    break over;
                },
                Some(call) = self.calls.recv() => {
                    self.connect(call);
                    self.ask_for_log().await;
                }
                frame = read(&mut self.link.connection) => match frame {
                    Some(frame) => self.take(frame).await,
                    None => self.link.connection = None,
                },
                command = self.commands.recv(), if session_is_there => match command {
                    Some(Command::Kill) => self.terminate(),
                    Some(Command::Stop) => terminate_at = terminate_at.or_else(|| Some(self.ask_to_stop())),
                    Some(command) => self.command(command),
                    None => session_is_there = false,
                },
                Some(question) = self.questions.recv() => self.ask(question),
                () = until(terminate_at) => {
                    self.terminate();
                    terminate_at = None;
                }
            }
        };
        crate::kill_point!("delete.killed");
        self.keeper.reap();
        self.drain().await;
        if let Some(remote) = self.remote.take() {
            if let Some(remover) = &self.staging {
                remover.clear(Staging::of(&self.run_dir), application.as_deref(), None);
            }
            for event in remote.ended(application, self.has_failed, &self.background).await {
                let _ = self.events.send((0, event)).await;
            }
            return;
        }
        let exit = self.run_dir.exit();
        if exit.is_none() {
            // Its keeper could not remove the driver's cgroup.
            let group = Group::of(&self.cgroups, &self.run_dir.id());
            let _ = self.background.blocking(move || group.remove()).await;
        }
        if self.keeper.rebooted && exit.is_none() {
            let reason = "The host was restarted, which ended the driver.".to_owned();
            let _ = self.events.send((0, DriverEvent::Failed { reason })).await;
        }
        let _ = self.events.send((0, DriverEvent::Exited { exit })).await;
    }

    /// Takes what the agent sent before it ended, and what it could only leave in its outbox: a result that came with the end
    /// still counts.
    async fn drain(&mut self) {
        while let Ok(call) = self.calls.try_recv() {
            self.connect(call);
        }
        while self.link.connection.is_some()
            && let Ok(Some(frame)) =
                tokio::time::timeout(self.stop_grace, read(&mut self.link.connection)).await
        {
            self.take(frame).await;
        }
        self.link.connection = None;
        let Some(outbox) = self.open_outbox().await else {
            return;
        };
        let mut outbox = FramedRead::new(outbox, self.codec);
        // The last frame may be torn: the agent was killed while it wrote.
        while let Some(Ok(frame)) = outbox.next().await {
            self.take(frame).await;
        }
    }

    /// The outbox, at most as much of it as the agent may write. User code may have put anything in its place.
    async fn open_outbox(&self) -> Option<tokio::io::Take<tokio::fs::File>> {
        let open = async |path| {
            let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
            let mut options = tokio::fs::OpenOptions::new();
            options.read(true).custom_flags(flags).open(path).await.ok()
        };
        let file = match open(self.run_dir.own().join("outbox")).await {
            // A driver that an earlier Firesteel started has it there.
            None => open(self.run_dir.file("outbox")).await?,
            Some(file) => file,
        };
        let is_file = file.metadata().await.is_ok_and(|found| found.is_file());
        is_file.then(|| file.take(self.outbox_bytes))
    }

    /// The server stops. The driver goes on, and the next server takes it from here; one that is to end is not left to wait for that.
    fn leave(&mut self, is_asked_to_stop: bool) {
        let mut is_to_end = is_asked_to_stop;
        while let Ok(command) = self.commands.try_recv() {
            is_to_end |= matches!(command, Command::Stop | Command::Kill);
        }
        if is_to_end {
            self.terminate();
        }
    }

    fn terminate(&mut self) {
        self.keeper.terminate();
        if let Some(remote) = &mut self.remote {
            remote.is_to_end = true;
        }
        crate::kill_point!("delete.terminated");
    }

    /// Whether the driver's process here was its submit, and has ended.
    fn is_submitted(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.is_submitted())
    }

    /// Looks at what the cluster manager says; once the driver is over, its application as it was last.
    async fn look(&mut self) -> Option<Option<Arc<Application>>> {
        let background = self.background.clone();
        let seen = self.remote.as_mut()?.look(&background).await;
        for event in seen.events {
            // The session is gone only when it has been deleted: the driver is ending then.
            let _ = self.events.send((0, event)).await;
        }
        if let Some(reason) = seen.failed {
            self.has_failed = true;
            let _ = self.events.send((0, DriverEvent::Failed { reason })).await;
            self.terminate();
        }
        seen.over
    }

    /// Asks an agent in a cluster for what its driver writes, once its submit writes no more.
    async fn ask_for_log(&mut self) {
        let Some(remote) = self.remote.as_mut().filter(|remote| remote.is_submitted()) else {
            return;
        };
        if self.link.connection.is_none() {
            return;
        }
        match remote.log.open() {
            Ok([stdout, stderr]) => {
                let from = json!({"stdout": stdout, "stderr": stderr});
                self.link.write(Frame::new("log", from, ""));
            }
            Err(error) => warn!(%error, "a driver's log can't be written"),
        }
    }

    fn ask_to_stop(&mut self) -> Instant {
        self.link.send(Frame::new("stop", json!({}), ""));
        Instant::now() + self.stop_grace
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Run {
                id,
                kind,
                code,
                trace,
            } => {
                let mut fields = json!({"id": id, "kind": kind});
                if let Some(trace) = trace {
                    fields["trace"] = trace.to_string().into();
                }
                self.link
                    .send(Frame::new("run", fields, Bytes::copy_from_slice(code.as_bytes())));
                crate::kill_point!("statement.sent");
            }
            Command::Cancel { id } => {
                self.link.send(Frame::new("cancel", json!({"id": id}), ""));
                crate::kill_point!("cancel.sent");
            }
            Command::Fetch { id, ticket, limit } => {
                let fields = json!({"id": id, "ticket": ticket, "limit": limit});
                self.link.send(Frame::new("fetch", fields, ""));
            }
            Command::Stored { seq } => self.stored(seq),
            Command::Stop | Command::Kill => {}
        }
    }

    fn ask(&mut self, Question { mut frame, answer }: Question) {
        let link = &mut self.link;
        link.questions.retain(|_, waiting| !waiting.is_closed());
        if link.questions.len() >= QUESTIONS_WAITING {
            return;
        }
        link.next_question += 1;
        frame
            .header
            .insert("request".to_owned(), link.next_question.into());
        link.questions.insert(link.next_question, answer);
        link.send(frame);
    }

    /// Tells the agent what is stored: a result at once, so that the agent can forget its output, and whatever else may be its
    /// last word; that a statement has started only now and then, since each telling wakes the agent.
    fn stored(&mut self, seq: u64) {
        let stored = self.slot.stored.fetch_max(seq, Ordering::AcqRel).max(seq);
        let link = &mut self.link;
        let is_news = link.acknowledged < link.awaited && link.awaited <= stored;
        if is_news || stored >= link.acknowledged + UNACKNOWLEDGED {
            link.acknowledged = stored;
            link.write(Frame::new("ack", json!({"seq": stored}), ""));
            if is_news {
                crate::kill_point!("statement.result_acked");
            }
        }
    }

    /// A connection replaces the one before it; what the agent has not received is sent again.
    fn connect(&mut self, call: Call) {
        if std::mem::replace(&mut self.link.has_called, true) {
            metrics::LINK_RECONNECTS.inc();
        } else if let Some(began) = self.link.phase {
            self.link.phase = Some(started("jvm", began));
            // Told to who looks at the start; one that is full of news tells more than this.
            let _ = self.events.try_send((0, DriverEvent::Called));
        }
        self.link.connection = Some(call.connection);
        self.link.write(Frame::new("welcome", json!({}), ""));
        if self.link.unnumbered {
            self.link.number_from(call.received);
        } else {
            self.link.forget(call.received);
        }
        for (_, frame) in self.link.kept.clone() {
            self.link.write(frame);
        }
    }

    async fn take(&mut self, mut frame: Frame) {
        let seq = frame.seq();
        match seq {
            // The number that an ack names is one of ours.
            _ if frame.kind() == "ack" => return self.acknowledged(seq),
            0 => return self.take_unnumbered(frame).await,
            // An earlier server took those before it; what had not been acknowledged comes again.
            seq if self.link.received == 0 && self.keeper.is_adopted => self.link.received = seq,
            // Sent again after a break, and had before.
            seq if seq <= self.link.received => return,
            seq if seq == self.link.received + 1 => self.link.received = seq,
            seq => {
                warn!(
                    driver.seq = seq,
                    "a driver's frames have a gap; the connection is closed"
                );
                self.link.connection = None;
                return;
            }
        }
        // It comes with every statement, and its result follows.
        if frame.kind() != "started" {
            self.link.awaited = seq;
        }
        if frame.kind() == "result" {
            crate::kill_point!("statement.result_received");
        }
        let is_for_another = |epoch: &Value| epoch.as_i64() != Some(self.epoch);
        if frame.kind() == "ready" && frame.header.get("epoch").is_some_and(is_for_another) {
            // How far the driver had come when an earlier server was there. One for this server follows, and is acknowledged.
            return;
        }
        self.has_failed |= frame.kind() == "failed";
        if matches!(frame.kind(), "ready" | "warm")
            && let Some(began) = self.link.phase.take()
        {
            started("context", began);
        }
        match DriverEvent::read(&mut frame) {
            // The session is gone only when it has been deleted: the driver is ending then.
            Some(event) => drop(self.events.send((seq, event)).await),
            // Acknowledged with the next one.
            None => debug!(
                frame.kind = frame.kind(),
                "a frame of an unknown kind was ignored"
            ),
        }
    }

    fn acknowledged(&mut self, seq: u64) {
        self.link.forget(seq);
        crate::kill_point!("statement.acked");
    }

    /// Frames that are of use only now: neither kept nor sent again.
    async fn take_unnumbered(&mut self, mut frame: Frame) {
        match frame.kind() {
            "completion" | "added" | "environment_set" | "claimed" => {
                let waiting = frame
                    .number("request")
                    .and_then(|request| self.link.questions.remove(&request));
                if let Some(answer) = waiting {
                    let _ = answer.send(frame);
                }
            }
            // While a session does not take it, nothing is read from the link, and the agent sends no more pieces.
            "context_made" | "progress" | "output" => {
                if let Some(event) = DriverEvent::read(&mut frame) {
                    // The session is gone only when it has been deleted: the driver is ending then.
                    let _ = self.events.send((0, event)).await;
                }
            }
            "log" => {
                let from = frame.number("from").and_then(|from| u64::try_from(from).ok());
                if let (Some(remote), Some(from)) = (&mut self.remote, from)
                    && let Err(error) = remote
                        .log
                        .take(frame.text("stream").unwrap_or(""), from, &frame.body)
                {
                    warn!(%error, "a driver's log can't be written");
                }
            }
            kind => debug!(frame.kind = kind, "a frame without a number was ignored"),
        }
    }
}

/// Counts a phase of a driver's start, and gives when the next begins.
fn started(phase: &str, began: Instant) -> Instant {
    let elapsed = began.elapsed();
    metrics::START
        .with_label_values(&[phase])
        .observe(elapsed.as_secs_f64());
    began + elapsed
}

impl LinkState {
    /// The numbering with a new driver, or with one that an earlier server started.
    pub(super) fn new(adopted: bool, epoch: i64) -> Self {
        Self {
            unnumbered: adopted,
            // A late answer to an earlier server's question is none to ours.
            next_question: epoch << 32,
            ..Self::default()
        }
    }

    /// Numbers what waits after `received`, the last frame that the agent has of an earlier server.
    fn number_from(&mut self, received: u64) {
        self.unnumbered = false;
        self.sent = received;
        for (seq, frame) in &mut self.kept {
            self.sent += 1;
            *seq = self.sent;
            frame.header.insert("seq".to_owned(), self.sent.into());
        }
    }

    /// Numbers, keeps and sends a frame.
    fn send(&mut self, mut frame: Frame) {
        self.sent += 1;
        frame.header.insert("seq".to_owned(), self.sent.into());
        self.kept.push_back((self.sent, frame.clone()));
        self.write(frame);
    }

    fn write(&mut self, frame: Frame) {
        if let Some(Err(error)) = self.connection.as_mut().map(|connection| connection.send(frame)) {
            // It does not read, or is gone. It calls again; what it lacks is kept.
            warn!(%error, "a driver's connection is closed");
            self.connection = None;
        }
    }

    fn forget(&mut self, up_to: u64) {
        while self.kept.front().is_some_and(|(seq, _)| *seq <= up_to) {
            self.kept.pop_front();
        }
    }
}

/// The next frame; none when the connection broke. Waits for ever while there is no connection. Cancel safe.
async fn read(connection: &mut Option<Connection>) -> Option<Frame> {
    let Some(connection) = connection else {
        return pending().await;
    };
    connection.next().await.unwrap_or_else(|error| {
        warn!(%error, "a driver's connection is closed");
        None
    })
}

/// Waits until there may be news of an application; for ever where the driver is on this host.
async fn changed(remote: &mut Option<Box<Remote>>) {
    match remote {
        Some(remote) => remote.changed().await,
        None => pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_ask_under_the_same_number() {
        let (before, after) = (LinkState::new(false, 6), LinkState::new(true, 7));
        assert!(before.next_question + i64::from(u32::MAX) < after.next_question);
    }
}
