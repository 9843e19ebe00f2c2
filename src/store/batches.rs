//! What the store has of batches, read. Called by `batch`.

use super::{BatchRow, LeftDriver, Store, StoreError};

impl Store {
    /// The id that the next batch gets.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_batch_id(&self) -> Result<i64, StoreError> {
        const QUERY: &str = "SELECT value FROM server WHERE name = 'next_batch_id'";
        Ok(sqlx::query_scalar(QUERY).fetch_one(&self.reads).await?)
    }

    /// The batches that have not ended, and those that ended at `since` or later, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn batches(&self, since: i64) -> Result<Vec<BatchRow>, StoreError> {
        const QUERY: &str = "SELECT id, name, owner, proxy_user, state, request, driver_id, epoch, exit_code, diagnosis, \
             created, ended FROM batches WHERE ended IS NULL OR ended >= ? ORDER BY id";
        Ok(sqlx::query_as(QUERY).bind(since).fetch_all(&self.reads).await?)
    }

    /// Batches that ended before `since`: `most` of them, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn batches_ended_before(&self, since: i64, most: i64) -> Result<Vec<i64>, StoreError> {
        const QUERY: &str =
            "SELECT id FROM batches WHERE ended IS NOT NULL AND ended < ? ORDER BY ended, id LIMIT ?";
        Ok(sqlx::query_scalar(QUERY)
            .bind(since)
            .bind(most)
            .fetch_all(&self.reads)
            .await?)
    }

    /// Drivers of batches that are gone.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn drivers_without_batch(&self) -> Result<Vec<LeftDriver>, StoreError> {
        const QUERY: &str = "SELECT id, cluster, remote FROM drivers WHERE batch_id IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM batches WHERE batches.id = drivers.batch_id)";
        Ok(sqlx::query_as(QUERY).fetch_all(&self.reads).await?)
    }
}
