//! `firesteel import`: makes a `firesteel.toml` of Livy's configuration.
//!
//! Here: Livy's keys and what each becomes (`keys.rs`, and `rules.rs` for those that depend on others), values in Firesteel's
//! words (`values.rs`), reading Livy's files (`read.rs`), the new file and the list of what has no counterpart (`write.rs`).
//! Called by `main.rs`; calls config, which checks what comes of it.

mod keys;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use keys::table;
pub use write::Imported;

/// What is wrong with a key of Livy's.
#[derive(Debug)]
pub struct Fault {
    place: String,
    key: String,
    reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, reason } = self;
        write!(f, "{place}: {}: {reason}", key.escape_debug())
    }
}

/// Why nothing was imported. No value is shown that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Keys hold what neither Livy nor Firesteel takes there; a line each.
    #[error("{}", lines(.0))]
    Values(Vec<Fault>),
}

impl ImportError {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

fn lines(faults: &[Fault]) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("\n")
}

/// Makes a configuration of Livy's files, and of those in directories: `livy.conf`, `livy-client.conf`, `spark-blacklist.conf`.
/// Where two set one key, the first counts.
///
/// # Errors
/// A file that can't be read, or all values that can't be taken over, each with its line, its key and the fix.
pub fn livy(paths: &[PathBuf]) -> Result<Imported, ImportError> {
    write::import(&read::entries(paths)?)
}

/// Writes the configuration to a file that only its owner may read. One that is there is replaced with `force` alone, once
/// the new one is whole.
///
/// # Errors
/// The file is there, or can't be written.
pub fn save(text: &str, path: &Path, force: bool) -> Result<(), ImportError> {
    let mut new = path.as_os_str().to_owned();
    if force {
        new.push(".new");
    }
    let new = PathBuf::from(new);
    let open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new);
    let mut file = open.map_err(|why| match why.kind() {
        std::io::ErrorKind::AlreadyExists if !force => {
            let why =
                std::io::Error::other("is there already: name another file, or add --force to replace it");
            ImportError::file(&new, why)
        }
        _ => ImportError::file(&new, why),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let written = written.and_then(|()| {
        if force {
            std::fs::rename(&new, path)
        } else {
            Ok(())
        }
    });
    written.map_err(|why| {
        // It is not whole; that it could not be written is what counts.
        let _ = std::fs::remove_file(&new);
        ImportError::file(path, why)
    })
}
