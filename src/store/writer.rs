//! The one task that writes. Everything queued goes into one transaction; if that fails, each is tried alone, so that one bad
//! write does not undo its neighbours.

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::{DriverRow, IdempotencyRow, SessionRow, StatementRow, StoreError};

/// The most writes that share a commit.
const BATCH: usize = 256;

/// One change of the store. Each is idempotent or fails as a whole.
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
    },
    /// A session that its user deleted: its statements go, its row stays in the history.
    DeleteSession {
        /// The session.
        id: i64,
        /// The state that the history shows.
        state: String,
        /// When.
        at: i64,
    },
    /// A driver that is about to be launched for a session.
    InsertDriver(Box<DriverRow>),
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
        /// The row limit that cut a SQL result.
        rows_cut: Option<i64>,
        /// When it began; 0 for one that never did.
        started: i64,
        /// When it ended.
        completed: i64,
    },
    /// The statements of a session below an id, which are no longer kept.
    DropStatements {
        /// The session.
        session_id: i64,
        /// The first id that stays.
        below: i64,
    },
    /// All but the newest `kept` ended sessions, with their statements.
    TrimHistory {
        /// How many stay.
        kept: i64,
    },
}

impl Op {
    /// True for an operation that is one query, and so all or nothing without a transaction around it.
    fn is_one_query(&self) -> bool {
        match self {
            Self::UpdateSession { .. }
            | Self::EndDriver { .. }
            | Self::InsertStatement(_, None)
            | Self::MarkStatement { .. }
            | Self::EndStatement { .. }
            | Self::DropStatements { .. } => true,
            Self::InsertSession(..)
            | Self::InsertStatement(_, Some(_))
            | Self::DeleteSession { .. }
            | Self::InsertDriver(_)
            | Self::TrimHistory { .. } => false,
        }
    }
}

