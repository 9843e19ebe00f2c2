//! What a session's actor can be asked, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::kind::Kind;
use super::state::SessionState;
use super::statement::Statement;
use crate::config::Span;
use crate::idempotency::KeyReused;
use crate::store::{IdempotencyRow, StoreError};
use crate::traces;

/// What others ask of a session.
#[derive(Debug)]
pub(super) enum Command {
    Submit {
        work: Work,
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
    Note {
        line: String,
    },
    End {
        reason: String,
    },
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct Work {
    pub code: Arc<str>,
    pub kind: Kind,
    pub is_job: bool,
    /// The trace of the request that it came with.
    pub trace: Option<traces::Context>,
}

/// A statement that was accepted.
#[derive(Debug)]
pub(super) struct Submitted {
    pub statement: Arc<Statement>,
    /// True when nothing stands before it: its result may come at once.
    pub is_next: bool,
}

/// Why a file was not added to a session.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The session has ended or is ending. The text is Livy's.
    #[error("requirement failed: Session isn't active.")]
    NotActive,
    /// Spark can't take it, a sentence.
    #[error("{0}")]
    Refused(String),
    /// It took too long, or too many others wait. It may yet be added.
    #[error("The session did not add the file within {0} (session.add_timeout). Try again.")]
    Late(Span),
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
