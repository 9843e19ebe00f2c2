//! The agent, packed into the binary and unpacked into the state directory.

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

/// Unpacks the agent under `root`, in a directory named by its content, so that drivers of an older server keep theirs. Gives
/// the path of its `main.py`.
///
/// # Errors
/// The disk says no.
pub(super) fn unpack(root: &Path) -> io::Result<PathBuf> {
    let mut names: Vec<String> = Agent::iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    let mut digest = Sha256::new();
    for name in &names {
        digest.update(name.as_bytes());
        digest.update(Agent::get(name).map(|file| file.data).unwrap_or_default());
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
        for name in &names {
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
                .write_all(&Agent::get(name).map(|file| file.data).unwrap_or_default())?;
        }
        fs::rename(&fresh, &directory)?;
    }
    Ok(directory.join("main.py"))
}