pub(super) struct Write {
    pub op: Op,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

pub(super) async fn run(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let outcome = commit(&mut connection, &batch).await;
        if outcome.is_ok() || batch.len() == 1 {
            for write in batch.drain(..) {
                // A caller that has left does not need its answer.
                let _ = write.done.send(outcome.clone());
            }
        } else {
            for write in batch.drain(..) {
                let alone = commit(&mut connection, std::slice::from_ref(&write)).await;
                let _ = write.done.send(alone);
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store was not closed cleanly");
    }
}

async fn commit(connection: &mut SqliteConnection, batch: &[Write]) -> Result<(), StoreError> {
    if let [Write { op, .. }] = batch
        && op.is_one_query()
    {
        // It is a transaction by itself: two trips to SQLite's thread less, which a statement's round trip shows.
        return Ok(apply(connection, op).await?);
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for write in batch {
        apply(&mut transaction, &write.op).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn apply(to: &mut SqliteConnection, op: &Op) -> Result<(), sqlx::Error> {
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
        } => sqlx::query(
            "UPDATE sessions SET state = ?, app_id = coalesce(?, app_id), ui_url = coalesce(?, ui_url), \
                 diagnosis = coalesce(?, diagnosis), ended = coalesce(?, ended) WHERE id = ? AND epoch <= ? AND ended IS NULL",
        )
        .bind(state)
        .bind(app_id)
        .bind(ui_url)
        .bind(diagnosis)
        .bind(ended)
        .bind(id)
        .bind(epoch)
        .execute(to)
        .await
        .map(drop),
        Op::DeleteSession { id, state, at } => {
            sqlx::query(
                "UPDATE sessions SET state = ?, deleted = ?, ended = coalesce(ended, ?) WHERE id = ?",
            )
            .bind(state)
            .bind(at)
            .bind(at)
            .bind(id)
            .execute(&mut *to)
            .await?;
            sqlx::query("DELETE FROM statements WHERE session_id = ?")
                .bind(id)
                .execute(to)
                .await
                .map(drop)
        }
        Op::InsertDriver(row) => insert_driver(to, row).await,
        Op::EndDriver { id, at } => sqlx::query("UPDATE drivers SET ended = ? WHERE id = ?")
            .bind(at)
            .bind(id)
            .execute(to)
            .await
            .map(drop),
        Op::InsertStatement(row, key) => {
            insert_statement(to, row).await?;
            insert_key(to, key.as_deref()).await
        }
        Op::MarkStatement {
            session_id,
            id,
            state,
        } => {
            sqlx::query("UPDATE statements SET state = ? WHERE session_id = ? AND id = ? AND completed = 0")
                .bind(state)
                .bind(session_id)
                .bind(id)
                .execute(to)
                .await
                .map(drop)
        }
        Op::EndStatement {
            session_id,
            id,
            state,
            output,
            rows_cut,
            started,
            completed,
        } => sqlx::query(
            "UPDATE statements SET state = ?, output = ?, rows_cut = ?, started = ?, completed = ? \
             WHERE session_id = ? AND id = ? AND completed = 0",
        )
        .bind(state)
        .bind(output)
        .bind(rows_cut)
        .bind(started)
        .bind(completed)
        .bind(session_id)
        .bind(id)
        .execute(to)
        .await
        .map(drop),
        Op::DropStatements { session_id, below } => {
            sqlx::query("DELETE FROM statements WHERE session_id = ? AND id < ?")
                .bind(session_id)
                .bind(below)
                .execute(to)
                .await
                .map(drop)
        }
        Op::TrimHistory { kept } => trim_history(to, *kept).await,
    }
}

async fn insert_session(to: &mut SqliteConnection, row: &SessionRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO sessions (id, name, owner, proxy_user, kind, state, request, app_id, ui_url, driver_id, epoch, \
         diagnosis, created, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    .await?;
    sqlx::query("UPDATE server SET value = ? WHERE name = 'next_session_id' AND value <= ?")
        .bind(row.id + 1)
        .bind(row.id)
        .execute(to)
        .await
        .map(drop)
}

async fn insert_driver(to: &mut SqliteConnection, row: &DriverRow) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO drivers (id, session_id, epoch, created) VALUES (?, ?, ?, ?)")
        .bind(&row.id)
        .bind(row.session_id)
        .bind(row.epoch)
        .bind(row.created)
        .execute(&mut *to)
        .await?;
    sqlx::query("UPDATE sessions SET driver_id = ? WHERE id = ?")
        .bind(&row.id)
        .bind(row.session_id)
        .execute(to)
        .await
        .map(drop)
}

async fn insert_statement(to: &mut SqliteConnection, row: &StatementRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO statements (session_id, id, kind, code, state, output, rows_cut, accepted, started, completed) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.session_id)
    .bind(row.id)
    .bind(&row.kind)
    .bind(&row.code)
    .bind(&row.state)
    .bind(&row.output)
    .bind(row.rows_cut)
    .bind(row.accepted)
    .bind(row.started)
    .bind(row.completed)
    .execute(to)
    .await
    .map(drop)
}

async fn insert_key(to: &mut SqliteConnection, row: Option<&IdempotencyRow>) -> Result<(), sqlx::Error> {
    let Some(row) = row else { return Ok(()) };
    sqlx::query(
        "INSERT INTO idempotency (scope, key, fingerprint, session_id, statement_id, created) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.scope)
    .bind(&row.key)
    .bind(&row.fingerprint)
    .bind(row.session_id)
    .bind(row.statement_id)
    .bind(row.created)
    .execute(to)
    .await
    .map(drop)
}

async fn trim_history(to: &mut SqliteConnection, kept: i64) -> Result<(), sqlx::Error> {
    const GOING: &str =
        "SELECT id FROM sessions WHERE ended IS NOT NULL ORDER BY ended DESC, id DESC LIMIT -1 OFFSET ?";
    let going: Vec<i64> = sqlx::query_scalar(GOING).bind(kept).fetch_all(&mut *to).await?;
    for id in going {
        for delete in [
            "DELETE FROM statements WHERE session_id = ?",
            "DELETE FROM drivers WHERE session_id = ?",
            "DELETE FROM sessions WHERE id = ?",
        ] {
            sqlx::query(delete).bind(id).execute(&mut *to).await?;
        }
    }
    Ok(())
}
