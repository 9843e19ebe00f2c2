//! The changes of the store, each with its SQL. Called by the committer, and named by whoever has something stored.
//!
//! Each may be applied twice: where a commit's outcome is not known, the committer does it again. That writes count only while no
//! later server has begun is not said here but by the connection's triggers (`fence.rs`).

use sqlx::SqliteConnection;

use super::shares::{self, ShareRow, Subject};
use super::{
    BatchRow, CredentialRow, DriverRow, IdempotencyRow, SessionRow, StatementRow, StoreError, credentials,
};

/// One change of the store. Applied twice it changes as much as once.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new session, with the key of its request; also moves the counter of ids past its id.
    InsertSession(Box<SessionRow>, Option<Box<IdempotencyRow>>),
    /// A session's state and what became known of it. None leaves a column as it is. A row that has ended stays as it is, so
    /// that a write that had to be tried again can't bring it back.
    UpdateSession {
        /// The session.
        id: i64,
        /// The writer's epoch: a row of a newer epoch stays as it is.
        epoch: i64,
        /// The new state.
        state: String,
        /// Spark's application id.
        app_id: Option<String>,
        /// Spark's UI.
        ui_url: Option<String>,
        /// The sentence that explains the end.
        diagnosis: Option<String>,
        /// When it ended.
        ended: Option<i64>,
        /// What is kept of the request, where that is not all of it.
        request: Option<String>,
    },
    /// A session that its user deleted: its statements go, its row stays in the history.
    DeleteSession {
        /// The session.
        id: i64,
        /// The state that the history shows.
        state: String,
        /// When.
        at: i64,
        /// What is kept of the request, where that is not all of it.
        request: Option<String>,
    },
    /// A new batch, with the key of its request; also moves the counter of ids past its id.
    InsertBatch(Box<BatchRow>, Option<Box<IdempotencyRow>>),
    /// A batch's state and what became known of it. None leaves a column as it is. A row that has ended stays as it is.
    UpdateBatch {
        /// The batch.
        id: i64,
        /// The writer's epoch: a row of a newer epoch stays as it is.
        epoch: i64,
        /// The new state.
        state: String,
        /// The application's exit code.
        exit_code: Option<i64>,
        /// The sentence that explains the end.
        diagnosis: Option<String>,
        /// When it ended.
        ended: Option<i64>,
        /// What is kept of the request, where that is not all of it.
        request: Option<String>,
    },
    /// A batch that its user deleted, or that has ended long ago. Its driver's row stays until nothing of the driver is left.
    DeleteBatch {
        /// The batch.
        id: i64,
    },
    /// A driver that is about to be launched for a session or a batch.
    InsertDriver(Box<DriverRow>),
    /// A driver that was started for nobody is a session's from now on.
    BindDriver {
        /// The driver.
        id: String,
        /// The session.
        session_id: i64,
    },
    /// A driver of which nothing is left, and whose log nobody can ask for any more.
    ForgetDriver {
        /// The driver.
        id: String,
    },
    /// A driver that goes on without its GPUs.
    ReturnGpus {
        /// The driver.
        id: String,
    },
    /// A driver of which nothing is left.
    EndDriver {
        /// The driver.
        id: String,
        /// When.
        at: i64,
    },
    /// An accepted statement, with the key of its request.
    InsertStatement(Box<StatementRow>, Option<Box<IdempotencyRow>>),
    /// A new state of a statement that has not ended.
    MarkStatement {
        /// Its session.
        session_id: i64,
        /// The statement.
        id: i64,
        /// The state.
        state: String,
    },
    /// A statement's end. One that has ended stays as it is.
    EndStatement {
        /// Its session.
        session_id: i64,
        /// The statement.
        id: i64,
        /// The final state.
        state: String,
        /// Livy's output object as JSON.
        output: Option<String>,
        /// The bytes of an output that is in a file.
        output_bytes: Option<i64>,
        /// The row limit that cut a SQL result.
        rows_cut: Option<i64>,
        /// The limit in bytes that cut its text.
        bytes_cut: Option<i64>,
        /// When it began; 0 for one that never did.
        started: i64,
        /// When it ended.
        completed: i64,
    },
    /// The jobs of a session that have ended and are no longer kept: beyond the last `kept`, and those before them whose results
    /// would make more than `bytes`; the last one stays.
    DropJobs {
        /// The session.
        session_id: i64,
        /// How many stay.
        kept: i64,
        /// How many bytes of results stay.
        bytes: i64,
    },
    /// The statements of a session below an id, which are no longer kept.
    DropStatements {
        /// The session.
        session_id: i64,
        /// The first id that stays.
        below: i64,
    },
    /// A share, in place of the one that the same user or group has.
    PutShare(Subject, Box<ShareRow>),
    /// A share that was taken back.
    RemoveShare {
        /// Of what.
        of: Subject,
        /// `user` or `group`.
        kind: String,
        /// The name of that.
        name: String,
    },
    /// A session or batch that is another user's from now on.
    SetOwner {
        /// Which.
        of: Subject,
        /// The user's; none for nobody's.
        owner: Option<String>,
    },
    /// A session that has ended, with all that is left of it.
    ForgetSession {
        /// The session.
        id: i64,
    },
    /// Keys of requests that are older than `before`, `most` of them, the oldest first.
    ForgetKeys {
        /// In epoch milliseconds.
        before: i64,
        /// How many.
        most: i64,
    },
    /// A new API token or login.
    InsertCredential(Box<CredentialRow>),
    /// One that counts no more.
    DeleteCredential {
        /// Its id.
        id: String,
    },
    /// What an administrator has changed of a user's limits.
    SetQuota {
        /// The user.
        owner: String,
        /// As JSON; none: nothing any more.
        changes: Option<String>,
    },
    /// A session whose row can't be read: no list and no start reads it again.
    SetAside {
        /// Its id as text; it may be what is damaged.
        session: String,
        /// What is wrong.
        reason: String,
        /// When.
        at: i64,
    },
}

