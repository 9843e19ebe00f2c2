//! The file of users: `name:hash` lines, checked for HTTP Basic.
//!
//! Read again when it changed, looked at once a second at most: a changed or removed line counts within that second.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use sha2::{Digest as _, Sha256};

use super::remember::Remembered;
use crate::access::valid_user;

/// The most bytes of a password.
pub(super) const MOST_PASSWORD_BYTES: usize = 1024;

/// The most bytes of the file.
const MOST_FILE_BYTES: u64 = 16 << 20;

/// What an unknown user's password is checked against while the file is empty: the cost of a new hash, and nobody's.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that changed so shortly before it was read may change again without its time changing.
const UNSETTLED: Duration = Duration::from_secs(2);

/// What is wrong with the file of users.
#[derive(Debug, thiserror::Error)]
pub enum BasicFileError {
    /// It can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not as it must be. The line itself is not told.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// No user can have that name.
    #[error(
        "a user's name has letters, digits and any of . _ - @ + = only, at most 128 bytes, and does not begin with - or ."
    )]
    User,
    /// No password can be that.
    #[error("a password has 1 to 1024 bytes")]
    Password,
    /// No hash could be made.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// The file of users, and which passwords were right a short while ago.
pub struct BasicFile {
    path: PathBuf,
    users: Mutex<Users>,
    remembered: Remembered<()>,
}

struct Users {
    /// Sorted by name.
    lines: Vec<(String, String)>,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What a change of the file changes.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    changed: (i64, i64),
    size: u64,
    inode: (u64, u64),
    /// False while the file changed too shortly before to tell a further change by its times.
    settled: bool,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = path.metadata()?;
        let modified = metadata.modified()?;
        let settled = modified.elapsed().is_ok_and(|age| age > UNSETTLED);
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self {
            modified,
            changed,
            size: metadata.len(),
            inode: (metadata.dev(), metadata.ino()),
            settled,
        })
    }
}

impl BasicFile {
    /// Reads the file. `remember` is `access.cache`: how long a password that was right need not be hashed again.
    ///
    /// # Errors
    ///
    /// When it can't be read, or has a line that is no comment (`#`), not empty, and not `name:hash` with an argon2id or
    /// bcrypt hash, or names a user twice.
    pub fn open(path: &Path, remember: Duration) -> Result<Self, BasicFileError> {
        let remembered =
            Remembered::new(remember).map_err(|error| BasicFileError::Hash(error.to_string()))?;
        let failed = |source| BasicFileError::Io {
            path: path.to_owned(),
            source,
        };
        let stamp = Stamp::of(path).map_err(failed)?;
        let (lines, wrong) = parse(&read(path).map_err(failed)?);
        if let Some((line, reason)) = wrong.into_iter().next() {
            return Err(BasicFileError::Line {
                path: path.to_owned(),
                line,
                reason,
            });
        }
        let users = Mutex::new(Users {
            lines,
            stamp: Some(stamp),
            looked: Instant::now(),
        });
        Ok(Self {
            path: path.to_owned(),
            users,
            remembered,
        })
    }

