//! What must survive the server: sessions, drivers and statements, in SQLite (WAL) under the state directory.
//!
//! One writer task owns the only connection that writes. It takes what has queued up, commits it as one transaction and then
//! answers each: so an answer means stored, and many answers share one commit. Reads go to a pool beside it.
//!
//! `database` opens the file, `fence` keeps a server whose time is over from writing, `ops` are the changes, `committer` writes them,
//! `reader` and `rows` read, `quarantine` sets aside what can't be read, `error` says what kinds of trouble there are.
//!
//! `shares` has with whom what is shared.
//!
//! Called by `session`, by `authentication` for what it gives out, and, for history, by `api`; calls `config` and `background`. It knows rows, not states or HTTP.

mod batches;
mod committer;
mod credentials;
mod database;
mod error;
mod fence;
mod ops;
mod quarantine;
mod reader;
mod rows;
mod shares;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use crate::background::Background;
use crate::config;
use committer::{Committer, Write};
use database::Database;
use quarantine::Told;

pub use error::{StoreError, Trouble};
pub use ops::Op;
pub use rows::{
    BatchRow, CredentialRow, DriverRow, IdempotencyRow, LeaseRow, LeftDriver, SessionRow, StatementRow,
};
pub use shares::{ShareRow, Subject};

/// Writes that may wait for the writer, all sessions together; more wait in their callers, for `store.busy_timeout` at most.
const WRITES_WAITING: usize = 1024;
/// Between two tries of a write that must not be lost: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The open store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
    reads: SqlitePool,
    writes: mpsc::Sender<Write>,
    health: watch::Receiver<Option<StoreError>>,
    patience: Duration,
    epoch: i64,
    told: Arc<Told>,
}

impl Store {
    /// Opens or creates `file`, brings its tables up to date, and begins a new epoch.
    ///
    /// # Errors
    /// The file can't be opened, is damaged, or was written by a newer Firesteel; the sentence says what to do.
    pub async fn open(
        file: &Path,
        config: &config::Store,
        background: &Background,
    ) -> Result<Self, StoreError> {
        let database = Database::new(file, config);
        let (connection, epoch) = database.open().await?;
        let reads = match database.readers().await {
            Err(error) => return Err(database.explain(error).await),
            Ok(reads) => reads,
        };
        let patience = database.patience();
        let (writes, waiting) = mpsc::channel(WRITES_WAITING);
        let (publish, health) = watch::channel(None);
        let database = Arc::new(database);
        let committer = Committer::new(Arc::clone(&database), epoch, connection, publish);
        background.spawn(committer.run(waiting));
        Ok(Self {
            database,
            reads,
            writes,
            health,
            patience,
            epoch,
            told: Arc::default(),
        })
    }

    /// The number of this start of the server; each later start has a higher one.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Why nothing can be written at the moment; none where it can.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.health.borrow().clone()
    }

    /// How many writes wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writes.max_capacity() - self.writes.capacity()
    }

    /// The database, and its write-ahead log: how long each is, in bytes. Asks the file system, not SQLite.
    #[must_use]
    pub fn file_bytes(&self) -> [u64; 2] {
        let file = self.database.file();
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        [file, Path::new(&log)].map(|path| std::fs::metadata(path).map_or(0, |found| found.len()))
    }

    /// Why the server can't start, where it could not read what it needs: a sentence that names the file and says what to do.
    pub async fn explain(&self, error: StoreError) -> StoreError {
        self.database.explain(error).await
    }

    /// Stores `op`. An `Ok` means committed, as durable as `store.durability` says. While the store is in trouble, fails at once.
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
    /// The store is in trouble, closed, or has not taken it within `store.busy_timeout`.
    pub async fn submit(&self, op: Op) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        self.submit_shared(Arc::new(op)).await
    }

    /// Stores `op`, sooner or later: tries again, ever more slowly, for as long as a later try can do better. For what must not be lost and has
    /// somebody who can wait.
    ///
    /// # Errors
    /// See [`StoreError::is_final`].
    ///
    /// Cancel safety: as of [`Store::write`].
    pub async fn write_for_sure(&self, op: Op) -> Result<(), StoreError> {
        let op = Arc::new(op);
        let (mut pause, longest) = RETRY;
        loop {
            let failed = match self.write_shared(Arc::clone(&op)).await {
                Err(failed) if !failed.is_final() => failed,
                done => return done,
            };
            if pause == RETRY.0 {
                warn!(error = %failed, "a write will be tried again until it is stored");
            }
            tokio::time::sleep(pause).await;
            pause = longest.min(pause * 2);
            let mut health = self.health.clone();
            let may_be_tried =
                |trouble: &Option<StoreError>| trouble.as_ref().is_none_or(StoreError::is_final);
            // An error: the writer is gone, which the next try finds too.
            let _ = health.wait_for(may_be_tried).await;
        }
    }

    /// Writes until it is written, or the store is closed or another server's. Bounded by the store's life: a full disk may have
    /// room again.
    pub async fn insist(&self, op: Op) {
        match self.write_for_sure(op).await {
            Ok(()) | Err(StoreError::Closed | StoreError::Superseded) => {}
            Err(error) => error!(%error, "a write was given up"),
        }
    }

    async fn write_shared(&self, op: Arc<Op>) -> Result<(), StoreError> {
        let answer = self.submit_shared(op).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn submit_shared(
        &self,
        op: Arc<Op>,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let place = tokio::time::timeout(self.patience, self.writes.reserve()).await;
        let place = place
            .map_err(|_| StoreError::unusable(Trouble::Locked, "too many writes wait (store.busy_timeout)"))?
            .map_err(|_| StoreError::Closed)?;
        let (done, answer) = oneshot::channel();
        place.send(Write { op, done });
        Ok(answer)
    }
}
