//! The agent, packed into the binary and unpacked into the state directory.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

#[derive(RustEmbed)]
#[folder = "agent/"]
#[include = "*.py"]
#[include = "*.R"]
struct Agent;

/// The agent's files, in the order of their names.
pub(super) fn files() -> impl Iterator<Item = (String, Cow<'static, [u8]>)> {
    let mut names: Vec<String> = Agent::iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    names
        .into_iter()
        .filter_map(|name| Agent::get(&name).map(|file| (name, file.data)))
}

/// Unpacks the agent under `root`, in a directory named by its content, so that drivers of an older server keep theirs. Gives
/// the directory's path.
///
/// # Errors
/// The disk says no.
pub(super) fn unpack(root: &Path) -> io::Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, content) in files() {
        digest.update(name.as_bytes());
        digest.update(content);
    }
    let version: String = digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let directory = root.join(version);
    if !directory.exists() {
        // Renamed when it is whole: a server that dies half-way leaves nothing that looks whole.
        let fresh = root.join(format!(".new-{}", uuid::Uuid::new_v4()));
        for (name, content) in files() {
            let path = fresh.join(name);
            // Others may read it, and nobody may change what drivers run, whatever the umask is.
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path.parent().unwrap_or(&fresh))?;
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(path)?
                .write_all(&content)?;
        }
        fs::rename(&fresh, &directory)?;
    }
    Ok(directory)
}
