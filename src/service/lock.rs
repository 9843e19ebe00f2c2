//! The lock that keeps a second server off a state directory, and the file's content, which tells that server who has it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::driver::ProcessName;

/// How long a lock that is taken is asked for again: a process that a killed server was just starting has it until its exec.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often.
const AGAIN: Duration = Duration::from_millis(20);

/// A state directory that this server has to itself for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    lock: Flock<File>,
}

/// The state directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum InUse {
    /// Another server has it.
    #[error("the state directory {} is used by another server{holder}", path.display())]
    Another {
        /// The directory.
        path: PathBuf,
        /// Which one, as far as it is known.
        holder: String,
    },
    /// It can't be made or written.
    #[error("can't use the state directory {} (server.state_dir): {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the lock file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    #[serde(flatten)]
    process: ProcessName,
    /// Where it listens; none while it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl StateDir {
    /// Makes the directory, 0700, and takes it.
    ///
    /// # Errors
    /// Another server has it, or it can't be written.
    pub fn take(path: &Path) -> Result<Self, InUse> {
        let unusable = |source: io::Error| InUse::Unusable {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(unusable)?;
        let asked = Instant::now();
        let lock = loop {
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((back, nix::errno::Errno::EWOULDBLOCK)) if asked.elapsed() < PATIENCE => lock = back,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Err(InUse::Another {
                        path: path.to_owned(),
                        holder: holder(&file),
                    });
                }
                Err((_, error)) => return Err(unusable(error.into())),
            }
            std::thread::sleep(AGAIN);
        };
        let taken = Self { lock };
        taken.lock.set_len(0).map_err(unusable)?;
        taken.write(None).map_err(unusable)?;
        Ok(taken)
    }

    /// Tells a second server where this one listens.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn announce(&self, address: &str) -> io::Result<()> {
        self.write(Some(address.to_owned()))
    }

    /// One write over what was there, which is never longer: a reader finds the old text or the new.
    fn write(&self, address: Option<String>) -> io::Result<()> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let process = ProcessName::of(pid).ok_or(io::ErrorKind::NotFound)?;
        let text = serde_json::to_string(&Holder { process, address })?;
        self.lock.write_all_at(text.as_bytes(), 0)
    }
}

/// Who has the lock, as words that end the sentence. The text may be that of a dead server, where the living one has only just
/// taken the lock: then it names nobody.
fn holder(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let holder: Option<Holder> = serde_json::from_slice(&text).ok();
    match holder.filter(|holder| holder.process.exists()) {
        Some(Holder {
            process,
            address: Some(address),
        }) => format!(": process {}, which listens on {address}", process.pid),
        Some(Holder { process, .. }) => format!(": process {}, which is starting", process.pid),
        None => ", which has just started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_told_and_a_dead_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state");
        let file = path.join("lock");
        let first = StateDir::take(&path).unwrap();
        let me = std::process::id();
        let told = |holder: &str| {
            let error = StateDir::take(&path).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("used by another server{holder}")),
                "{error}"
            );
        };
        told(&format!(": process {me}, which is starting"));
        first.announce("http://127.0.0.1:8998").unwrap();
        told(&format!(": process {me}, which listens on http://127.0.0.1:8998"));

        let mut left: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        left["start"] = 1.into();
        fs::write(&file, left.to_string()).unwrap();
        told(", which has just started");
        fs::write(&file, "{\"pid\": 1").unwrap();
        told(", which has just started");

        drop(first);
        let _second = StateDir::take(&path).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("address"),
            "what the first one wrote is gone: {text}"
        );
    }
}