impl Op {
    /// True for what takes a request's secrets out of the store, or all of a row: until the next checkpoint the write-ahead log has what was there.
    pub(super) fn leaves_traces(&self) -> bool {
        match self {
            Self::UpdateSession { request, .. } | Self::UpdateBatch { request, .. } => request.is_some(),
            Self::DeleteSession { .. } | Self::DeleteBatch { .. } | Self::ForgetSession { .. } => true,
            _ => false,
        }
    }

    /// True for an operation that is one query, and so all or nothing without a transaction around it.
    pub(super) fn is_one_query(&self) -> bool {
        match self {
            Self::UpdateSession { .. }
            | Self::UpdateBatch { .. }
            | Self::PutShare(..)
            | Self::RemoveShare { .. }
            | Self::ForgetDriver { .. }
            | Self::EndDriver { .. }
            | Self::ReturnGpus { .. }
            | Self::BindDriver { .. }
            | Self::InsertStatement(_, None)
            | Self::MarkStatement { .. }
            | Self::EndStatement { .. }
            | Self::DropStatements { .. }
            | Self::DropJobs { .. }
            | Self::ForgetKeys { .. }
            | Self::DeleteCredential { .. }
            | Self::SetQuota { .. }
            | Self::SetAside { .. } => true,
            Self::InsertSession(..)
            | Self::InsertBatch(..)
            | Self::InsertStatement(_, Some(_))
            | Self::DeleteSession { .. }
            | Self::DeleteBatch { .. }
            | Self::SetOwner { .. }
            | Self::InsertDriver(_)
            | Self::InsertCredential(_)
            | Self::ForgetSession { .. } => false,
        }
    }

