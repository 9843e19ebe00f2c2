//! Reads. Each is one query on the pool; none blocks the writer.

use super::{IdempotencyRow, SessionRow, StatementRow, Store, StoreError};

const SESSION: &str = "SELECT id, name, owner, proxy_user, kind, state, request, app_id, ui_url, driver_id, epoch, \
                       diagnosis, created, ended FROM sessions";
const STATEMENT: &str = "SELECT session_id, id, kind, code, state, output, rows_cut, accepted, started, completed \
                         FROM statements WHERE session_id = ?";

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
        let query = format!("{SESSION} WHERE ended IS NULL ORDER BY id");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
            .fetch_all(&self.reads)
            .await?)
    }

    /// The sessions that ended at `since` or later and were not deleted, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ended_since(&self, since: i64) -> Result<Vec<SessionRow>, StoreError> {
        let query = format!("{SESSION} WHERE ended >= ? AND deleted IS NULL ORDER BY id");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(since)
            .fetch_all(&self.reads)
            .await?)
    }

    /// The drivers that may still have processes though their session has ended, and whether it was deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn abandoned_drivers(&self) -> Result<Vec<(String, bool)>, StoreError> {
        const QUERY: &str = "SELECT drivers.id, sessions.id IS NULL OR sessions.deleted IS NOT NULL FROM drivers \
             LEFT JOIN sessions ON sessions.id = drivers.session_id \
             WHERE drivers.ended IS NULL AND (sessions.id IS NULL OR sessions.ended IS NOT NULL)";
        Ok(sqlx::query_as(QUERY).fetch_all(&self.reads).await?)
    }

    /// Whether a driver's log is a stored session's, which was not deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_driver(&self, id: &str) -> Result<bool, StoreError> {
        const QUERY: &str = "SELECT EXISTS (SELECT 1 FROM drivers JOIN sessions ON sessions.id = drivers.session_id \
             WHERE drivers.id = ? AND sessions.deleted IS NULL)";
        Ok(sqlx::query_scalar(QUERY).bind(id).fetch_one(&self.reads).await?)
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
        Ok(
            sqlx::query_scalar("SELECT coalesce(max(id) + 1, 0) FROM statements WHERE session_id = ?")
                .bind(session)
                .fetch_one(&self.reads)
                .await?,
        )
    }

    /// A page of the ended sessions, newest first, of one owner or of all, with how many there are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(
        &self,
        owner: Option<&str>,
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<SessionRow>), StoreError> {
        let total = sqlx::query_scalar(
            "SELECT count(*) FROM sessions WHERE ended IS NOT NULL AND (?1 IS NULL OR owner = ?1)",
        )
        .bind(owner)
        .fetch_one(&self.reads)
        .await?;
        let query = format!(
            "{SESSION} WHERE ended IS NOT NULL AND (?1 IS NULL OR owner = ?1) ORDER BY ended DESC, id DESC \
             LIMIT ?2 OFFSET ?3"
        );
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(owner)
            .bind(size)
            .bind(from)
            .fetch_all(&self.reads)
            .await?;
        Ok((total, rows))
    }

    /// One statement.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn statement(&self, session: i64, id: i64) -> Result<Option<StatementRow>, StoreError> {
        let query = format!("{STATEMENT} AND id = ?");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(session)
            .bind(id)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// The statements that had no result yet, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unended_statements(&self, session: i64) -> Result<Vec<StatementRow>, StoreError> {
        let query = format!("{STATEMENT} AND completed = 0 ORDER BY id");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(session)
            .fetch_all(&self.reads)
            .await?)
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
        let total = sqlx::query_scalar("SELECT count(*) FROM statements WHERE session_id = ?")
            .bind(session)
            .fetch_one(&self.reads)
            .await?;
        let order = if descending { "DESC" } else { "ASC" };
        let query = format!("{STATEMENT} ORDER BY id {order} LIMIT ? OFFSET ?");
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(session)
            .bind(size)
            .bind(from)
            .fetch_all(&self.reads)
            .await?;
        Ok((total, rows))
    }
}
