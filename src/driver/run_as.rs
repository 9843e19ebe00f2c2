//! As which Unix user a driver runs (docs/isolation.md): whether this server can start processes as others, whom a session's user is on this
//! host, and whom a driver never runs as.
//!
//! Called by `driver` and `serve`; calls `config`. Looking a user up may ask a directory server: only where blocking is allowed.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, User, getgrouplist};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::config::{Config, RunAs, RunAsMode};

/// What a server needs to start drivers as others (capabilities(7)), by its bit and why: files are given away and read back, processes are
/// started and ended.
const NEEDED: [(u32, &str); 6] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (3, "CAP_FOWNER"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
];

/// A Unix user as a driver's processes have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name, for USER and LOGNAME.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// HOME.
    pub home: PathBuf,
}

/// Why no driver can be started for a user. The text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUser {
    /// Nobody's session.
    #[error("Drivers run as their users (run_as.mode), and this request has no user.")]
    Nobody,
    /// The host does not know the name.
    #[error(
        "{0:?} is no user of the server's host, as which a driver could run (run_as.mode, run_as.users)."
    )]
    Unknown(String),
    /// Root, a system's user, or the server's own.
    #[error(
        "{user:?} would run as {unix} with uid {uid}: no driver runs as the server's own user, as root, or below uid {least} (run_as.min_uid)."
    )]
    Refused {
        /// The session's user.
        user: String,
        /// The host's.
        unix: String,
        /// Its number.
        uid: u32,
        /// `run_as.min_uid`.
        least: u32,
    },
    /// The host's users can't be asked.
    #[error("The host's users can't be looked up: {0}. Try again.")]
    Unavailable(String),
}

/// Whom a session's user is on this host; none where all drivers run as the server.
///
/// # Errors
/// See [`NoUser`].
pub fn identity(config: &RunAs, user: Option<&str>) -> Result<Option<Identity>, NoUser> {
    if config.mode == RunAsMode::Server {
        return Ok(None);
    }
    let user = user.filter(|user| !user.is_empty()).ok_or(NoUser::Nobody)?;
    let unix = config.users.get(user).map_or(user, String::as_str);
    let found = User::from_name(unix).map_err(|error| NoUser::Unavailable(error.to_string()))?;
    // A directory may know a name in another spelling, and two users of ours would be one of the host's.
    let found = found
        .filter(|found| found.name == unix)
        .ok_or_else(|| NoUser::Unknown(user.to_owned()))?;
    let uid = found.uid.as_raw();
    if uid < config.min_uid.max(1) || found.uid == nix::unistd::geteuid() {
        return Err(NoUser::Refused {
            user: user.to_owned(),
            unix: found.name,
            uid,
            least: config.min_uid,
        });
    }
    let name = CString::new(found.name.as_str()).map_err(|_| NoUser::Unknown(user.to_owned()))?;
    let groups = getgrouplist(&name, found.gid).map_err(|error| NoUser::Unavailable(error.to_string()))?;
    Ok(Some(Identity {
        name: found.name,
        uid,
        gid: found.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        home: found.dir,
    }))
}

/// Looks whether this server can do what `run_as.mode` says, and prepares its state directory for it. What is to be told at start, if anything.
///
/// # Errors
/// It can't: one sentence.
pub fn prepare(config: &Config) -> Result<Option<String>, String> {
    if config.run_as.mode == RunAsMode::Server {
        let is_shared = !config.access.mode.is_open();
        return Ok(is_shared.then(|| {
            "all drivers run as the server's own user, whoever calls: what one session can read on this host, every session can \
             (run_as.mode = \"owner\" gives each its user, and needs a server that is started as root)"
                .to_owned()
        }));
    }
    possible(&config.run_as)?;
    let state_dir = &config.server.state_dir;
    let_through(state_dir)
        .map_err(|error| format!("{} can't be opened to drivers: {error}", state_dir.display()))?;
    for above in state_dir.ancestors().skip(1) {
        let mode = fs::metadata(above).map_or(0, |data| data.mode());
        if mode & 0o001 == 0 {
            return Err(format!(
                "run_as.mode = \"owner\" needs a state directory that drivers can reach, and {} lets nobody but its owner through: choose \
                 another server.state_dir, such as /var/lib/firesteel",
                above.display()
            ));
        }
    }
    Ok(None)
}

/// Whether this process may do what `run_as.mode` says.
///
/// # Errors
/// It may not: one sentence.
pub fn possible(config: &RunAs) -> Result<(), String> {
    let lacking = match config.mode {
        RunAsMode::Server => Vec::new(),
        RunAsMode::Owner => lacking()?,
    };
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "run_as.mode = \"owner\" needs a server that is started as root, or with the ambient capabilities {}",
            lacking.join(", ")
        )),
    }
}

fn lacking() -> Result<Vec<&'static str>, String> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    // Root's processes keep what root has; another user's only what is ambient.
    let set = match nix::unistd::geteuid().is_root() {
        true => "CapEff:",
        false => "CapAmb:",
    };
    Ok(lacking_of(&status, set))
}

fn lacking_of(status: &str, set: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    let has = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let has = has.unwrap_or(0);
    NEEDED
        .iter()
        .filter(|(bit, _)| (has >> bit) & 1 == 0)
        .map(|(_, name)| *name)
        .collect()
}