    /// True for what must not be found later where its caller was told that it is not stored: somebody would do it again under
    /// another number.
    pub(super) fn is_undone(&self) -> bool {
        matches!(
            self,
            Self::InsertSession(..)
                | Self::InsertBatch(..)
                | Self::InsertDriver(_)
                | Self::InsertCredential(_)
                | Self::InsertStatement(..)
                | Self::PutShare(..)
        )
    }
}

/// Does it, inside the caller's transaction or as one of its own.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn apply(to: &mut SqliteConnection, op: &Op) -> Result<(), StoreError> {
    match op {
        Op::InsertSession(row, key) => {
            insert_session(to, row).await?;
            insert_key(to, key.as_deref()).await
        }
        Op::UpdateSession {
            id,
            epoch,
            state,
            app_id,
            ui_url,
            diagnosis,
            ended,
            request,
        } => sqlx::query(
            "UPDATE sessions SET state = ?, app_id = coalesce(?, app_id), ui_url = coalesce(?, ui_url), \
                 diagnosis = coalesce(?, diagnosis), ended = coalesce(?, ended), request = coalesce(?, request) \
                 WHERE id = ? AND epoch <= ? AND ended IS NULL",
        )
        .bind(state)
        .bind(app_id)
        .bind(ui_url)
        .bind(diagnosis)
        .bind(ended)
        .bind(request)
        .bind(id)
        .bind(epoch)
        .execute(to)
        .await?
        .done(),
        Op::DeleteSession {
            id,
            state,
            at,
            request,
        } => {
            sqlx::query(
                "UPDATE sessions SET state = ?, deleted = coalesce(deleted, ?), ended = coalesce(ended, ?), \
                 request = coalesce(?, request) WHERE id = ?",
            )
            .bind(state)
            .bind(at)
            .bind(at)
            .bind(request)
            .bind(id)
            .execute(&mut *to)
            .await?;
            sqlx::query("DELETE FROM statements WHERE session_id = ?")
                .bind(id)
                .execute(to)
                .await?
                .done()
        }
        Op::InsertBatch(row, key) => {
            insert_batch(to, row).await?;
            insert_key(to, key.as_deref()).await
        }
        Op::UpdateBatch {
            id,
            epoch,
            state,
            exit_code,
            diagnosis,
            ended,
            request,
        } => sqlx::query(
            "UPDATE batches SET state = ?, exit_code = coalesce(?, exit_code), diagnosis = coalesce(?, diagnosis), \
             ended = coalesce(?, ended), request = coalesce(?, request) WHERE id = ? AND epoch <= ? AND ended IS NULL",
        )
        .bind(state)
        .bind(exit_code)
        .bind(diagnosis)
        .bind(ended)
        .bind(request)
        .bind(id)
        .bind(epoch)
        .execute(to)
        .await?
        .done(),
        Op::DeleteBatch { id } => {
            shares::forget(to, Subject::Batch(*id)).await?;
            sqlx::query("DELETE FROM batches WHERE id = ?")
                .bind(id)
                .execute(to)
                .await?
                .done()
        }
        Op::PutShare(of, row) => shares::put(to, *of, row).await,
        Op::RemoveShare { of, kind, name } => shares::remove(to, *of, kind, name).await,
        Op::SetOwner { of, owner } => shares::set_owner(to, *of, owner.as_deref()).await,
        Op::ForgetDriver { id } => sqlx::query("DELETE FROM drivers WHERE id = ?")
            .bind(id)
            .execute(to)
            .await?
            .done(),
        Op::InsertDriver(row) => insert_driver(to, row).await,
        Op::BindDriver { id, session_id } => {
            for update in [
                "UPDATE drivers SET session_id = ? WHERE id = ?",
                "UPDATE sessions SET driver_id = ?2 WHERE id = ?1",
            ] {
                let bound = sqlx::query(update).bind(session_id).bind(id);
                bound.execute(&mut *to).await?;
            }
            Ok(())
        }
        Op::ReturnGpus { id } => sqlx::query("UPDATE drivers SET gpus = NULL WHERE id = ?")
            .bind(id)
            .execute(to)
            .await?
            .done(),
        Op::EndDriver { id, at } => sqlx::query("UPDATE drivers SET ended = ? WHERE id = ?")
            .bind(at)
            .bind(id)
            .execute(to)
            .await?
            .done(),
        Op::InsertStatement(row, key) => {
            insert_statement(to, row).await?;
            insert_key(to, key.as_deref()).await
        }
        Op::MarkStatement {
            session_id,
            id,
            state,
        } => sqlx::query("UPDATE statements SET state = ? WHERE session_id = ? AND id = ? AND completed = 0")
            .bind(state)
            .bind(session_id)
            .bind(id)
            .execute(to)
            .await?
            .done(),
        Op::EndStatement {
            session_id,
            id,
            state,
            output,
            output_bytes,
            rows_cut,
            bytes_cut,
            started,
            completed,
        } => sqlx::query(
            "UPDATE statements SET state = ?, output = ?, output_bytes = ?, rows_cut = ?, bytes_cut = ?, started = ?, completed = ?, \
             code = CASE WHEN id < 0 THEN '' ELSE code END \
             WHERE session_id = ? AND id = ? AND completed = 0",
        )
        .bind(state)
        .bind(output)
        .bind(output_bytes)
        .bind(rows_cut)
        .bind(bytes_cut)
        .bind(started)
        .bind(completed)
        .bind(session_id)
        .bind(id)
        .execute(to)
        .await?
        .done(),
        Op::DropJobs {
            session_id,
            kept,
            bytes,
        } => sqlx::query(
            "DELETE FROM statements WHERE session_id = ?1 AND id IN (SELECT id FROM (SELECT id, \
             row_number() OVER (ORDER BY id) AS place, sum(octet_length(output)) OVER (ORDER BY id) AS bytes \
             FROM statements WHERE session_id = ?1 AND id < 0 AND completed > 0) AS ended \
             WHERE place > ?2 OR (place > 1 AND bytes > ?3))",
        )
        .bind(session_id)
        .bind(kept)
        .bind(bytes)
        .execute(to)
        .await?
        .done(),
        Op::DropStatements { session_id, below } => {
            sqlx::query("DELETE FROM statements WHERE session_id = ? AND id >= 0 AND id < ?")
                .bind(session_id)
                .bind(below)
                .execute(to)
                .await?
                .done()
        }
        Op::ForgetSession { id } => forget_session(to, *id).await,
        Op::ForgetKeys { before, most } => sqlx::query(
            "DELETE FROM idempotency WHERE (scope, key) IN \
             (SELECT scope, key FROM idempotency WHERE created < ? ORDER BY created LIMIT ?)",
        )
        .bind(before)
        .bind(most)
        .execute(to)
        .await?
        .done(),
        Op::InsertCredential(row) => credentials::insert(to, row).await,
        Op::DeleteCredential { id } => credentials::delete(to, id).await,
        Op::SetQuota { owner, changes } => match changes {
            Some(changes) => sqlx::query(
                "INSERT INTO quotas (owner, changes) VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET changes = ?2",
            )
            .bind(owner)
            .bind(changes)
            .execute(to)
            .await?
            .done(),
            None => sqlx::query("DELETE FROM quotas WHERE owner = ?")
                .bind(owner)
                .execute(to)
                .await?
                .done(),
        },
        Op::SetAside { session, reason, at } => {
            sqlx::query("INSERT INTO quarantine (session, reason, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(session)
                .bind(reason)
                .bind(at)
                .execute(to)
                .await?
                .done()
        }
    }
}

