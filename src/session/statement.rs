//! A statement as readers see it; a programmatic job (livy-spec.md, 1.4) is one too.
//!
//! Statements count up from 0 and jobs down from -1, in one queue and one table: so each has an order with all the others, what is
//! promised of statements holds for jobs, and neither's numbers have gaps.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::kind::Kind;
use super::state::StatementState;
use crate::clock::now_ms;
use crate::counters::Cap;
use crate::driver::StatementResult;
use crate::output::{Kept, OutputFile, Outputs};
use crate::ready;
use crate::store::{IdempotencyRow, Op, StatementRow, Store};

/// One statement, at one moment. Times are epoch milliseconds, 0 until they come.
#[derive(Clone, Debug)]
pub struct Statement {
    /// A statement's is counted from 0 within the session, a job's down from -1.
    pub id: i64,
    /// The code as it was posted; of a job, its base64, until it is with the driver.
    pub code: Arc<str>,
    /// Its language.
    pub kind: Kind,
    /// Where it stands.
    pub state: StatementState,
    /// Livy's output object; none until done, and for a clean cancel.
    pub output: Option<Arc<RawValue>>,
    /// Where the whole output is, if `output` is only what is shown without it.
    pub file: Option<OutputFile>,
    /// The row limit that cut a SQL result.
    pub rows_cut: Option<i64>,
    /// The limit in bytes that cut its text.
    pub bytes_cut: Option<i64>,
    /// The statement before which a job runs.
    pub before: Option<i64>,
    /// Completed tasks of all known, 0.0 to 1.0.
    pub progress: f64,
    /// When it was accepted.
    pub accepted: i64,
    /// When it began.
    pub started: i64,
    /// When it ended.
    pub completed: i64,
    /// The statement as JSON.
    pub body: ready::Kept,
}

impl Statement {
    pub(super) fn new(id: i64, code: Arc<str>, kind: Kind) -> Self {
        Self {
            id,
            code,
            kind,
            state: StatementState::Waiting,
            output: None,
            file: None,
            rows_cut: None,
            bytes_cut: None,
            before: None,
            progress: 0.0,
            accepted: now_ms(),
            started: 0,
            completed: 0,
            body: ready::Kept::default(),
        }
    }

