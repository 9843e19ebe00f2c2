//! The fence: a connection that writes is bound to its server's epoch. When a later start has begun another, no change of this
//! connection goes through, whatever its SQL: a server that was stopped for an hour and goes on can't undo what its successor did.
//!
//! Temporary triggers do it, which live and end with the connection. They look at the epoch inside the very transaction that
//! writes.

use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};

use super::error::SUPERSEDED;

/// Every table of ours but the one that holds the epoch.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                      AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name <> 'server'";

/// Binds `connection` to `epoch`.
///
/// # Errors
/// SQLite's.
pub(super) async fn bind(connection: &mut SqliteConnection, epoch: i64) -> Result<(), sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
    // No temporary file: the disk may be what is in trouble.
    let mut script = String::from("PRAGMA temp_store = MEMORY;");
    for table in tables {
        for change in ["INSERT", "UPDATE", "DELETE"] {
            script += &format!(
                "CREATE TEMP TRIGGER \"fence_{table}_{change}\" BEFORE {change} ON main.\"{table}\" \
                 WHEN (SELECT value FROM server WHERE name = 'epoch') IS NOT {epoch} \
                 BEGIN SELECT RAISE(ABORT, '{SUPERSEDED}'); END;"
            );
        }
    }
    connection.execute(AssertSqlSafe(script)).await.map(drop)
}
