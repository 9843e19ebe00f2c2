//! API tokens and browsers' logins in the store. Called by `authentication`, and for the SQL by `ops.rs`.

use sqlx::SqliteConnection;

use super::{CredentialRow, Store, StoreError};

impl Store {
    /// All credentials that have not expired at `now`, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn credentials(&self, now: i64) -> Result<Vec<CredentialRow>, StoreError> {
        const QUERY: &str = "SELECT id, kind, hash, owner, member_of, way, scopes, label, mark, created, expires FROM credentials \
             WHERE expires > ? ORDER BY created, id";
        Ok(sqlx::query_as(QUERY).bind(now).fetch_all(&self.reads).await?)
    }
}

/// A new one; those that have expired by then go, so that they don't pile up.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn insert(to: &mut SqliteConnection, row: &CredentialRow) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM credentials WHERE expires <= ?")
        .bind(row.created)
        .execute(&mut *to)
        .await?;
    // Ids are 64 random bits, so one that is there is this one, written a moment ago.
    sqlx::query(
        "INSERT INTO credentials (id, kind, hash, owner, member_of, way, scopes, label, mark, created, expires) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&row.id)
    .bind(&row.kind)
    .bind(&row.hash)
    .bind(&row.owner)
    .bind(&row.member_of)
    .bind(&row.way)
    .bind(&row.scopes)
    .bind(&row.label)
    .bind(&row.mark)
    .bind(row.created)
    .bind(row.expires)
    .execute(to)
    .await?;
    Ok(())
}

/// One that counts no more.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn delete(to: &mut SqliteConnection, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM credentials WHERE id = ?")
        .bind(id)
        .execute(to)
        .await?;
    Ok(())
}
