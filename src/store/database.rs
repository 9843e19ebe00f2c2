//! The file: opened, told apart from what is none of ours, copied before it is changed, and brought up to date.
//!
//! Nothing is changed before it is known that this server can: a file of a newer Firesteel, of another program, or a damaged one is
//! refused with one sentence. The tables are changed in one transaction, so that a server that is killed meanwhile leaves the old ones.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection, SqlitePool};
use tracing::info;

use super::error::{StoreError, Trouble};
use super::fence;
use crate::config::{self, Durability};
use crate::kill_point;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Connections that read; a read takes tens of microseconds.
const READERS: u32 = 4;
/// How long a read waits for a connection, or for a file that is held; readers and writers don't wait for each other.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// Where the store is, and how it is opened.
#[derive(Clone, Debug)]
pub(super) struct Database {
    file: PathBuf,
    options: SqliteConnectOptions,
    patience: Duration,
}

impl Database {
    pub(super) fn new(file: &Path, config: &config::Store) -> Self {
        let patience = config.busy_timeout.get();
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(true)
            .disable_statement_logging()
            // What is deleted or replaced is overwritten: it may have been a secret.
            .pragma("secure_delete", "ON")
            .busy_timeout(patience)
            .synchronous(match config.durability {
                Durability::Process => SqliteSynchronous::Normal,
                Durability::Power => SqliteSynchronous::Full,
            });
        Self {
            file: file.to_owned(),
            options,
            patience,
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How long a write waits for another process that holds the file.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The connection that writes, for a store that is open already.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn writer(
        &self,
        epoch: i64,
        patience: Duration,
    ) -> Result<SqliteConnection, StoreError> {
        // Where the file has been taken away, an empty one in its place would hide that.
        let options = self.options.clone().busy_timeout(patience);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        fence::bind(&mut connection, epoch).await?;
        Ok(connection)
    }

    /// The connections that read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn readers(&self) -> Result<SqlitePool, StoreError> {
        let options = self.options.clone().read_only(true).busy_timeout(READ_PATIENCE);
        Ok(SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READ_PATIENCE)
            .connect_with(options)
            .await?)
    }

    /// Opens or creates the file, brings its tables up to date and begins a new epoch: the connection that writes, and the epoch.
    ///
    /// # Errors
    /// [`StoreError::Opening`]: a sentence for whoever started the server.
    pub(super) async fn open(&self) -> Result<(SqliteConnection, i64), StoreError> {
        match self.begin().await {
            Err(error) => Err(self.explain(error).await),
            opened => opened,
        }
    }

    async fn begin(&self) -> Result<(SqliteConnection, i64), StoreError> {
        let applied = self.applied().await?;
        self.check(&applied)?;
        if applied.is_empty() {
            self.make_private();
        }
        let options = self
            .options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let pending: Vec<&Migration> = MIGRATIONS
            .iter()
            .filter(|migration| !applied.iter().any(|(version, _)| *version == migration.version))
            .collect();
        if !pending.is_empty() {
            if let Some((version, _)) = applied.last() {
                self.copy(&mut connection, *version).await?;
            }
            migrate(&mut connection, &pending).await?;
        }
        self.compare(&mut connection).await?;
        let epoch =
            sqlx::query_scalar("UPDATE server SET value = value + 1 WHERE name = 'epoch' RETURNING value")
                .fetch_one(&mut connection)
                .await?;
        fence::bind(&mut connection, epoch).await?;
        Ok((connection, epoch))
    }

