//! What the tables hold, as plain values. State words are strings here: their meaning belongs to `session`.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

/// A session, live, ended or deleted. Times are epoch milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SessionRow {
    /// Livy's small integer.
    pub id: i64,
    /// Unique per owner among what has not ended.
    pub name: Option<String>,
    /// Who created it; none without authentication.
    pub owner: Option<String>,
    /// As whom its driver runs, where impersonation is on.
    pub proxy_user: Option<String>,
    /// Livy's word.
    pub kind: String,
    /// Livy's word.
    pub state: String,
    /// The request as the policy passed it, as JSON.
    pub request: String,
    /// Spark's application id, once known.
    pub app_id: Option<String>,
    /// Spark's UI, once known.
    pub ui_url: Option<String>,
    /// The driver that serves it.
    pub driver_id: Option<String>,
    /// The server start that owns the row.
    pub epoch: i64,
    /// The sentence that explains the end.
    pub diagnosis: Option<String>,
    /// When it was accepted.
    pub created: i64,
    /// When it ended.
    pub ended: Option<i64>,
}

/// A driver: stored before it is launched, so that a server that comes back knows of each.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DriverRow {
    /// The driver's UUID.
    pub id: String,
    /// The session it serves.
    pub session_id: Option<i64>,
    /// Or the batch that it runs.
    pub batch_id: Option<i64>,
    /// The server start that launched it.
    pub epoch: i64,
    /// When it was launched.
    pub created: i64,
    /// What it holds of the GPUs, as JSON; none for nothing.
    pub gpus: Option<String>,
    /// Its cluster; none: the default one.
    pub cluster: Option<String>,
    /// Whether it runs in that cluster, and not on this host.
    pub remote: bool,
}

/// A driver whose session has ended, or whose batch is gone.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct LeftDriver {
    /// The driver's UUID.
    pub id: String,
    /// Its cluster; none: the default one.
    pub cluster: Option<String>,
    /// Whether it runs in that cluster, and not on this host.
    pub remote: bool,
}

/// A driver that has not ended, and holds GPUs.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct LeaseRow {
    /// The driver's UUID.
    pub id: String,
    /// The session it serves.
    pub session_id: Option<i64>,
    /// Or the batch that it runs.
    pub batch_id: Option<i64>,
    /// Whose that is.
    pub owner: Option<String>,
    /// When it was launched.
    pub created: i64,
    /// What it holds, as JSON.
    pub gpus: String,
}

/// A batch that was not deleted. Times are epoch milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct BatchRow {
    /// Livy's small integer, counted apart from sessions.
    pub id: i64,
    /// Unique per owner among what has not ended.
    pub name: Option<String>,
    /// Who created it; none without authentication.
    pub owner: Option<String>,
    /// As whom its driver runs, where impersonation is on.
    pub proxy_user: Option<String>,
    /// Livy's word.
    pub state: String,
    /// The request as the policy passed it, as JSON.
    pub request: String,
    /// The driver that runs it.
    pub driver_id: Option<String>,
    /// The server start that owns the row.
    pub epoch: i64,
    /// The application's, where it exited.
    pub exit_code: Option<i64>,
    /// The sentence that explains the end.
    pub diagnosis: Option<String>,
    /// When it was accepted.
    pub created: i64,
    /// When it ended.
    pub ended: Option<i64>,
}

/// An API token, or a browser's login. Times are epoch milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct CredentialRow {
    /// What it is called by; no secret.
    pub id: String,
    /// `token` or `login`.
    pub kind: String,
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// Whose it is.
    pub owner: String,
    /// The owner's groups when it was made, as a JSON list.
    pub member_of: String,
    /// The way in which the owner had proved the name.
    pub way: String,
    /// What a token may do, words with blanks between.
    pub scopes: String,
    /// What the owner calls it.
    pub label: Option<String>,
    /// A login's: what tells that the password is still the same.
    pub mark: Option<String>,
    /// When it was made.
    pub created: i64,
    /// From when on it counts no more.
    pub expires: i64,
}

/// A statement, or a job. Times are epoch milliseconds, 0 until they come.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct StatementRow {
    /// Its session.
    pub session_id: i64,
    /// A statement's is counted from 0 within the session, a job's down from -1.
    pub id: i64,
    /// The language.
    pub kind: String,
    /// The code as it was posted; a job's goes with its end.
    pub code: String,
    /// Livy's word.
    pub state: String,
    /// Livy's output object as JSON; none until done, and for a clean cancel. Of one that is in a file, what is shown once that
    /// has gone.
    pub output: Option<String>,
    /// The bytes of an output that is in a file.
    pub output_bytes: Option<i64>,
    /// The row limit that cut a SQL result.
    pub rows_cut: Option<i64>,
    /// The limit in bytes that cut its text.
    pub bytes_cut: Option<i64>,
    /// The statement before which a job runs; none for a statement.
    pub before_statement: Option<i64>,
    /// When it was accepted.
    pub accepted: i64,
    /// When it began to run.
    pub started: i64,
    /// When it ended.
    pub completed: i64,
    /// Why the row makes no sense, where it does not; then only its two ids are as they were written.
    #[sqlx(skip)]
    pub damage: Option<String>,
}

impl SessionRow {
    /// One row.
    ///
    /// # Errors
    /// The id as text, and what is wrong with it.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, (String, String)> {
        // SQLite gives any value as text.
        Self::from_row(row).map_err(|error| {
            let id = row.try_get_unchecked("id").unwrap_or_default();
            (id, error.to_string())
        })
    }
}

impl StatementRow {
    /// One row of a session, also one that makes no sense; none where not even its id can be read.
    pub(super) fn read(session_id: i64, row: &SqliteRow) -> Option<Self> {
        let damage = match Self::from_row(row) {
            Ok(row) => return Some(row),
            Err(error) => error.to_string(),
        };
        let id = row.try_get("id").ok()?;
        Some(Self::damaged(session_id, id, damage))
    }

    /// What stands for a row that makes no sense.
    pub(super) fn damaged(session_id: i64, id: i64, damage: String) -> Self {
        Self {
            session_id,
            id,
            kind: String::new(),
            code: String::new(),
            state: String::new(),
            output: None,
            output_bytes: None,
            rows_cut: None,
            bytes_cut: None,
            before_statement: None,
            accepted: 0,
            started: 0,
            completed: 0,
            damage: Some(damage),
        }
    }
}

/// What was answered to a request that had an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct IdempotencyRow {
    /// Whose key it is, and of which collection.
    pub scope: String,
    /// The header's value.
    pub key: String,
    /// SHA-256 of the request, as hex digits.
    pub fingerprint: String,
    /// The session that was made, or that has the statement.
    pub session_id: i64,
    /// The statement that was made; none for a session.
    pub statement_id: Option<i64>,
    /// When, in epoch milliseconds.
    pub created: i64,
}
