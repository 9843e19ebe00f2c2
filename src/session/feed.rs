//! What happens in a session, for those who watch it: numbered events, the last of which are kept, and what statements have
//! printed lately.
//!
//! The session's actor writes here, and never waits. A reader is no more than a place among the events: one that falls behind what
//! is kept is told so, and nothing is buffered for it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::state::{SessionState, StatementState};
use super::statement::Statement;
use super::text::{Piece, Text};

/// What an event counts at least, in bytes, against `events.replay_bytes`.
const EVENT_LEAST: usize = 256;
/// Bytes of events that are given to a reader at once; one that is larger comes alone.
const BATCH_BYTES: usize = 64 * 1024;
/// Statements whose text is kept: the one that runs, and the one before it.
const TEXTS: usize = 2;

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The statement.
    pub id: i64,
    /// Its state.
    pub state: StatementState,
    /// Completed tasks of all known, 0.0 to 1.0.
    pub progress: f64,
}

/// A phase of the session's start that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// `queue`, `spawn`, `jvm`, `context` or `interpreter` (docs/live.md).
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The session's state changed.
    State(SessionState),
    /// A phase of its start has ended.
    Start(Phase),
    /// A statement was accepted, or its state changed.
    Statement(Mark),
    /// More tasks of a running statement's are done.
    Progress(Mark),
    /// A running statement has printed.
    Output(Piece),
}

impl Event {
    fn weight(&self) -> usize {
        match self {
            Self::Output(piece) => piece.bytes.len().max(EVENT_LEAST),
            _ => EVENT_LEAST,
        }
    }
}

/// Names an event: of which start of the server it is, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The server's start number.
    pub epoch: i64,
    /// Counted from 1 in each session; 0 stands before the first.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, seq) = text.split_once('-').ok_or(())?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| ())?,
            seq: seq.parse().map_err(|_| ())?,
        })
    }
}

/// Why a reader begins with all there is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It has seen nothing yet.
    New,
    /// What it saw last was told by an earlier server.
    Restarted,
    /// What follows on what it saw last is no longer kept.
    TooOld,
}

/// A session as it is now, for a reader that can't go on from where it was.
#[derive(Clone, Debug)]
pub struct Reset {
    /// Why.
    pub because: Because,
    /// The session's state.
    pub state: SessionState,
    /// The phases of its start that have ended, where it has started under this server.
    pub start: Vec<Phase>,
    /// Statements that have not ended, by number.
    pub statements: Vec<Mark>,
    /// What is kept of what the statement printed that printed last.
    pub text: Option<Text>,
}

/// What a reader is told.
#[derive(Debug)]
pub enum News {
    /// Where to begin; what follows goes on from here.
    Reset(EventId, Reset),
    /// Events in order, the first of this name.
    Events(EventId, Vec<Event>),
    /// The reader took too long: what follows is no longer kept.
    Behind,
    /// The session is gone.
    Ended,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the last event.
    last: u64,
    is_closed: bool,
    state: SessionState,
    start: Vec<Phase>,
    statements: BTreeMap<i64, Mark>,
    texts: VecDeque<Text>,
}

impl Ring {
    /// The number of the oldest event that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }
}

/// One session's events.
#[derive(Debug)]
pub struct Feed {
    epoch: i64,
    replay_bytes: usize,
    live_bytes: usize,
    ring: Mutex<Ring>,
    /// The number of the last event.
    news: watch::Sender<u64>,
}