    /// Whether this is the user's password. Takes a hash's time (tens of milliseconds, 19 MiB for argon2id), for unknown
    /// users too: call it on a blocking pool, and bound how many run at once.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        if password.is_empty() || password.len() > MOST_PASSWORD_BYTES {
            return false;
        }
        let (known, hash) = self.hash_of(user);
        let right = check(password, &hash);
        if !(known && right) {
            return false;
        }
        let fingerprint = self.remembered.fingerprint([user, password, &hash]);
        self.remembered.put(fingerprint, ());
        true
    }

    /// The answer where it needs no hashing: `Some(true)` for a password that was right within `access.cache` and whose
    /// line is as it was, `Some(false)` for what no password can be, `None` when [`BasicFile::verify`] must tell. Quick; at
    /// most once a second it looks at the file.
    #[must_use]
    pub fn verify_cached(&self, user: &str, password: &str) -> Option<bool> {
        if password.is_empty() || password.len() > MOST_PASSWORD_BYTES {
            return Some(false);
        }
        let (known, hash) = self.hash_of(user);
        let fingerprint = self.remembered.fingerprint([user, password, &hash]);
        let fresh = self.remembered.get(&fingerprint).is_some();
        (known && fresh).then_some(true)
    }

    /// What changes when the user's password is set; none for a user who is not in the file. Quick, as [`BasicFile::verify_cached`].
    #[must_use]
    pub fn mark(&self, user: &str) -> Option<String> {
        let (known, hash) = self.hash_of(user);
        known.then(|| super::credentials::hex(&Sha256::digest(hash)))
    }

    /// The user's hash; for an unknown user another's, always the same one, so that the check costs what a check costs.
    fn hash_of(&self, user: &str) -> (bool, String) {
        let mut users = locked(&self.users);
        if users.looked.elapsed() >= LOOK_EVERY {
            self.look(&mut users);
        }
        let lines = &users.lines;
        if let Ok(at) = lines.binary_search_by(|(name, _)| name.as_str().cmp(user)) {
            return lines
                .get(at)
                .map_or_else(|| (false, DECOY.to_owned()), |(_, hash)| (true, hash.clone()));
        }
        let [a, b, c, d, ..] = self.remembered.fingerprint([user, "", ""]);
        let pick = usize::try_from(u32::from_be_bytes([a, b, c, d]))
            .unwrap_or_default()
            .checked_rem(lines.len());
        let other = pick
            .and_then(|at| lines.get(at))
            .map_or_else(|| DECOY.to_owned(), |(_, hash)| hash.clone());
        (false, other)
    }

    /// Reads the file again if it changed. A line that is wrong lets nobody in; a file that can't be read, likewise.
    fn look(&self, users: &mut Users) {
        users.looked = Instant::now();
        let stamp = Stamp::of(&self.path).ok();
        if stamp.is_some() && stamp == users.stamp && users.stamp.as_ref().is_some_and(|stamp| stamp.settled)
        {
            return;
        }
        match read(&self.path) {
            Ok(text) => {
                let (lines, wrong) = parse(&text);
                for (line, reason) in wrong.iter().filter(|_| stamp != users.stamp) {
                    tracing::warn!("{}:{line}: {reason}; the line is not used", self.path.display());
                }
                users.lines = lines;
            }
            Err(error) => {
                tracing::error!("{}: {error}; nobody can log in", self.path.display());
                users.lines.clear();
            }
        }
        users.stamp = stamp;
    }
}

impl std::fmt::Debug for BasicFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these is whole after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MOST_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MOST_FILE_BYTES {
        return Err(std::io::Error::other("the file is over 16 MiB"));
    }
    Ok(text)
}

type Lines = Vec<(String, String)>;

/// The good lines, sorted by name, and what is wrong with the others. A user named twice is in neither line's favour.
fn parse(text: &str) -> (Lines, Vec<(usize, &'static str)>) {
    let mut users: HashMap<&str, Option<&str>> = HashMap::new();
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((user, hash)) = line
            .split_once(':')
            .map(|(user, hash)| (user.trim(), hash.trim()))
        else {
            wrong.push((at + 1, "not a `name:hash` line"));
            continue;
        };
        if !valid_user(user) {
            wrong.push((at + 1, "not a user's name"));
        } else if let Err(reason) = acceptable(hash) {
            wrong.push((at + 1, reason));
        } else if users.insert(user, Some(hash)).is_some() {
            users.insert(user, None);
            wrong.push((at + 1, "the user is there twice"));
        }
    }
    let mut lines: Lines = users
        .into_iter()
        .filter_map(|(user, hash)| Some((user.to_owned(), hash?.to_owned())))
        .collect();
    lines.sort();
    (lines, wrong)
}

/// Whether a stored hash is argon2id or bcrypt, and not so costly that checking it would stall the server.
fn acceptable(hash: &str) -> Result<(), &'static str> {
    const COSTLY: &str = "the hash is too costly: bcrypt up to 16, argon2id up to 1 GiB and 20 rounds";
    if is_bcrypt(hash) {
        let parts: bcrypt::HashParts = hash.parse().map_err(|_| "not a valid bcrypt hash")?;
        return if parts.get_cost() <= 16 {
            Ok(())
        } else {
            Err(COSTLY)
        };
    }
    if !hash.starts_with("$argon2id$") {
        return Err("the hash is not argon2id or bcrypt: set it with `firesteel passwd`");
    }
    let parsed = PasswordHash::new(hash).map_err(|_| "not a valid argon2id hash")?;
    let params = argon2::Params::try_from(&parsed).map_err(|_| "not a valid argon2id hash")?;
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Err("not a valid argon2id hash");
    }
    if params.m_cost() > 1 << 20 || params.t_cost() > 20 || params.p_cost() > 64 {
        Err(COSTLY)
    } else {
        Ok(())
    }
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2y$", "$2b$", "$2a$"]
        .iter()
        .any(|prefix| hash.starts_with(prefix))
}

fn check(password: &str, hash: &str) -> bool {
    if is_bcrypt(hash) {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    let verify = |hash| argon2::Argon2::default().verify_password(password.as_bytes(), &hash);
    PasswordHash::new(hash).is_ok_and(|hash| verify(hash).is_ok())
}

#[cfg(test)]
#[path = "basic_tests.rs"]
mod tests;