    /// In a word, how one has ended of which the driver has told: `ok`, `error` or `cancelled`.
    pub(super) fn outcome(&self) -> &'static str {
        // The status stands first in what agents send; the rest may be large.
        let status = |output: &Arc<RawValue>| {
            let rest = output.get().strip_prefix("{\"status\":")?.trim_start();
            rest.starts_with("\"error\"").then_some("error")
        };
        match self.state {
            StatementState::Cancelled => "cancelled",
            _ => self.output.as_ref().and_then(status).unwrap_or("ok"),
        }
    }

    pub(super) fn is_job(&self) -> bool {
        self.id < 0
    }

    /// Where it stands among the statements and jobs of its session.
    pub(super) fn place(&self) -> (i64, bool, i64) {
        (self.before.unwrap_or(self.id), !self.is_job(), -self.id)
    }

    /// What is kept of the code once it has run or never will: a job's is large, and nobody is shown it.
    fn kept_code(&self) -> Arc<str> {
        if self.is_job() {
            Arc::default()
        } else {
            Arc::clone(&self.code)
        }
    }

    /// With the driver. One that is to be cancelled stays so.
    pub(super) fn sent(&self) -> Self {
        Self {
            state: match self.state {
                StatementState::Waiting => StatementState::Running,
                other => other,
            },
            started: now_ms(),
            code: self.kept_code(),
            ..self.clone()
        }
    }

    pub(super) fn cancelling(&self) -> Self {
        Self {
            state: StatementState::Cancelling,
            ..self.clone()
        }
    }

    pub(super) fn mark(&self, session: i64) -> Op {
        Op::MarkStatement {
            session_id: session,
            id: self.id,
            state: self.state.as_str().to_owned(),
        }
    }

    pub(super) fn cancelled(&self) -> Self {
        Self {
            state: StatementState::Cancelled,
            code: self.kept_code(),
            progress: 1.0,
            completed: now_ms(),
            ..self.clone()
        }
    }

    /// The end as the driver told it, but for the output, which [`Self::with_output`] takes.
    pub(super) fn ended(&self, result: &StatementResult) -> Self {
        Self {
            state: if result.cancelled {
                StatementState::Cancelled
            } else {
                StatementState::Available
            },
            output: None,
            rows_cut: result.rows_cut,
            bytes_cut: result.cut.filter(|cut| cut.cap == Cap::Text).map(|cut| cut.limit),
            progress: 1.0,
            started: if result.started > 0 {
                result.started
            } else {
                self.started
            },
            completed: if result.completed > 0 {
                result.completed
            } else {
                now_ms()
            },
            ..self.clone()
        }
    }

    /// With its output: in a file, where that is too large for the store. Jobs' are not: they have limits of their own.
    pub(super) async fn with_output(
        self,
        output: Option<Box<RawValue>>,
        session: i64,
        outputs: &Outputs,
    ) -> Self {
        let Some(output) = output else {
            return self;
        };
        let kept = if self.is_job() {
            Err(output)
        } else {
            outputs.keep(session, self.id, output).await
        };
        match kept {
            Ok(Kept { rest, bytes }) => Self {
                output: Some(Arc::from(rest)),
                file: Some(outputs.file(session, self.id, bytes)),
                ..self
            },
            Err(output) => Self {
                output: Some(Arc::from(output)),
                ..self
            },
        }
    }

    /// The end of a statement whose driver died under it: told, and never run again.
    pub(super) fn lost(&self, why: &str) -> Self {
        self.unknown(
            "DriverDied",
            &format!("The session ended while the statement ran: {why}"),
        )
    }

    /// The end of a statement whose outcome nobody knows: told, and never run again.
    pub(super) fn unknown(&self, ename: &str, evalue: &str) -> Self {
        let output = json!({
            "status": "error",
            "execution_count": self.id,
            "ename": ename,
            "evalue": evalue,
            "traceback": [],
        });
        Self {
            state: StatementState::Available,
            output: to_raw_value(&output).ok().map(Arc::from),
            code: self.kept_code(),
            progress: 1.0,
            completed: now_ms(),
            ..self.clone()
        }
    }

    pub(super) fn insert(&self, session: i64, key: Option<Box<IdempotencyRow>>) -> Op {
        let row = StatementRow {
            session_id: session,
            id: self.id,
            kind: self.kind.as_str().to_owned(),
            code: self.code.to_string(),
            state: self.state.as_str().to_owned(),
            output: None,
            output_bytes: None,
            rows_cut: None,
            bytes_cut: None,
            before_statement: self.before,
            accepted: self.accepted,
            started: self.started,
            completed: self.completed,
            damage: None,
        };
        Op::InsertStatement(Box::new(row), key)
    }

    pub(super) fn end(&self, session: i64) -> Op {
        Op::EndStatement {
            session_id: session,
            id: self.id,
            state: self.state.as_str().to_owned(),
            output: self.output.as_ref().map(|output| output.get().to_owned()),
            output_bytes: self.file.as_ref().and_then(|file| i64::try_from(file.bytes).ok()),
            rows_cut: self.rows_cut,
            bytes_cut: self.bytes_cut,
            started: self.started,
            completed: self.completed,
        }
    }

    /// A statement from the store. One whose row makes no sense is an error that says so; the log names it once.
    #[must_use]
    pub fn from_row(row: StatementRow, store: &Store, outputs: &Outputs) -> Self {
        let (session, id) = (row.session_id, row.id);
        let bytes = row.output_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let file = bytes.map(|bytes| outputs.file(session, id, bytes));
        let read = Self::read(row).map(|statement| Self { file, ..statement });
        read.unwrap_or_else(|reason| {
            store.tell_damaged(session, id, &reason);
            Self::damaged(id)
        })
    }

    fn read(row: StatementRow) -> Result<Self, String> {
        if let Some(damage) = row.damage {
            return Err(damage);
        }
        let state = StatementState::from_stored(&row.state)
            .ok_or_else(|| format!("{:?} is no state of a statement", row.state))?;
        let output = row.output.map(RawValue::from_string).transpose();
        Ok(Self {
            id: row.id,
            code: row.code.into(),
            kind: Kind::parse(&row.kind).map_err(|error| error.to_string())?,
            state,
            output: output
                .map_err(|error| format!("the output is no JSON: {error}"))?
                .map(Arc::from),
            file: None,
            rows_cut: row.rows_cut,
            bytes_cut: row.bytes_cut,
            before: row.before_statement,
            progress: if state.is_final() { 1.0 } else { 0.0 },
            accepted: row.accepted,
            started: row.started,
            completed: row.completed,
            body: ready::Kept::default(),
        })
    }

    fn damaged(id: i64) -> Self {
        let output = json!({
            "status": "error",
            "execution_count": id,
            "ename": "StoredRowDamaged",
            "evalue": "What the server has stored of this statement is damaged and can't be shown; whether it ran is not known. The \
                       server's log has the reason.",
            "traceback": [],
        });
        Self {
            state: StatementState::Available,
            output: to_raw_value(&output).ok().map(Arc::from),
            progress: 1.0,
            ..Self::new(id, Arc::from(""), Kind::Pyspark)
        }
    }
}
