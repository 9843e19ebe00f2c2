//! What a session's actor can be asked, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::kind::Kind;
use super::state::SessionState;
use super::statement::Statement;
use crate::store::StoreError;

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
