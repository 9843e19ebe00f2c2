//! What the store has of sessions, where no actor does: those of an earlier server, and those that have ended.

use super::registry::Sessions;
use super::request::NewSession;
use super::state::SessionState;
use super::statement::Statement;
use crate::driver::{RunDir, log};
use crate::ownership::Ownership;
use crate::sharing::stored;
use crate::store::{SessionRow, Store, StoreError, Subject};

/// The row, if its words are ones that a server writes; one whose are not is set aside.
pub(super) fn sound(store: &Store, row: SessionRow) -> Option<SessionRow> {
    if SessionState::from_stored(&row.state).is_some() {
        return Some(row);
    }
    let reason = format!("{:?} is no state of a session", row.state);
    store.set_aside(&row.id.to_string(), &reason);
    None
}

impl Sessions {
    /// A page of the sessions that have ended, newest first, with how many are kept: those of one owner and those that are shared with them or one of
    /// these groups, or all.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn history(
        &self,
        owner: Option<&str>,
        groups: &[String],
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<SessionRow>), StoreError> {
        let also = match owner {
            Some(user) => self.store().sessions_shared_with(user, groups).await?,
            None => Vec::new(),
        };
        let (total, rows) = self.store().history(owner, &also, from, size).await?;
        let rows = rows.into_iter().filter_map(|row| sound(self.store(), row));
        Ok((total, rows.collect()))
    }

    /// A session that has ended and is kept.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn ended(&self, id: i64) -> Result<Option<SessionRow>, StoreError> {
        let row = self.store().ended_session(id).await?;
        Ok(row.and_then(|row| sound(self.store(), row)))
    }

    /// Where Spark's history server shows the application of a session that has ended.
    #[must_use]
    pub fn history_url(&self, row: &SessionRow) -> Option<String> {
        let request: NewSession = serde_json::from_str(&row.request).ok()?;
        self.shared
            .drivers
            .history_url(&request.driver, row.app_id.as_deref()?)
    }

    /// Whose a session that has ended was, and with whom it is shared.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn whose_ended(&self, row: &SessionRow) -> Result<Ownership, StoreError> {
        let shares = self.store().shares_of(Subject::Session(row.id)).await?;
        Ok(stored(row.owner.clone(), row.proxy_user.clone(), shares))
    }

    /// The log of a session that has ended.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn ended_log(&self, row: &SessionRow) -> Result<Vec<String>, StoreError> {
        let driver = self.store().drivers_of(row.id).await?.pop();
        let driver = driver.and_then(|id| id.parse().ok());
        let run_dir = driver.map(|id| self.shared.drivers.run_dir(id));
        let diagnosis = row.diagnosis.clone();
        let max_bytes = self.shared.config.log.max_bytes.bytes();
        let read = move || {
            let notes = run_dir.as_ref().map_or_else(Vec::new, RunDir::notes);
            log::lines(run_dir.as_ref(), &notes, diagnosis.as_deref(), max_bytes)
        };
        Ok(self.shared.background.blocking(read).await.unwrap_or_default())
    }

    /// A page of the statements of a session that has ended, with how many there are.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn ended_statements(
        &self,
        session: i64,
        descending: bool,
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<Statement>), StoreError> {
        let store = self.store();
        let (total, rows) = store.statements(session, descending, from, size).await?;
        let statements = rows
            .into_iter()
            .map(|row| Statement::from_row(row, store, &self.shared.outputs));
        Ok((total, statements.collect()))
    }

    /// A statement of a session that has ended.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn ended_statement(&self, session: i64, id: i64) -> Result<Option<Statement>, StoreError> {
        let row = self.store().statement(session, id).await?;
        Ok(row.map(|row| Statement::from_row(row, self.store(), &self.shared.outputs)))
    }
}
