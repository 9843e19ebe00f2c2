//! The one task that writes. Everything queued goes into one transaction; if that is refused, each is tried alone, so that one bad
//! write does not undo its neighbours.
//!
//! In trouble (a full disk, a lock, an I/O error) it fails at once what comes, and looks itself, each [`PROBE`], whether the trouble has
//! passed: so only the first write waits for `store.busy_timeout`. After an I/O error its connection is believed nothing any more:
//! it is opened anew, and what it may have done is done again, which changes nothing where it was done (`ops.rs`). What can't be done again
//! either is told as not stored, and taken back before anything else once the store can be written.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::database::Database;
use super::error::{StoreError, Trouble};
use super::ops::{self, Op};
use crate::metrics;

/// The most writes that share a commit.
const BATCH: usize = 256;
/// Between two looks whether a trouble has passed.
const PROBE: Duration = Duration::from_millis(250);
/// How long such a look waits for another process that holds the file.
const PROBE_PATIENCE: Duration = Duration::from_millis(50);
/// How long a connection that failed may take to close.
const CLOSING: Duration = Duration::from_secs(1);
/// The write-ahead log has what was replaced, such as secrets, for so long at most.
const TRACES: Duration = Duration::from_secs(10);
/// The same trouble is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A change that waits for its commit.
#[derive(Debug)]
pub(super) struct Write {
    pub op: Arc<Op>,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

impl Write {
    fn answer(self, outcome: Result<(), StoreError>) {
        if outcome.is_err() {
            metrics::STORE_FAILED.inc();
        }
        // A caller that has left does not need its answer.
        let _ = self.done.send(outcome);
    }
}

/// What others see of the store's health: none, or why it can't be written.
pub(super) type Health = watch::Sender<Option<StoreError>>;

pub(super) struct Committer {
    database: Arc<Database>,
    epoch: i64,
    connection: Option<SqliteConnection>,
    health: Health,
    /// Inserts that were told as not stored and may be.
    undo: Vec<Arc<Op>>,
    next_probe: Instant,
    told: Option<(Trouble, Instant)>,
    since: Instant,
    /// When the write-ahead log is emptied next.
    empty_log: Option<Instant>,
}

impl Committer {
    pub(super) fn new(
        database: Arc<Database>,
        epoch: i64,
        connection: SqliteConnection,
        health: Health,
    ) -> Self {
        let now = Instant::now();
        Self {
            database,
            epoch,
            connection: Some(connection),
            health,
            undo: Vec::new(),
            next_probe: now,
            told: None,
            since: now,
            // An earlier server may have been killed before it came to that.
            empty_log: Some(now + TRACES),
        }
    }

    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Write>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let trouble = self.health.borrow().clone();
            let may_pass = trouble.as_ref().is_some_and(|trouble| !trouble.is_final());
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.next_probe), if may_pass => self.probe().await,
                () = at(self.empty_log), if trouble.is_none() => self.empty_log().await,
                taken = waiting.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    match trouble {
                        Some(trouble) => answer(&mut batch, &Err(trouble)),
                        None => self.commit(&mut batch).await,
                    }
                }
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            warn!(%error, "the store was not closed cleanly");
        }
    }

    /// Commits what waits, together or, where that does not go, each alone; answers each.
    async fn commit(&mut self, batch: &mut Vec<Write>) {
        let together: Vec<Arc<Op>> = batch.iter().map(|write| Arc::clone(&write.op)).collect();
        if self.empty_log.is_none() && together.iter().any(|op| op.leaves_traces()) {
            self.empty_log = Some(Instant::now() + TRACES);
        }
        metrics::STORE_WRITES.observe(f64::from(u16::try_from(together.len()).unwrap_or(u16::MAX)));
        let outcome = self.attempt(&together).await;
        let each_alone = match &outcome {
            Err(StoreError::Refused(_)) => true,
            // A small one may have room where a large one has none.
            Err(error) => error.trouble() == Some(Trouble::Full),
            Ok(()) => false,
        };
        if !each_alone || batch.len() == 1 {
            self.found(outcome.as_ref().err());
            answer(batch, &outcome);
            return;
        }
        for write in batch.drain(..) {
            let trouble = self.health.borrow().clone();
            let alone = match trouble {
                // Nothing that each would wait for.
                Some(trouble) if trouble.trouble() != Some(Trouble::Full) => Err(trouble),
                _ => self.attempt(std::slice::from_ref(&write.op)).await,
            };
            self.found(alone.as_ref().err());
            write.answer(alone);
        }
    }

    /// Writes all of `ops` or none. Where it is not known which, finds out by doing it again on a new connection.
    async fn attempt(&mut self, ops: &[Arc<Op>]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let done = self.once(ops).await;
        metrics::STORE_COMMIT.observe(begun.elapsed().as_secs_f64());
        let failed = match done {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if failed.spoils_connection() {
            self.drop_connection().await;
        }
        if !failed.is_uncertain() {
            return Err(failed);
        }
        debug!(error = %failed, "a write is tried again on a new connection");
        let again = self.once(ops).await;
        if let Err(error) = &again {
            if error.spoils_connection() {
                self.drop_connection().await;
            }
            self.undo.extend(ops.iter().filter(|op| op.is_undone()).cloned());
        }
        again
    }

    async fn once(&mut self, ops: &[Arc<Op>]) -> Result<(), StoreError> {
        fail::fail_point!("store.slow");
        let connection = self.connected(self.database.patience()).await?;
        if let [op] = ops
            && op.is_one_query()
        {
            // It is a transaction by itself: two trips to SQLite's thread less, which a statement's round trip shows.
            ops::apply(connection, op).await?;
        } else {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            for op in ops {
                ops::apply(&mut transaction, op).await?;
            }
            transaction.commit().await?;
        }
        outcome_is_told()
    }

    /// Brings all of the write-ahead log into the file and empties it; where a reader is in the way, it is tried again.
    async fn empty_log(&mut self) {
        self.empty_log = None;
        let patience = self.database.patience();
        let emptied = async {
            let connection = self.connected(patience).await?;
            be_patient(connection, PROBE_PATIENCE).await?;
            let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut *connection)
                .await?;
            be_patient(connection, patience).await?;
            Ok::<_, StoreError>(busy == 0)
        };
        match emptied.await {
            Ok(true) => {}
            Ok(false) => self.empty_log = Some(Instant::now() + TRACES),
            Err(failed) => {
                debug!(error = %failed, "the write-ahead log could not be emptied");
                self.empty_log = Some(Instant::now() + TRACES);
                if failed.spoils_connection() {
                    self.drop_connection().await;
                }
            }
        }
    }

    /// The connection that writes, opened where there is none.
    async fn connected(&mut self, patience: Duration) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.writer(self.epoch, patience).await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            // What it could not write it can't close well; nothing depends on it.
            let _ = tokio::time::timeout(CLOSING, connection.close_hard()).await;
        }
    }

    /// Notes what came of a write: trouble begins here.
    fn found(&mut self, failed: Option<&StoreError>) {
        match failed {
            None | Some(StoreError::Refused(_)) => {}
            Some(StoreError::Superseded) => {
                error!(
                    "another server has taken over the state directory: this one writes nothing any more and should be \
                     stopped (server.state_dir)"
                );
                self.health.send_replace(Some(StoreError::Superseded));
            }
            Some(failed) => {
                let began = self.health.send_replace(Some(failed.clone())).is_none();
                self.next_probe = Instant::now() + PROBE;
                if began {
                    self.since = Instant::now();
                }
                self.tell(failed);
            }
        }
    }

    fn tell(&mut self, failed: &StoreError) {
        let Some(trouble) = failed.trouble() else { return };
        let is_known = matches!(self.told, Some((kind, at)) if kind == trouble && at.elapsed() < TELL_AGAIN);
        if is_known {
            debug!(error = %failed, "the store can't be written");
        } else {
            self.told = Some((trouble, Instant::now()));
            let advice = trouble.advice();
            error!(error = %failed, file = %self.database.file().display(), "the store can't be written: {advice}");
        }
    }

    /// Looks whether the trouble has passed, by a small write, and takes back what was told as not stored.
    async fn probe(&mut self) {
        match self.look().await {
            Ok(()) => {
                self.undo.clear();
                self.health.send_replace(None);
                let seconds = self.since.elapsed().as_secs_f32();
                info!(seconds, "the store can be written again");
            }
            Err(failed) => {
                if failed.spoils_connection() {
                    self.drop_connection().await;
                }
                self.found(Some(&failed));
                self.next_probe = Instant::now() + PROBE;
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let (patience, epoch, undo) = (self.database.patience(), self.epoch, self.undo.clone());
        let connection = self.connected(PROBE_PATIENCE).await?;
        be_patient(connection, PROBE_PATIENCE).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let current: i64 = sqlx::query_scalar("SELECT value FROM server WHERE name = 'epoch'")
            .fetch_one(&mut *transaction)
            .await?;
        if current != epoch {
            return Err(StoreError::Superseded);
        }
        // A new value each time: SQLite does not write what is there already.
        sqlx::query("INSERT INTO server (name, value) VALUES ('probe', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
            .execute(&mut *transaction)
            .await?;
        for op in &undo {
            ops::undo(&mut transaction, op).await?;
        }
        transaction.commit().await?;
        be_patient(connection, patience).await
    }
}

fn answer(batch: &mut Vec<Write>, outcome: &Result<(), StoreError>) {
    for write in batch.drain(..) {
        write.answer(outcome.clone());
    }
}

/// At that time; never where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn be_patient(connection: &mut SqliteConnection, patience: Duration) -> Result<(), StoreError> {
    let query = format!("PRAGMA busy_timeout = {}", patience.as_millis());
    sqlx::query(AssertSqlSafe(query)).execute(connection).await?;
    Ok(())
}

/// With `store.uncertain=return(SEED)`, five in a hundred commits that were done are told as failed.
fn outcome_is_told() -> Result<(), StoreError> {
    #[cfg(feature = "failpoints")]
    fail::fail_point!("store.uncertain", |seed| {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COMMITS: AtomicU64 = AtomicU64::new(0);
        let seed: u64 = seed.and_then(|seed| seed.parse().ok()).unwrap_or(0);
        // splitmix64: the same seed gives the same commits.
        let mut x = seed
            ^ COMMITS
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (x ^ (x >> 31)) % 100 < 5 {
            warn!("store.uncertain: a commit that was done is told as failed");
            return Err(StoreError::unusable(Trouble::Io, "a failpoint"));
        }
        Ok(())
    });
    Ok(())
}
