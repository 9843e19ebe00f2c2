//! Reads. Each is one query on the pool; none blocks the writer.
//!
//! Rows are made one by one, and a row that makes no sense costs itself only (`quarantine.rs`). Where SQLite can't read a part of the file, the
//! rows are asked for one by one as well, by the ids that an index has.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{IdempotencyRow, LeaseRow, LeftDriver, SessionRow, StatementRow, Store, StoreError, Trouble};

const SESSION: &str = "SELECT id, name, owner, proxy_user, kind, state, request, app_id, ui_url, driver_id, epoch, \
                       diagnosis, created, ended FROM sessions";
/// Sessions that are read.
const SOUND: &str = "CAST(id AS TEXT) NOT IN (SELECT session FROM quarantine)";
const STATEMENT: &str = "SELECT session_id, id, kind, code, state, output, output_bytes, rows_cut, bytes_cut, before_statement, accepted, \
                         started, completed FROM statements WHERE session_id = ?";

impl Store {
    /// The id that the next session gets; ids are never used twice.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_session_id(&self) -> Result<i64, StoreError> {
        Ok(
            sqlx::query_scalar("SELECT value FROM server WHERE name = 'next_session_id'")
                .fetch_one(&self.reads)
                .await?,
        )
    }

    /// The sessions that had not ended, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unended_sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        let which = format!("WHERE ended IS NULL AND {SOUND} ORDER BY id");
        let whole = sqlx::query(AssertSqlSafe(format!("{SESSION} {which}")))
            .fetch_all(&self.reads)
            .await;
        match whole {
            Ok(rows) => Ok(self.sound(&rows)),
            Err(error) => {
                let ids = sqlx::query(AssertSqlSafe(format!("SELECT id FROM sessions {which}")));
                self.rescue(error, ids.fetch_all(&self.reads)).await
            }
        }
    }

    /// A session that has ended.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ended_session(&self, id: i64) -> Result<Option<SessionRow>, StoreError> {
        let query = format!("{SESSION} WHERE id = ? AND ended IS NOT NULL AND {SOUND}");
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(id)
            .fetch_optional(&self.reads)
            .await?;
        Ok(row.and_then(|row| self.sound(&[row]).pop()))
    }

    /// The sessions that ended at `since` or later and were not deleted, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ended_since(&self, since: i64) -> Result<Vec<SessionRow>, StoreError> {
        let which = format!("WHERE ended >= ? AND deleted IS NULL AND {SOUND} ORDER BY id");
        let whole = sqlx::query(AssertSqlSafe(format!("{SESSION} {which}")))
            .bind(since)
            .fetch_all(&self.reads)
            .await;
        match whole {
            Ok(rows) => Ok(self.sound(&rows)),
            Err(error) => {
                let ids = sqlx::query(AssertSqlSafe(format!("SELECT id FROM sessions {which}")));
                self.rescue(error, ids.bind(since).fetch_all(&self.reads)).await
            }
        }
    }

    /// The drivers that may still have processes though their session has ended or was set aside, and whether it was deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn abandoned_drivers(&self) -> Result<Vec<(LeftDriver, bool)>, StoreError> {
        const QUERY: &str = "SELECT drivers.id, sessions.id IS NULL OR sessions.deleted IS NOT NULL, CAST(sessions.id AS TEXT), \
             sessions.id IS NULL OR sessions.ended IS NOT NULL OR CAST(sessions.id AS TEXT) IN (SELECT session FROM quarantine), cluster, remote \
             FROM drivers LEFT JOIN sessions ON sessions.id = drivers.session_id WHERE drivers.ended IS NULL AND drivers.batch_id IS NULL";
        let rows = sqlx::query(QUERY).fetch_all(&self.reads).await?;
        let read = |row: &SqliteRow| {
            let (session, abandoned): (Option<String>, bool) = (row.try_get(2).ok()?, row.try_get(3).ok()?);
            // One that was just set aside may not be in the table yet.
            let abandoned = abandoned || session.is_some_and(|session| self.is_set_aside(&session));
            let driver = LeftDriver {
                id: row.try_get(0).ok()?,
                cluster: row.try_get(4).ok()?,
                remote: row.try_get(5).ok()?,
            };
            abandoned.then_some((driver, row.try_get(1).ok()?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Whether a driver's log is that of a stored session which was not deleted, or of a stored batch.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_driver(&self, id: &str) -> Result<bool, StoreError> {
        const QUERY: &str = "SELECT EXISTS (SELECT 1 FROM drivers JOIN sessions ON sessions.id = drivers.session_id \
             WHERE drivers.id = ? AND sessions.deleted IS NULL) OR EXISTS (SELECT 1 FROM drivers JOIN batches ON batches.id = \
             drivers.batch_id WHERE drivers.id = ?)";
        Ok(sqlx::query_scalar(QUERY)
            .bind(id)
            .bind(id)
            .fetch_one(&self.reads)
            .await?)
    }

    /// What was answered to the request with this key.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn idempotent(&self, scope: &str, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        const QUERY: &str = "SELECT scope, key, fingerprint, session_id, statement_id, created FROM idempotency \
             WHERE scope = ? AND key = ?";
        Ok(sqlx::query_as(QUERY)
            .bind(scope)
            .bind(key)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// The id that the session's next statement gets.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_statement_id(&self, session: i64) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT coalesce(max(id) + 1, 0) FROM statements WHERE session_id = ? AND id >= 0",
        )
        .bind(session)
        .fetch_one(&self.reads)
        .await?)
    }

    /// The id that the session's next job gets.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_job_id(&self, session: i64) -> Result<i64, StoreError> {
        const QUERY: &str =
            "SELECT coalesce(min(id) - 1, -1) FROM statements WHERE session_id = ? AND id < 0";
        Ok(sqlx::query_scalar(QUERY)
            .bind(session)
            .fetch_one(&self.reads)
            .await?)
    }

    /// A page of the ended sessions, newest first, of one owner or of all, with how many there are. `also` are further ones beside that
    /// owner's.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(
        &self,
        owner: Option<&str>,
        also: &[i64],
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<SessionRow>), StoreError> {
        let of_owner = match (owner, also) {
            (None, _) => "?1 IS NULL AND".to_owned(),
            (Some(_), []) => "owner = ?1 AND".to_owned(),
            (Some(_), also) => {
                let ids: Vec<String> = also.iter().map(i64::to_string).collect();
                format!("(owner = ?1 OR id IN ({})) AND", ids.join(", "))
            }
        };
        let total = format!(
            "SELECT (SELECT count(*) FROM sessions WHERE {of_owner} ended IS NOT NULL) - \
             (SELECT count(*) FROM sessions WHERE {of_owner} ended IS NOT NULL AND id IN \
             (SELECT CAST(session AS BIGINT) FROM quarantine))"
        );
        let total: i64 = sqlx::query_scalar(AssertSqlSafe(total))
            .bind(owner)
            .fetch_one(&self.reads)
            .await?;
        let size = size.min(total - from).max(0);
        // Rows before the page are walked over: from the nearer end. To test each against an empty quarantine would take
        // three times as long as the walk.
        let sound = if self.has_quarantine().await? {
            SOUND
        } else {
            "TRUE"
        };
        let is_near_end = from > total / 2;
        let (order, skipped) = match is_near_end {
            true => ("ended, id", total - from - size),
            false => ("ended DESC, id DESC", from),
        };
        let which =
            format!("WHERE {of_owner} ended IS NOT NULL AND {sound} ORDER BY {order} LIMIT ?2 OFFSET ?3");
        let whole = sqlx::query(AssertSqlSafe(format!("{SESSION} {which}")))
            .bind(owner)
            .bind(size)
            .bind(skipped)
            .fetch_all(&self.reads)
            .await;
        let mut rows = match whole {
            Ok(rows) => self.sound(&rows),
            Err(error) => {
                let ids = sqlx::query(AssertSqlSafe(format!("SELECT id FROM sessions {which}")));
                let ids = ids.bind(owner).bind(size).bind(skipped);
                self.rescue(error, ids.fetch_all(&self.reads)).await?
            }
        };
        if is_near_end {
            rows.reverse();
        }
        Ok((total, rows))
    }

    async fn has_quarantine(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM quarantine)")
            .fetch_one(&self.reads)
            .await?)
    }

    /// The oldest of the ended sessions that are too many or too old, `most` of them, oldest first. `kept` may stay, and those that
    /// ended at `since` or later.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expired_sessions(
        &self,
        kept: i64,
        since: i64,
        except: &[i64],
        most: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let ended: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE ended IS NOT NULL")
            .fetch_one(&self.reads)
            .await?;
        let oldest = format!(
            "SELECT id, ended FROM sessions WHERE ended IS NOT NULL AND {SOUND} ORDER BY ended, id LIMIT ?"
        );
        let oldest: Vec<SqliteRow> = sqlx::query(AssertSqlSafe(oldest))
            .bind(most + i64::try_from(except.len()).unwrap_or(0))
            .fetch_all(&self.reads)
            .await?;
        let too_many = usize::try_from(ended - kept).unwrap_or(0);
        let expired = oldest.iter().enumerate().filter_map(|(at, row)| {
            // What can't be read is for a person to look at.
            let (id, ended): (i64, i64) = (row.try_get("id").ok()?, row.try_get("ended").ok()?);
            ((at < too_many || ended < since) && !except.contains(&id)).then_some(id)
        });
        Ok(expired.take(usize::try_from(most).unwrap_or(0)).collect())
    }

    /// The drivers that hold GPUs, and may have processes.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        const QUERY: &str = "SELECT drivers.id, session_id, batch_id, COALESCE(sessions.owner, batches.owner) AS owner, drivers.created, gpus FROM drivers \
             LEFT JOIN sessions ON sessions.id = session_id LEFT JOIN batches ON batches.id = batch_id \
             WHERE drivers.ended IS NULL AND gpus IS NOT NULL";
        Ok(sqlx::query_as(QUERY).fetch_all(&self.reads).await?)
    }

    /// What administrators have changed of users' limits: each user, and the changes as JSON.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn quotas(&self) -> Result<Vec<(String, String)>, StoreError> {
        const QUERY: &str = "SELECT owner, changes FROM quotas ORDER BY owner";
        Ok(sqlx::query_as(QUERY).fetch_all(&self.reads).await?)
    }

    /// A session's drivers, the latest last.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn drivers_of(&self, session: i64) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT id FROM drivers WHERE session_id = ? ORDER BY created, id")
            .bind(session)
            .fetch_all(&self.reads)
            .await?;
        Ok(rows.iter().filter_map(|row| row.try_get("id").ok()).collect())
    }

    /// Whether there are keys of requests that are older than `before`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_keys_before(&self, before: i64) -> Result<bool, StoreError> {
        const QUERY: &str = "SELECT EXISTS (SELECT 1 FROM idempotency WHERE created < ?)";
        Ok(sqlx::query_scalar(QUERY)
            .bind(before)
            .fetch_one(&self.reads)
            .await?)
    }

    /// The id of the statement that stands `place` places after a session's first; none where it has not so many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn statement_at(&self, session: i64, place: i64) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT id FROM statements WHERE session_id = ? AND id >= 0 ORDER BY id LIMIT 1 OFFSET ?",
        )
        .bind(session)
        .bind(place)
        .fetch_optional(&self.reads)
        .await?)
    }

    /// One statement, or job.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn statement(&self, session: i64, id: i64) -> Result<Option<StatementRow>, StoreError> {
        let query = format!("{STATEMENT} AND id = ?");
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(session)
            .bind(id)
            .fetch_optional(&self.reads)
            .await;
        match row.map_err(StoreError::from) {
            Ok(row) => Ok(row.and_then(|row| StatementRow::read(session, &row))),
            Err(error) if error.trouble() == Some(Trouble::Damaged) => {
                Ok(Some(StatementRow::damaged(session, id, error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// The statements and jobs that had no result yet, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unended_statements(&self, session: i64) -> Result<Vec<StatementRow>, StoreError> {
        let which = "completed = 0 ORDER BY id";
        let whole = sqlx::query(AssertSqlSafe(format!("{STATEMENT} AND {which}")))
            .bind(session)
            .fetch_all(&self.reads)
            .await;
        match whole.map_err(StoreError::from) {
            Ok(rows) => {
                let read = |row| StatementRow::read(session, row);
                Ok(rows.iter().filter_map(read).collect())
            }
            Err(error) => {
                let ids = sqlx::query_scalar("SELECT id FROM statements WHERE session_id = ? ORDER BY id");
                let rows = self.rescue_statements(error, session, ids.bind(session).fetch_all(&self.reads));
                // What can't be read at all may not have ended.
                Ok(rows.await?.into_iter().filter(|row| row.completed == 0).collect())
            }
        }
    }

    /// The ended sessions, not deleted ones, that have statements without an end: their server was killed between the two.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn half_ended_sessions(&self) -> Result<Vec<i64>, StoreError> {
        const QUERY: &str = "SELECT DISTINCT session_id FROM statements WHERE completed = 0 AND EXISTS \
             (SELECT 1 FROM sessions WHERE id = session_id AND ended IS NOT NULL AND deleted IS NULL)";
        Ok(sqlx::query_scalar(QUERY).fetch_all(&self.reads).await?)
    }

    /// A page of a session's statements in the order of their ids or against it, with how many there are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn statements(
        &self,
        session: i64,
        descending: bool,
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<StatementRow>), StoreError> {
        let total = sqlx::query_scalar("SELECT count(*) FROM statements WHERE session_id = ? AND id >= 0")
            .bind(session)
            .fetch_one(&self.reads)
            .await?;
        let order = if descending { "DESC" } else { "ASC" };
        let page = format!("AND id >= 0 ORDER BY id {order} LIMIT ? OFFSET ?");
        let whole = sqlx::query(AssertSqlSafe(format!("{STATEMENT} {page}")))
            .bind(session)
            .bind(size)
            .bind(from)
            .fetch_all(&self.reads)
            .await;
        match whole.map_err(StoreError::from) {
            Ok(rows) => {
                let read = |row| StatementRow::read(session, row);
                Ok((total, rows.iter().filter_map(read).collect()))
            }
            Err(error) => {
                let ids = format!("SELECT id FROM statements WHERE session_id = ? {page}");
                let ids = sqlx::query_scalar(AssertSqlSafe(ids))
                    .bind(session)
                    .bind(size)
                    .bind(from);
                let rows = self.rescue_statements(error, session, ids.fetch_all(&self.reads));
                Ok((total, rows.await?))
            }
        }
    }

    /// Where a part of the file can't be read: the statements with these ids one by one.
    async fn rescue_statements(
        &self,
        error: StoreError,
        session: i64,
        ids: impl Future<Output = sqlx::Result<Vec<i64>>>,
    ) -> Result<Vec<StatementRow>, StoreError> {
        if error.trouble() != Some(Trouble::Damaged) {
            return Err(error);
        }
        let mut rows = Vec::new();
        for id in ids.await? {
            rows.extend(self.statement(session, id).await?);
        }
        Ok(rows)
    }

    /// The rows that make sense; the others are set aside.
    fn sound(&self, rows: &[SqliteRow]) -> Vec<SessionRow> {
        let mut sound = Vec::with_capacity(rows.len());
        for row in rows {
            match SessionRow::read(row) {
                Ok(row) => sound.push(row),
                Err((id, reason)) => self.set_aside(&id, &reason),
            }
        }
        sound
    }

    /// Where a part of the file can't be read: the sessions with these ids one by one, without those that can't be.
    async fn rescue(
        &self,
        error: sqlx::Error,
        ids: impl Future<Output = sqlx::Result<Vec<SqliteRow>>>,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let error = StoreError::from(error);
        if error.trouble() != Some(Trouble::Damaged) {
            return Err(error);
        }
        let mut sound = Vec::new();
        for id in ids
            .await?
            .iter()
            .filter_map(|row| row.try_get::<i64, _>("id").ok())
        {
            let row = sqlx::query(AssertSqlSafe(format!("{SESSION} WHERE id = ?")))
                .bind(id)
                .fetch_optional(&self.reads)
                .await;
            match row.map_err(StoreError::from) {
                Ok(row) => sound.extend(row.and_then(|row| self.sound(&[row]).pop())),
                Err(error) if error.trouble() == Some(Trouble::Damaged) => {
                    self.set_aside(&id.to_string(), &error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sound)
    }
}
