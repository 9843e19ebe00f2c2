//! What must survive the server: sessions, drivers and statements, in SQLite (WAL) under the state directory.
//!
//! One writer task owns the only connection that writes. It takes what has queued up, commits it as one transaction and then
//! answers each: so an answer means stored, and many answers share one commit. Reads go to a pool beside it.
//!
//! Called by `session` and, for history, by `api`; calls `config` and `background`. It knows rows, not states or HTTP.

mod reader;
mod rows;
mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use crate::background::Background;
use crate::config::Durability;

pub use rows::{DriverRow, IdempotencyRow, SessionRow, StatementRow};
pub use writer::Op;

/// Writes that may wait for the writer, all sessions together; more wait in their callers.
const WRITES_WAITING: usize = 1024;
/// Connections that read; a read takes tens of microseconds.
const READERS: u32 = 4;
/// How long a writer waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// Why a read or a write did not happen. After an error nothing of the operation is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no: a full disk, a locked or damaged file.
    #[error("the store could not be used: {0}")]
    Database(String),
    /// The server is stopping.
    #[error("the store is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Database(error.to_string())
    }
}

/// The open store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) reads: SqlitePool,
    writes: mpsc::Sender<writer::Write>,
    epoch: i64,
}

impl Store {
    /// Opens or creates `file`, brings its tables up to date, and begins a new epoch.
    ///
    /// # Errors
    /// The file can't be opened, is damaged, or was written by a newer Firesteel.
    pub async fn open(
        file: &Path,
        durability: Durability,
        background: &Background,
    ) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Process => SqliteSynchronous::Normal,
                Durability::Power => SqliteSynchronous::Full,
            })
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::migrate!("src/store/migrations")
            .run_direct(None, &mut connection, false)
            .await?;
        sqlx::query("UPDATE server SET value = value + 1 WHERE name = 'epoch'")
            .execute(&mut connection)
            .await?;
        let epoch = sqlx::query_scalar("SELECT value FROM server WHERE name = 'epoch'")
            .fetch_one(&mut connection)
            .await?;
        let reads = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        let (writes, waiting) = mpsc::channel(WRITES_WAITING);
        background.spawn(writer::run(connection, waiting));
        Ok(Self { reads, writes, epoch })
    }

    /// The number of this start of the server; each later start has a higher one.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Stores `op`. An `Ok` means committed, as durable as `store.durability` says.
    ///
    /// # Errors
    /// See [`StoreError`]; then nothing of `op` is stored.
    ///
    /// Cancel safety: a dropped future may or may not have stored the operation.
    pub async fn write(&self, op: Op) -> Result<(), StoreError> {
        let answer = self.submit(op).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Hands `op` to the writer, in the order of the calls, and gives what its answer will come on.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn submit(&self, op: Op) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (done, answer) = oneshot::channel();
        self.writes
            .send(writer::Write { op, done })
            .await
            .map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }
}