    /// Makes a new file that only this user reads, whatever the umask is; SQLite gives the files beside it the same rights. What can't be
    /// made is told by the opening that follows.
    fn make_private(&self) {
        let _ = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file);
    }

    /// The migrations that the file has had, with their checksums, in order; none of a new file. Changes nothing.
    async fn applied(&self) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        // A file of no bytes is what a server leaves that was killed as it began.
        if fs::metadata(&self.file).map_or(0, |data| data.len()) == 0 {
            return Ok(Vec::new());
        }
        let mut connection = SqliteConnection::connect_with(&self.options.clone().read_only(true)).await?;
        let tables: BTreeSet<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
                .fetch_all(&mut connection)
                .await?
                .into_iter()
                .collect();
        let applied = if tables.contains("_sqlx_migrations") {
            // The casts hide how the columns are declared, which nothing has looked at yet: sqlx panics where that is no text.
            sqlx::query_as("SELECT CAST(version AS INTEGER) AS version, CAST(checksum AS BLOB) AS checksum FROM _sqlx_migrations ORDER BY 1")
                .fetch_all(&mut connection)
                .await?
        } else if tables.is_empty() {
            Vec::new()
        } else {
            return Err(self
                .refuse("is a database of another program. Set server.state_dir to a directory of its own"));
        };
        connection.close().await?;
        Ok(applied)
    }

    fn check(&self, applied: &[(i64, Vec<u8>)]) -> Result<(), StoreError> {
        let newest = MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0);
        for (version, checksum) in applied {
            match MIGRATIONS.iter().find(|migration| migration.version == *version) {
                Some(known) if known.checksum == Cow::Borrowed(&checksum[..]) => {}
                Some(_) => {
                    return Err(self.refuse(&format!(
                        "was written by another build of Firesteel, whose version {version} of the tables is not this one's. \
                         Start that build, or set server.state_dir to another directory. Nothing was changed"
                    )));
                }
                None => {
                    return Err(self.refuse(&format!(
                        "was written by a newer Firesteel: its tables have version {version}, this one knows versions up to \
                         {newest}. Start the newer one, or set server.state_dir to another directory. Nothing was changed"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Looks whether the tables are declared as they were made: SQLite believes a damaged declaration.
    async fn compare(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut model = SqliteConnection::connect_with(&SqliteConnectOptions::new().in_memory(true)).await?;
        let all: Vec<&Migration> = MIGRATIONS.iter().collect();
        apply(&mut model, &all, || ()).await?;
        let (expected, found) = (declarations(&mut model).await?, declarations(connection).await?);
        model.close().await?;
        match expected.difference(&found).next() {
            None => Ok(()),
            Some(_) => Err(StoreError::unusable(
                Trouble::Damaged,
                "the declarations of its tables are not as they were made",
            )),
        }
    }

    /// Keeps a copy of the database as it is before its tables are changed, and no older one.
    async fn copy(&self, connection: &mut SqliteConnection, version: i64) -> Result<(), StoreError> {
        let copy = self.beside(&format!(".v{version}"));
        let fresh = self.beside(".copying");
        self.copy_to(connection, &fresh, &copy).await.map_err(|error| {
            // What is there of it is of no use.
            let _ = fs::remove_file(&fresh);
            self.refuse(&format!(
                "has to be copied before its tables are brought up to date, and that failed: {error}. Make room beside it, \
                 or make its directory writable. Nothing was changed"
            ))
        })?;
        info!(copy = %copy.display(), "the database was copied before its tables are brought up to date");
        Ok(())
    }

    async fn copy_to(
        &self,
        connection: &mut SqliteConnection,
        fresh: &Path,
        copy: &Path,
    ) -> anyhow::Result<()> {
        // Only this user may read it. SQLite writes into an empty file.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(fresh)?;
        sqlx::query("VACUUM INTO ?")
            .bind(fresh.to_string_lossy())
            .execute(connection)
            .await?;
        File::open(fresh)?.sync_all()?;
        fs::rename(fresh, copy)?;
        let directory = self.file.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
        let prefix = format!("{}.v", self.name());
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let is_copy = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix(&prefix))
                .is_some_and(|version| version.parse::<i64>().is_ok());
            if is_copy && path != copy {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> Cow<'_, str> {
        self.file.file_name().unwrap_or_default().to_string_lossy()
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.file.with_file_name(format!("{}{ending}", self.name()))
    }

    fn refuse(&self, what: &str) -> StoreError {
        StoreError::Opening(format!("{} {what}.", self.file.display()))
    }

    /// Why the file could not be opened, for whoever started the server.
    pub(super) async fn explain(&self, error: StoreError) -> StoreError {
        let (trouble, detail) = match error {
            StoreError::Unusable { trouble, detail } => (trouble, detail),
            // Tables that are not as they were made.
            StoreError::Refused(detail) => (Trouble::Damaged, detail),
            other => return other,
        };
        // SQLite quotes what it found, which may be anything.
        let detail = one_line(&detail);
        match trouble {
            Trouble::Damaged => {
                let found = self.examine(detail).await;
                let copies = "Restore the file from a copy, or move it away to begin with an empty history";
                self.refuse(&format!("is damaged ({found}). {copies}: sessions that run can't be taken back without it"))
            }
            Trouble::Locked => self.refuse(&format!(
                "is held by another process ({detail}). End it, such as a backup or a second server, and start again"
            )),
            Trouble::Full => self.refuse(&format!("can't be written: its disk is full ({detail}). Free space and start again")),
            Trouble::ReadOnly => self.refuse(&format!(
                "can't be written ({detail}). Make it and its directory writable for this user and start again"
            )),
            Trouble::Io => self.refuse(&format!("can't be opened ({detail}). Look at its disk and at the rights of its directory")),
        }
    }

    /// What is wrong with a damaged file, in one line.
    async fn examine(&self, detail: String) -> String {
        let look = async {
            let mut connection =
                SqliteConnection::connect_with(&self.options.clone().read_only(true)).await?;
            sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)")
                .fetch_one(&mut connection)
                .await
        };
        let found = match look.await {
            Ok(found) if found != "ok" => found,
            _ => detail,
        };
        one_line(&found)
    }
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every column of every table with its type, as hex digits: nothing of them is trusted to be text.
async fn declarations(connection: &mut SqliteConnection) -> Result<BTreeSet<String>, sqlx::Error> {
    const QUERY: &str = "SELECT hex(tables.name) || ' ' || hex(columns.name) || ' ' || hex(columns.type) \
                         FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
                         WHERE tables.type = 'table'";
    let found: Vec<String> = sqlx::query_scalar(QUERY).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Brings the tables up to date: all of it, or nothing.
async fn migrate(connection: &mut SqliteConnection, pending: &[&Migration]) -> Result<(), StoreError> {
    kill_point!("migration.begun");
    apply(connection, pending, || kill_point!("migration.half")).await?;
    kill_point!("migration.committed");
    Ok(())
}

async fn apply(
    connection: &mut SqliteConnection,
    pending: &[&Migration],
    half_way: impl Fn(),
) -> Result<(), StoreError> {
    const RECORDS: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT \
                           NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
                           checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    transaction.execute(RECORDS).await?;
    for migration in pending {
        transaction.execute(migration.sql.clone()).await?;
        half_way();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?, ?, TRUE, ?, 0)",
        )
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}
