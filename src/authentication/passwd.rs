//! Writing the file of users, for `firesteel passwd`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordHasher as _;
use nix::fcntl::{Flock, FlockArg};

use super::basic::{BasicFileError, MOST_PASSWORD_BYTES};
use crate::access::valid_user;

/// Sets the password of a user: the user's line is replaced or added, all other lines stay as they are. The file is
/// replaced as a whole, with mode 0600 and argon2id; two runs at a time wait for one another.
///
/// # Errors
///
/// [`BasicFileError::User`] or [`BasicFileError::Password`] for an unfit one (empty, or over 1,024 bytes), else what the
/// system said; the file is then as it was.
pub fn set_password(path: &Path, user: &str, password: &str) -> Result<(), BasicFileError> {
    if !valid_user(user) {
        return Err(BasicFileError::User);
    }
    if password.is_empty() || password.len() > MOST_PASSWORD_BYTES {
        return Err(BasicFileError::Password);
    }
    let hash = hash(password)?;
    // A link stays a link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |source| BasicFileError::Io {
        path: path.clone(),
        source,
    };
    let (dir, name) = match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) if dir.as_os_str().is_empty() => (Path::new("."), name),
        (Some(dir), Some(name)) => (dir, name),
        _ => return Err(failed(ErrorKind::InvalidInput.into())),
    };
    let held = Flock::lock(File::open(dir).map_err(failed)?, FlockArg::LockExclusive)
        .map_err(|(_, error)| failed(error.into()))?;

    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let text = with_line(&before, user, &hash);

    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let new = dir.join(hidden);
    write_new(&new, &text)
        .and_then(|()| std::fs::rename(&new, &path))
        .and_then(|()| held.sync_all())
        .map_err(|source| {
            remove(&new);
            failed(source)
        })
}

/// The text with the user's line replaced, further lines of the same user dropped, or the line added.
fn with_line(before: &str, user: &str, hash: &str) -> String {
    let mut text = String::with_capacity(before.len() + hash.len() + 64);
    let mut written = false;
    for line in before.lines() {
        if line.split_once(':').is_some_and(|(name, _)| name.trim() == user) {
            if !written {
                text.push_str(&format!("{user}:{hash}\n"));
            }
            written = true;
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !written {
        text.push_str(&format!("{user}:{hash}\n"));
    }
    text
}

fn write_new(path: &PathBuf, text: &str) -> std::io::Result<()> {
    // Under the lock, one that is there is left from a run that was killed.
    remove(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn remove(path: &Path) {
    // Where it isn't there, all is well; else making it anew says what is wrong.
    let _ = std::fs::remove_file(path);
}

/// An argon2id hash of the password with a salt of its own, in the PHC form.
pub(super) fn hash(password: &str) -> Result<String, BasicFileError> {
    let hash = argon2::Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| BasicFileError::Hash(error.to_string()))
}
