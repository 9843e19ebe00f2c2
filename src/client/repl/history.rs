//! The file of earlier lines: `$XDG_STATE_HOME/firesteel/history`, for its owner's eyes.

use std::env;
use std::fs::{DirBuilder, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

/// The file, made where it is not there; none without a home.
///
/// # Errors
/// It can't be made.
pub fn file() -> io::Result<Option<PathBuf>> {
    let directory = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    let Some(state) = state else {
        return Ok(None);
    };
    let home = state.join("firesteel");
    DirBuilder::new().recursive(true).mode(0o700).create(&home)?;
    let path = home.join("history");
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(Some(path))
}
