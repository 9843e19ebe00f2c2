//! The session's state machine and the statement's states: Livy's words, and which may follow which.

use std::fmt;

/// A session's state. The words are Livy's; clients know no others (clients.md, W4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Accepted; its driver is queued or starting.
    Starting,
    /// Taken back from an earlier server; its driver has not called yet.
    Recovering,
    /// Ready, with nothing to do.
    Idle,
    /// Running a statement.
    Busy,
    /// Ending: deleted, or over one of its times.
    ShuttingDown,
    /// Ended. A start that failed ends here as well: some clients know no other failure (clients.md, 2.4).
    Dead,
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionEvent {
    /// The driver has its SparkContext and interpreter.
    DriverReady,
    /// A statement was handed to the driver.
    StatementSent,
    /// The last statement has ended.
    QueueEmpty,
    /// Somebody or some time-out wants it to end.
    Stop,
    /// Nothing of the driver is left.
    DriverGone,
}

impl SessionState {
    /// The state after `event`; none where the event can't happen in this state.
    ///
    /// ```text
    /// starting ─┬─ DriverReady ─> idle ── StatementSent ─> busy
    /// recovering┘                  ^────── QueueEmpty ──────┘
    /// all of these: Stop ─> shutting_down; DriverGone ─> dead;  shutting_down ── DriverGone ─> dead
    /// ```
    #[must_use]
    pub fn after(self, event: SessionEvent) -> Option<Self> {
        use SessionEvent::{DriverGone, DriverReady, QueueEmpty, StatementSent, Stop};
        use SessionState::{Busy, Dead, Idle, Recovering, ShuttingDown, Starting};
        match (self, event) {
            (Starting | Recovering, DriverReady) | (Busy, QueueEmpty) => Some(Idle),
            (Idle | Recovering, StatementSent) => Some(Busy),
            (Starting | Recovering | Idle | Busy, Stop) => Some(ShuttingDown),
            (Starting | Recovering | Idle | Busy | ShuttingDown, DriverGone) => Some(Dead),
            _ => None,
        }
    }

    /// True for a session that takes statements, now or once it is ready.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Dead)
    }

    /// The state with this word; none for a word that no server writes.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [
            Self::Starting,
            Self::Recovering,
            Self::Idle,
            Self::Busy,
            Self::ShuttingDown,
            Self::Dead,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }

    /// Livy's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A statement's state, in Livy's words. Code that failed is `available` with an error as its output (clients.md, W6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementState {
    /// Accepted and stored.
    Waiting,
    /// With the driver.
    Running,
    /// With the driver, which has been asked to cancel it.
    Cancelling,
    /// Cancelled.
    Cancelled,
    /// Done, well or not.
    Available,
}

impl StatementState {
    /// Livy's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Available => "available",
        }
    }

    /// The state with this word; none for a word that no server writes.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [
            Self::Waiting,
            Self::Running,
            Self::Cancelling,
            Self::Cancelled,
            Self::Available,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }

    /// True when nothing will change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Available)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SessionEvent::{DriverGone, DriverReady, QueueEmpty, StatementSent, Stop};
    use super::SessionState::{Busy, Dead, Idle, Recovering, ShuttingDown, Starting};
    use super::*;

    const STATES: [SessionState; 6] = [Starting, Recovering, Idle, Busy, ShuttingDown, Dead];
    const EVENTS: [SessionEvent; 5] = [DriverReady, StatementSent, QueueEmpty, Stop, DriverGone];

    /// The whole table, written out: a change of `after` must be made here too.
    #[test]
    fn the_table_of_transitions() {
        let none = None;
        let table = [
            (Starting, [Some(Idle), none, none, Some(ShuttingDown), Some(Dead)]),
            (
                Recovering,
                [Some(Idle), Some(Busy), none, Some(ShuttingDown), Some(Dead)],
            ),
            (Idle, [none, Some(Busy), none, Some(ShuttingDown), Some(Dead)]),
            (Busy, [none, none, Some(Idle), Some(ShuttingDown), Some(Dead)]),
            (ShuttingDown, [none, none, none, none, Some(Dead)]),
            (Dead, [none; 5]),
        ];
        for (state, row) in table {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(state.after(event), expected, "{state} {event:?}");
            }
        }
    }

    proptest! {
        /// Whatever happens in whatever order: nothing leaves `dead`, nothing leaves `shutting_down` but to `dead`, a session
        /// never starts again, and the driver's end always ends it.
        #[test]
        fn random_events_keep_the_rules(start in prop::sample::select(&STATES[..]), events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..64)) {
            let mut state = start;
            for event in events {
                let next = state.after(event).unwrap_or(state);
                prop_assert!(state != Dead || next == Dead);
                prop_assert!(state != ShuttingDown || matches!(next, ShuttingDown | Dead));
                prop_assert!(next != Starting || state == Starting);
                prop_assert!(event != DriverGone || next == Dead);
                prop_assert!(event != Stop || !next.is_open());
                state = next;
            }
        }
    }
}