/// Takes back an insert of which it is not known whether it was stored.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn undo(to: &mut SqliteConnection, op: &Op) -> Result<(), StoreError> {
    match op {
        Op::InsertSession(row, key) => {
            sqlx::query("DELETE FROM sessions WHERE id = ? AND created = ? AND epoch = ?")
                .bind(row.id)
                .bind(row.created)
                .bind(row.epoch)
                .execute(&mut *to)
                .await?;
            delete_key(to, key.as_deref()).await
        }
        Op::InsertBatch(row, key) => {
            sqlx::query("DELETE FROM batches WHERE id = ? AND created = ? AND epoch = ?")
                .bind(row.id)
                .bind(row.created)
                .bind(row.epoch)
                .execute(&mut *to)
                .await?;
            delete_key(to, key.as_deref()).await
        }
        Op::InsertDriver(row) => sqlx::query("DELETE FROM drivers WHERE id = ?")
            .bind(&row.id)
            .execute(to)
            .await?
            .done(),
        Op::InsertStatement(row, key) => {
            sqlx::query("DELETE FROM statements WHERE session_id = ? AND id = ? AND accepted = ?")
                .bind(row.session_id)
                .bind(row.id)
                .bind(row.accepted)
                .execute(&mut *to)
                .await?;
            delete_key(to, key.as_deref()).await
        }
        Op::PutShare(of, row) => shares::undo(to, *of, row).await,
        Op::InsertCredential(row) => credentials::delete(to, &row.id).await,
        _ => Ok(()),
    }
}

