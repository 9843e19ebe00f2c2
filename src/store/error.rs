//! Why the store did not do something: the kinds of trouble, what SQLite calls them, and what a person can do.

use sqlx::error::{DatabaseError, ErrorKind};

/// What a write of a server is answered whose epoch is over (`fence.rs`).
pub(super) const SUPERSEDED: &str = "superseded by a later start";

/// What keeps the database from being used, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room on the disk.
    Full,
    /// Another process holds it, or the writer can't keep up.
    Locked,
    /// The file or its file system can't be written.
    ReadOnly,
    /// The disk reports errors.
    Io,
    /// The file's content is no longer a database.
    Damaged,
}

impl Trouble {
    /// What it is and what can be done about it, for a client: without names of this machine.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Full => {
                "The disk of the server's store is full. Try again later; the administrator has to free space on it."
            }
            Self::Locked => {
                "The server's store is held by another process, such as a backup. Try again later; if it lasts, the \
                 administrator has to end that process."
            }
            Self::ReadOnly => {
                "The server's store can only be read. Try again later; the administrator has to make its directory \
                 writable."
            }
            Self::Io => {
                "The disk of the server's store fails. Try again later; the administrator finds the error in the server's \
                 log."
            }
            Self::Damaged => {
                "The server's store is damaged. The administrator has to restore it from a copy; the server's log says \
                 more."
            }
        }
    }
}

/// Why a read or a write did not happen. After an error nothing of the operation is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be used at the moment.
    #[error("the store can't be used ({trouble:?}): {detail}")]
    Unusable {
        /// Of which kind the trouble is.
        trouble: Trouble,
        /// SQLite's words.
        detail: String,
    },
    /// The operation itself is wrong, such as a second row with one id.
    #[error("the store refused it: {0}")]
    Refused(String),
    /// A later start of a server has taken the state directory: this one's writes count no more.
    #[error("another server has taken over the state directory")]
    Superseded,
    /// The server is stopping.
    #[error("the store is closed")]
    Closed,
    /// The database can't be opened. The sentence names the file and says what to do.
    #[error("{0}")]
    Opening(String),
}

impl StoreError {
    /// True when no later try can do better.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Unusable { .. })
    }

    /// Of which kind the trouble is, where it may pass.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Unusable { trouble, .. } => Some(*trouble),
            _ => None,
        }
    }

    pub(super) fn unusable(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self::Unusable {
            trouble,
            detail: detail.into(),
        }
    }

    /// True when the connection that met it is believed nothing any more, not even that it has rolled back.
    pub(super) fn spoils_connection(&self) -> bool {
        self.trouble().is_some_and(|trouble| trouble != Trouble::Locked)
    }

    /// True when what was asked may have been done all the same.
    pub(super) fn is_uncertain(&self) -> bool {
        matches!(self.trouble(), Some(Trouble::Io | Trouble::Damaged))
    }
}

/// SQLite's primary result code.
fn code(error: &dyn DatabaseError) -> i32 {
    let extended: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    extended & 0xff
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let trouble = match &error {
            sqlx::Error::PoolClosed => return Self::Closed,
            sqlx::Error::PoolTimedOut => Trouble::Locked,
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Trouble::Damaged
            }
            // https://www.sqlite.org/rescode.html
            sqlx::Error::Database(refusal) => match code(refusal.as_ref()) {
                19 if refusal.message() == SUPERSEDED => return Self::Superseded,
                1 | 18 | 19 | 20 | 25 => return Self::Refused(error.to_string()),
                5 | 6 => Trouble::Locked,
                8 => Trouble::ReadOnly,
                11 | 26 => Trouble::Damaged,
                13 => Trouble::Full,
                _ if refusal.kind() != ErrorKind::Other => return Self::Refused(error.to_string()),
                _ => Trouble::Io,
            },
            _ => Trouble::Io,
        };
        Self::unusable(trouble, error.to_string())
    }
}