/// What of the state directory other users may pass through, and read. All else is the server's alone, whatever an earlier one left.
fn let_through(state_dir: &Path) -> io::Result<()> {
    const PASSED: [&str; 3] = ["run", "link", "uploads"];
    const READ: [&str; 2] = ["agent", "class-archives"];
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for entry in fs::read_dir(state_dir)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let is_open = PASSED.iter().chain(&READ).any(|open| name == *open);
        if !is_open && (kind.is_dir() || kind.is_file()) {
            let mode = entry.metadata()?.mode();
            set(&entry.path(), mode & 0o700)?;
        }
    }
    for (names, mode) in [(&PASSED[..], 0o711), (&READ[..], 0o755)] {
        for name in names {
            let path = state_dir.join(name);
            fs::create_dir_all(&path)?;
            set(&path, mode)?;
        }
    }
    set(state_dir, 0o711)
}

/// Lets everybody read what is below a directory, which must be the server's own.
pub(super) fn let_read(path: &Path) -> io::Result<()> {
    let is_directory = fs::symlink_metadata(path)?.is_dir();
    let mode = if is_directory { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if is_directory {
        for entry in fs::read_dir(path)? {
            let_read(&entry?.path())?;
        }
    }
    Ok(())
}

/// Gives an upload's file to the driver's user, where `named` (a path or a URI) is one: `UPLOADS/ID/NAME`. Its directory stays the server's, so that nobody puts
/// anything else in the file's place.
///
/// # Errors
/// It is another user's already, or the disk says no.
pub(super) fn hand_over(uploads: &Path, named: &str, uid: u32, gid: u32) -> io::Result<()> {
    let Some(path) = upload(uploads, named) else {
        return Ok(());
    };
    let found = fs::symlink_metadata(&path)?;
    if found.uid() == uid {
        return Ok(());
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(io::Error::other(format!(
            "the upload {name:?} is another Unix user's since a session of theirs named it: send it again"
        )));
    }
    if let Some(directory) = path.parent() {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
    }
    lchown(&path, Some(uid), Some(gid))
}

/// The file of an upload that a path or a URI names.
fn upload(uploads: &Path, named: &str) -> Option<PathBuf> {
    let path = match named
        .strip_prefix("file://")
        .or_else(|| named.strip_prefix("local://"))
    {
        Some(uri) => {
            let location = uri.split('#').next()?;
            PathBuf::from(percent_decode_str(location).decode_utf8().ok()?.into_owned())
        }
        None => PathBuf::from(named),
    };
    let below = path.strip_prefix(uploads).ok()?;
    let parts: Vec<Component<'_>> = below.components().collect();
    let is_upload = parts.len() == 2 && parts.iter().all(|part| matches!(part, Component::Normal(_)));
    is_upload.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextMap;

    fn owner() -> RunAs {
        RunAs {
            mode: RunAsMode::Owner,
            ..RunAs::default()
        }
    }

    #[test]
    fn nobody_runs_as_root_or_as_a_stranger() {
        let config = owner();
        assert_eq!(identity(&RunAs::default(), Some("root")), Ok(None));
        assert_eq!(identity(&config, None), Err(NoUser::Nobody));
        assert_eq!(identity(&config, Some("")), Err(NoUser::Nobody));
        assert!(matches!(
            identity(&config, Some("root")),
            Err(NoUser::Refused { uid: 0, .. })
        ));
        assert!(matches!(
            identity(&config, Some("daemon")),
            Err(NoUser::Refused { .. })
        ));
        assert_eq!(
            identity(&config, Some("no-such-user")),
            Err(NoUser::Unknown("no-such-user".to_owned()))
        );
        let zero = RunAs {
            min_uid: 0,
            users: TextMap([("ada".to_owned(), "root".to_owned())].into()),
            ..owner()
        };
        let refused = identity(&zero, Some("ada")).unwrap_err().to_string();
        assert!(
            refused.contains("\"ada\" would run as root with uid 0"),
            "{refused}"
        );
    }

    #[test]
    fn a_mapped_user_has_the_other_ones_rights() {
        let config = RunAs {
            users: TextMap([("ada@EXAMPLE.COM".to_owned(), "nobody".to_owned())].into()),
            ..owner()
        };
        let found = identity(&config, Some("ada@EXAMPLE.COM")).unwrap().unwrap();
        assert_eq!(found.name, "nobody");
        assert!(found.uid > 0 && found.groups.contains(&found.gid));
    }

    #[test]
    fn what_a_server_lacks_is_named() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nCapAmb:\t00000000000000c0\n";
        assert!(lacking_of(status, "CapEff:").is_empty());
        assert_eq!(
            lacking_of(status, "CapAmb:"),
            ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL"]
        );
    }

    #[test]
    fn only_uploads_are_handed_over() {
        let uploads = Path::new("/state/uploads");
        for (named, expected) in [
            (
                "file:///state/uploads/1/a%20b.py#x",
                Some("/state/uploads/1/a b.py"),
            ),
            ("/state/uploads/1/a.jar", Some("/state/uploads/1/a.jar")),
            ("file:///state/uploads/1/../../link.key", None),
            ("file:///state/link.key", None),
            ("/state/uploads/1", None),
            ("/state/uploads/1/x/y", None),
            ("hdfs:///state/uploads/1/a.jar", None),
        ] {
            assert_eq!(upload(uploads, named), expected.map(PathBuf::from), "{named}");
        }
    }
}
