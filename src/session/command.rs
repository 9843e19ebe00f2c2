//! What a session's actor can be asked, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::kind::Kind;
use super::state::SessionState;
use super::statement::Statement;
use crate::idempotency::KeyReused;
use crate::store::{IdempotencyRow, StoreError};

/// What others ask of a session.
#[derive(Debug)]
pub(super) enum Command {
    Submit {
        code: Arc<str>,
        kind: Kind,
        /// The key of its request, without the statement's id.
        key: Option<Box<IdempotencyRow>>,
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    },
    Cancel {
        id: i64,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Interrupt {
        reply: oneshot::Sender<Result<(), StoreError>>,
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
    /// The key came with another request before.
    #[error(transparent)]
    Key(#[from] KeyReused),
    /// The key's statement is no longer kept.
    #[error("The statement that this Idempotency-Key made is no longer kept.")]
    Gone,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}
