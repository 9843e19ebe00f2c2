//! With whom sessions and batches are shared, and whose they are: the rows, their changes, and what is read of them. Called by `sharing` and, for
//! history, by `session`.

use sqlx::{AssertSqlSafe, FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::{Store, StoreError};

/// The most shared sessions of one user that their history has, the newest ones.
const IN_HISTORY: i64 = 1000;

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The session of this id.
    Session(i64),
    /// The batch of this id.
    Batch(i64),
}

impl Subject {
    /// Its id.
    #[must_use]
    pub const fn id(self) -> i64 {
        match self {
            Self::Session(id) | Self::Batch(id) => id,
        }
    }

    /// The word for what it is.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Batch(_) => "batch",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Session(_) => "sessions",
            Self::Batch(_) => "batches",
        }
    }
}

/// One user or group with whom something is shared.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ShareRow {
    /// The id of the session or batch.
    pub subject: i64,
    /// `user` or `group`.
    pub kind: String,
    /// The name of that.
    pub name: String,
    /// `view`, `modify` or `own`.
    pub access: String,
    /// When, in epoch milliseconds.
    pub created: i64,
}

impl Store {
    /// The shares of all sessions, or of all batches, that have not ended or ended at `since` or later; the id of `of` does not count.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn shares(&self, of: Subject, since: i64) -> Result<Vec<ShareRow>, StoreError> {
        let query = format!(
            "SELECT subject, kind, name, access, created FROM shares WHERE what = ? AND subject IN \
             (SELECT id FROM {} WHERE ended IS NULL OR ended >= ?)",
            of.table()
        );
        Ok(sqlx::query_as(AssertSqlSafe(query))
            .bind(of.what())
            .bind(since)
            .fetch_all(&self.reads)
            .await?)
    }

    /// The shares of one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn shares_of(&self, of: Subject) -> Result<Vec<ShareRow>, StoreError> {
        const QUERY: &str =
            "SELECT subject, kind, name, access, created FROM shares WHERE what = ? AND subject = ?";
        Ok(sqlx::query_as(QUERY)
            .bind(of.what())
            .bind(of.id())
            .fetch_all(&self.reads)
            .await?)
    }

    /// The newest sessions that are shared with a user or one of these groups; 1,000 at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sessions_shared_with(&self, user: &str, groups: &[String]) -> Result<Vec<i64>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT subject FROM shares WHERE what = 'session' AND ((kind = 'user' AND name = ",
        );
        query.push_bind(user).push(")");
        if !groups.is_empty() {
            query.push(" OR (kind = 'group' AND name IN (");
            let mut names = query.separated(", ");
            for group in groups {
                names.push_bind(group);
            }
            query.push("))");
        }
        query.push(") ORDER BY subject DESC LIMIT ").push_bind(IN_HISTORY);
        Ok(query.build_query_scalar().fetch_all(&self.reads).await?)
    }
}

/// Adds a share, or puts it in the place of the one that they have.
pub(super) async fn put(to: &mut SqliteConnection, of: Subject, row: &ShareRow) -> Result<(), StoreError> {
    const QUERY: &str = "INSERT INTO shares (what, subject, kind, name, access, created) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (what, subject, kind, name) DO UPDATE SET access = excluded.access, created = excluded.created";
    sqlx::query(QUERY)
        .bind(of.what())
        .bind(of.id())
        .bind(&row.kind)
        .bind(&row.name)
        .bind(&row.access)
        .bind(row.created)
        .execute(to)
        .await?;
    Ok(())
}

/// Takes a share back.
pub(super) async fn remove(
    to: &mut SqliteConnection,
    of: Subject,
    kind: &str,
    name: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM shares WHERE what = ? AND subject = ? AND kind = ? AND name = ?")
        .bind(of.what())
        .bind(of.id())
        .bind(kind)
        .bind(name)
        .execute(to)
        .await?;
    Ok(())
}

/// Takes back a share of which it is not known whether it was stored. What it replaced goes too: less is given than was, not more.
pub(super) async fn undo(to: &mut SqliteConnection, of: Subject, row: &ShareRow) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM shares WHERE what = ? AND subject = ? AND kind = ? AND name = ? AND created = ?",
    )
    .bind(of.what())
    .bind(of.id())
    .bind(&row.kind)
    .bind(&row.name)
    .bind(row.created)
    .execute(to)
    .await?;
    Ok(())
}

/// Makes it another user's, whose share it no longer needs.
pub(super) async fn set_owner(
    to: &mut SqliteConnection,
    of: Subject,
    owner: Option<&str>,
) -> Result<(), StoreError> {
    let query = format!("UPDATE {} SET owner = ? WHERE id = ?", of.table());
    sqlx::query(AssertSqlSafe(query))
        .bind(owner)
        .bind(of.id())
        .execute(&mut *to)
        .await?;
    remove(to, of, "user", owner.unwrap_or_default()).await
}

/// All shares of what is gone.
pub(super) async fn forget(to: &mut SqliteConnection, of: Subject) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM shares WHERE what = ? AND subject = ?")
        .bind(of.what())
        .bind(of.id())
        .execute(to)
        .await?;
    Ok(())
}