impl Feed {
    pub(super) fn new<'a>(
        epoch: i64,
        (replay_bytes, live_bytes): (usize, usize),
        state: SessionState,
        live: impl Iterator<Item = &'a Statement>,
    ) -> Self {
        let statements = live.filter_map(mark).map(|mark| (mark.id, mark)).collect();
        Self {
            epoch,
            replay_bytes,
            live_bytes,
            ring: Mutex::new(Ring {
                events: VecDeque::new(),
                bytes: 0,
                last: 0,
                is_closed: false,
                state,
                start: Vec::new(),
                statements,
                texts: VecDeque::new(),
            }),
            news: watch::Sender::new(0),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut ring: MutexGuard<'_, Ring>, event: Event) {
        ring.bytes += event.weight();
        ring.last += 1;
        ring.events.push_back(event);
        while ring.bytes > self.replay_bytes && ring.events.len() > 1 {
            let oldest = ring.events.pop_front();
            ring.bytes -= oldest.map_or(0, |oldest| oldest.weight());
        }
        let last = ring.last;
        drop(ring);
        self.news.send_replace(last);
    }

    pub(super) fn state(&self, state: SessionState) {
        let mut ring = self.ring();
        ring.state = state;
        self.push(ring, Event::State(state));
    }

    /// A phase of the start has ended. Each is told once.
    pub(super) fn started(&self, phase: Phase) {
        let mut ring = self.ring();
        if ring.start.iter().all(|told| told.name != phase.name) {
            ring.start.push(phase);
            self.push(ring, Event::Start(phase));
        }
    }

    /// A statement as it is now. Jobs are not told: no list of statements has them.
    pub(super) fn statement(&self, statement: &Statement) {
        let Some(mark) = mark(statement) else {
            return;
        };
        let mut ring = self.ring();
        if mark.state.is_final() {
            ring.statements.remove(&mark.id);
        } else {
            ring.statements.insert(mark.id, mark);
        }
        self.push(ring, Event::Statement(mark));
    }

    pub(super) fn progress(&self, statement: &Statement) {
        let Some(mark) = mark(statement) else {
            return;
        };
        let mut ring = self.ring();
        ring.statements.insert(mark.id, mark);
        self.push(ring, Event::Progress(mark));
    }

    /// What a running statement has printed, from a byte of all that it prints.
    pub(super) fn output(&self, statement: i64, from: u64, bytes: Bytes) {
        let mut ring = self.ring();
        if ring.texts.back().is_none_or(|text| text.statement != statement) {
            if ring.texts.len() >= TEXTS {
                ring.texts.pop_front();
            }
            ring.texts.push_back(Text::new(statement));
        }
        let Some(text) = ring.texts.back_mut() else {
            return;
        };
        let piece = text.add(from, bytes, self.live_bytes);
        self.push(ring, Event::Output(piece));
    }

    /// The session is gone: readers are told once they have seen all.
    pub(super) fn close(&self) {
        let mut ring = self.ring();
        ring.is_closed = true;
        let last = ring.last;
        drop(ring);
        self.news.send_replace(last);
    }

    /// What is kept of what a statement has printed.
    #[must_use]
    pub fn text(&self, statement: i64) -> Option<Text> {
        let ring = self.ring();
        ring.texts
            .iter()
            .find(|text| text.statement == statement)
            .cloned()
    }

    /// Reads on after an event, or from now on where that can't be; a reader that names none begins with all there is now.
    #[must_use]
    pub fn follow(self: &Arc<Self>, after: Option<EventId>) -> Reader {
        let news = self.news.subscribe();
        let ring = self.ring();
        let reset = match after {
            None => Some(Because::New),
            Some(id) if id.epoch != self.epoch => Some(Because::Restarted),
            Some(id) if id.seq > ring.last || id.seq + 1 < ring.first() => Some(Because::TooOld),
            Some(_) => None,
        };
        drop(ring);
        Reader {
            feed: Arc::clone(self),
            news,
            reset,
            at: after.map_or(0, |id| id.seq),
        }
    }

    /// What is new after an event; none when nothing is.
    fn after(&self, at: u64) -> Option<News> {
        let ring = self.ring();
        if at + 1 < ring.first() {
            return Some(News::Behind);
        }
        let skip = usize::try_from(at + 1 - ring.first()).unwrap_or(usize::MAX);
        let mut room = BATCH_BYTES;
        let events: Vec<Event> = ring
            .events
            .iter()
            .skip(skip)
            .take_while(|event| {
                let is_first = room == BATCH_BYTES;
                let fits = is_first || event.weight() <= room;
                room = room.saturating_sub(event.weight());
                fits
            })
            .cloned()
            .collect();
        if events.is_empty() {
            return ring.is_closed.then_some(News::Ended);
        }
        Some(News::Events(self.id(at + 1), events))
    }

    fn now(&self, because: Because) -> (u64, Reset) {
        let ring = self.ring();
        let reset = Reset {
            because,
            state: ring.state,
            start: ring.start.clone(),
            statements: ring.statements.values().copied().collect(),
            text: ring.texts.back().cloned(),
        };
        (ring.last, reset)
    }

    fn id(&self, seq: u64) -> EventId {
        EventId {
            epoch: self.epoch,
            seq,
        }
    }
}

/// One who watches. Dropping it leaves.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    reset: Option<Because>,
    /// The last event that it was told.
    at: u64,
}

impl Reader {
    /// Waits for what is new. After [`News::Behind`] and [`News::Ended`] there is nothing more. Cancel safe.
    pub async fn next(&mut self) -> News {
        if let Some(because) = self.reset.take() {
            let (last, reset) = self.feed.now(because);
            self.at = last;
            return News::Reset(self.feed.id(last), reset);
        }
        loop {
            self.news.borrow_and_update();
            if let Some(news) = self.feed.after(self.at) {
                if let News::Events(_, events) = &news {
                    self.at += events.len() as u64;
                }
                return news;
            }
            if self.news.changed().await.is_err() {
                return News::Ended;
            }
        }
    }
}

/// Where a statement stands; none for a job.
fn mark(statement: &Statement) -> Option<Mark> {
    (!statement.is_job()).then_some(Mark {
        id: statement.id,
        state: statement.state,
        progress: statement.progress,
    })
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
