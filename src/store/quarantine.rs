//! What is damaged costs itself and nothing else: a session's row that can't be read is named in the log once, written down in the table
//! `quarantine`, and read no more; the row stays as it is for a person to look at. A statement's row is shown as an error.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tracing::error;

use super::committer::Write;
use super::{Op, Store};
use crate::clock::now_ms;

/// Damaged rows that the log names; of more it says nothing.
const TOLD: usize = 10_000;

/// The rows that the log has named.
pub(super) type Told = Mutex<HashSet<(String, Option<i64>)>>;

impl Store {
    /// Sets a session aside whose row makes no sense: no list and no start reads it again. `session` is its id as text.
    pub fn set_aside(&self, session: &str, reason: &str) {
        if self.is_new(session, None) {
            error!(
                session.id = session,
                reason,
                "a session's row in the store is damaged: it is set aside, and is in the table quarantine"
            );
            let op = Op::SetAside {
                session: session.to_owned(),
                reason: reason.to_owned(),
                at: now_ms(),
            };
            // Where it can't be written down now, it is found again by the next start.
            let (done, _) = oneshot::channel();
            let _ = self.writes.try_send(Write {
                op: Arc::new(op),
                done,
            });
        }
    }

    /// Names a statement in the log whose row makes no sense.
    pub fn tell_damaged(&self, session: i64, statement: i64, reason: &str) {
        if self.is_new(&session.to_string(), Some(statement)) {
            error!(
                session.id = session,
                statement.id = statement,
                reason,
                "a statement's row in the store is damaged: it is shown as an error"
            );
        }
    }

    /// Whether this server has set the session aside; the table says it of earlier ones.
    pub(super) fn is_set_aside(&self, session: &str) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.contains(&(session.to_owned(), None))
    }

    fn is_new(&self, session: &str, statement: Option<i64>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < TOLD && told.insert((session.to_owned(), statement))
    }
}