/// For the end of a chain of calls.
trait Done {
    fn done(self) -> Result<(), StoreError>;
}

impl Done for sqlx::sqlite::SqliteQueryResult {
    fn done(self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What an insert that met its id has to ask: whether the row there is its own, written a moment ago.
async fn is_own(inserted: u64, found: impl Future<Output = sqlx::Result<i64>>) -> Result<(), StoreError> {
    if inserted == 1 || found.await? == 1 {
        Ok(())
    } else {
        Err(StoreError::Refused(
            "there is another row with this id".to_owned(),
        ))
    }
}

async fn insert_session(to: &mut SqliteConnection, row: &SessionRow) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO sessions (id, name, owner, proxy_user, kind, state, request, app_id, ui_url, driver_id, epoch, \
         diagnosis, created, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(row.id)
    .bind(&row.name)
    .bind(&row.owner)
    .bind(&row.proxy_user)
    .bind(&row.kind)
    .bind(&row.state)
    .bind(&row.request)
    .bind(&row.app_id)
    .bind(&row.ui_url)
    .bind(&row.driver_id)
    .bind(row.epoch)
    .bind(&row.diagnosis)
    .bind(row.created)
    .bind(row.ended)
    .execute(&mut *to)
    .await?
    .rows_affected();
    let found =
        sqlx::query_scalar("SELECT count(*) FROM sessions WHERE id = ? AND created = ? AND epoch = ?")
            .bind(row.id)
            .bind(row.created)
            .bind(row.epoch)
            .fetch_one(&mut *to);
    is_own(inserted, found).await?;
    sqlx::query("UPDATE server SET value = ? WHERE name = 'next_session_id' AND value <= ?")
        .bind(row.id + 1)
        .bind(row.id)
        .execute(to)
        .await?
        .done()
}

async fn insert_batch(to: &mut SqliteConnection, row: &BatchRow) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO batches (id, name, owner, proxy_user, state, request, driver_id, epoch, exit_code, diagnosis, created, \
         ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(row.id)
    .bind(&row.name)
    .bind(&row.owner)
    .bind(&row.proxy_user)
    .bind(&row.state)
    .bind(&row.request)
    .bind(&row.driver_id)
    .bind(row.epoch)
    .bind(row.exit_code)
    .bind(&row.diagnosis)
    .bind(row.created)
    .bind(row.ended)
    .execute(&mut *to)
    .await?
    .rows_affected();
    let found = sqlx::query_scalar("SELECT count(*) FROM batches WHERE id = ? AND created = ? AND epoch = ?")
        .bind(row.id)
        .bind(row.created)
        .bind(row.epoch)
        .fetch_one(&mut *to);
    is_own(inserted, found).await?;
    sqlx::query("UPDATE server SET value = ? WHERE name = 'next_batch_id' AND value <= ?")
        .bind(row.id + 1)
        .bind(row.id)
        .execute(to)
        .await?
        .done()
}

async fn insert_driver(to: &mut SqliteConnection, row: &DriverRow) -> Result<(), StoreError> {
    // Its id is a UUID: a row that has it is this one.
    sqlx::query(
        "INSERT INTO drivers (id, session_id, batch_id, epoch, created, gpus, cluster, remote) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&row.id)
    .bind(row.session_id)
    .bind(row.batch_id)
    .bind(row.epoch)
    .bind(row.created)
    .bind(&row.gpus)
    .bind(&row.cluster)
    .bind(row.remote)
    .execute(&mut *to)
    .await?;
    for (update, served) in [
        ("UPDATE sessions SET driver_id = ? WHERE id = ?", row.session_id),
        ("UPDATE batches SET driver_id = ? WHERE id = ?", row.batch_id),
    ] {
        if let Some(id) = served {
            sqlx::query(update)
                .bind(&row.id)
                .bind(id)
                .execute(&mut *to)
                .await?;
        }
    }
    Ok(())
}

async fn insert_statement(to: &mut SqliteConnection, row: &StatementRow) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO statements (session_id, id, kind, code, state, output, rows_cut, before_statement, accepted, started, \
         completed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, id) DO NOTHING",
    )
    .bind(row.session_id)
    .bind(row.id)
    .bind(&row.kind)
    .bind(&row.code)
    .bind(&row.state)
    .bind(&row.output)
    .bind(row.rows_cut)
    .bind(row.before_statement)
    .bind(row.accepted)
    .bind(row.started)
    .bind(row.completed)
    .execute(&mut *to)
    .await?
    .rows_affected();
    let found = sqlx::query_scalar(
        "SELECT count(*) FROM statements WHERE session_id = ? AND id = ? AND accepted = ? AND code = ?",
    )
    .bind(row.session_id)
    .bind(row.id)
    .bind(row.accepted)
    .bind(&row.code)
    .fetch_one(to);
    is_own(inserted, found).await
}

async fn insert_key(to: &mut SqliteConnection, row: Option<&IdempotencyRow>) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    let inserted = sqlx::query(
        "INSERT INTO idempotency (scope, key, fingerprint, session_id, statement_id, created) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (scope, key) DO NOTHING",
    )
    .bind(&row.scope)
    .bind(&row.key)
    .bind(&row.fingerprint)
    .bind(row.session_id)
    .bind(row.statement_id)
    .bind(row.created)
    .execute(&mut *to)
    .await?
    .rows_affected();
    let found = sqlx::query_scalar(
        "SELECT count(*) FROM idempotency WHERE scope = ? AND key = ? AND session_id = ? AND statement_id IS ?",
    )
    .bind(&row.scope)
    .bind(&row.key)
    .bind(row.session_id)
    .bind(row.statement_id)
    .fetch_one(to);
    is_own(inserted, found).await
}

async fn delete_key(to: &mut SqliteConnection, row: Option<&IdempotencyRow>) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    sqlx::query("DELETE FROM idempotency WHERE scope = ? AND key = ? AND created = ?")
        .bind(&row.scope)
        .bind(&row.key)
        .bind(row.created)
        .execute(to)
        .await?
        .done()
}

async fn forget_session(to: &mut SqliteConnection, id: i64) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM statements WHERE session_id = ?",
        "DELETE FROM drivers WHERE session_id = ?",
        "DELETE FROM sessions WHERE id = ? AND ended IS NOT NULL",
    ] {
        sqlx::query(delete).bind(id).execute(&mut *to).await?;
    }
    shares::forget(to, Subject::Session(id)).await
}
