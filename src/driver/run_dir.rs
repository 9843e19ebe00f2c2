//! A driver's directory: its files, their names, and how they are written. `docs/link.md` lists them.
//!
//! Its upper part is the server's and its keeper's, `own` below it the driver's: what the two trust lies where the driver can't write when it
//! runs as another user.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown,
};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Places;
use super::process::{ProcessName, running};
use super::run_as::Identity;
use super::user_ticket::UserTicket;

/// The longest file that is read as a whole; all that belongs here is far shorter.
const READ_MAX: u64 = 1024 * 1024;

/// What stays of a driver that has ended: its log, and where its cluster shows it.
const LOG_FILES: [&str; 5] = ["stdout.", "stderr.", "notes", "exit.json", APPLICATION];
/// What is known of its application in a cluster.
const APPLICATION: &str = "application.json";

/// That it runs in a cluster.
const REMOTE: &str = "remote";
/// Where its own log begins then.
const DRIVER_LOG: &str = "driver-log.json";

/// What the keeper runs, in `launch.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Program and arguments; never seen by a shell.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Bytes kept of each output stream.
    pub log_max_bytes: u64,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub kill_grace_ms: u64,
    /// How far it stands back from others, until a session claims it: a nice value.
    #[serde(default)]
    pub nice: u32,
    /// `oom_score_adj` of the driver: the kernel takes it before the server.
    pub oom_score_adj: i32,
    /// Its umask.
    pub umask: u32,
    /// As whom it runs; none: as the keeper.
    pub identity: Option<Identity>,
    /// The Kerberos ticket that it has, of its user's own.
    #[serde(default)]
    pub(super) ticket: Option<UserTicket>,
    /// What it may use.
    pub limits: Limits,
    /// Where its cgroup is made.
    pub(super) cgroups: Places,
}

/// What a driver may use, all its processes together; 0 for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_max: u64,
    /// Of a processor, in percent.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub pids_max: u64,
    /// Bytes on the disk of its directory.
    pub disk_max: u64,
    /// How often is looked where the kernel does not tell, in milliseconds.
    pub interval_ms: u64,
}

/// How a driver ended, in `exit.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal, where one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it could not be started at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The sentence why nothing was started: its user's Kerberos ticket could not be got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The sentence that names the limit for which its keeper has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// When, in epoch milliseconds.
    pub at: i64,
}

/// Opens a file of a run directory for reading. User code can write there: a pipe would hold the server up for ever, and a link
/// would show what is not the driver's.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?
        .write_all(content)
}

/// The content of such a file, as far as it is not too long.
pub(super) fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_plain(path)?.take(READ_MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// A driver's directory, 0700.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Names the directory; it need not exist.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes the directory, which must be new.
    ///
    /// # Errors
    /// It exists already, or the disk says no.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(&path)?;
        let made = Self(path);
        for directory in [made.own(), made.work()] {
            DirBuilder::new().mode(0o700).create(directory)?;
        }
        Ok(made)
    }

    /// Gives the driver's part to its user, once all that the server writes there is written. Nobody else can have changed anything there until now.
    ///
    /// # Errors
    /// The disk says no, or this server may not.
    pub(super) fn give(&self, uid: u32, gid: u32) -> io::Result<()> {
        let own = self.own();
        for entry in fs::read_dir(&own)? {
            lchown(entry?.path(), Some(uid), Some(gid))?;
        }
        lchown(&own, Some(uid), Some(gid))?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o711))
    }

    /// The user whose processes the driver's are: the owner of its part, which only the server can put there.
    #[must_use]
    pub fn uid(&self) -> u32 {
        fs::symlink_metadata(self.own()).map_or_else(|_| nix::unistd::geteuid().as_raw(), |data| data.uid())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The driver's id, which names it.
    #[must_use]
    pub fn id(&self) -> String {
        self.0
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The driver's part of it.
    #[must_use]
    pub fn own(&self) -> PathBuf {
        self.0.join("own")
    }

    /// The driver's working directory, and its directory of temporary files.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.own().join("work")
    }

    /// A file of this directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    /// It exists already, or the disk says no.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        write_new(&self.file(name), 0o600, content)
    }

    /// As [`RunDir::write`], in the driver's part: before that is given away.
    ///
    /// # Errors
    /// It exists already, or the disk says no.
    pub(super) fn write_own(&self, name: &str, content: &[u8]) -> io::Result<()> {
        write_new(&self.own().join(name), 0o600, content)
    }

    /// Writes a program into the driver's part that only its owner can read and run: before that is given away.
    ///
    /// # Errors
    /// It exists already, or the disk says no.
    pub(super) fn write_program(&self, name: &str, content: &[u8]) -> io::Result<()> {
        write_new(&self.own().join(name), 0o700, content)
    }

    /// Replaces a file in one step: a reader sees the old content or the new.
    ///
    /// # Errors
    /// The disk says no.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let fresh = format!("{name}.new");
        // Left by a writer that died half-way.
        let _ = fs::remove_file(self.file(&fresh));
        self.write(&fresh, content)?;
        fs::rename(self.file(&fresh), self.file(name))
    }

    /// How the driver ended; none while its keeper lives or when that died first.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        serde_json::from_slice(&read_plain(&self.file("exit.json")).ok()?).ok()
    }

    /// The keeper, as it named itself.
    #[must_use]
    pub fn named_keeper(&self) -> Option<ProcessName> {
        serde_json::from_slice(&read_plain(&self.file("keeper.json")).ok()?).ok()
    }

    /// The keeper. Where a cleaner or user code has taken its name, a living one is found by its arguments. Reads all of /proc then.
    #[must_use]
    pub fn keeper(&self) -> Option<ProcessName> {
        let named = self.named_keeper();
        if named.as_ref().is_some_and(ProcessName::exists) {
            return named;
        }
        running(&[b"keeper", self.0.as_os_str().as_encoded_bytes()]).or(named)
    }

    /// The group of the driver's part.
    #[must_use]
    pub fn gid(&self) -> u32 {
        fs::symlink_metadata(self.own()).map_or_else(|_| nix::unistd::getegid().as_raw(), |data| data.gid())
    }

    /// Takes the launch, so that nobody else starts this driver: the file is renamed, which succeeds once.
    ///
    /// # Errors
    /// It was taken already, or the disk says no.
    pub fn claim_launch(&self) -> io::Result<Launch> {
        fs::rename(self.file("launch.json"), self.file("launch.claimed"))?;
        let launch = serde_json::from_slice(&fs::read(self.file("launch.claimed"))?)?;
        // It holds the driver's environment, which is nobody's business any more.
        fs::remove_file(self.file("launch.claimed"))?;
        Ok(launch)
    }

    /// Takes the launch away; false where a keeper has it, or had.
    pub(super) fn unlaunch(&self) -> bool {
        fs::remove_file(self.file("launch.json")).is_ok()
    }

    /// Takes the launch away. True when no keeper had it: the driver was never started and never will be.
    #[must_use]
    pub fn withdraw_launch(&self) -> bool {
        // A keeper names itself before it takes the launch: without either, none has come.
        fs::remove_file(self.file("launch.json")).is_ok() || self.keeper().is_none()
    }

    /// The server's own lines of the session's log.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let text = read_plain(&self.file("notes")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::to_owned).collect()
    }

    /// What was noted of its application in a cluster.
    #[must_use]
    pub fn application<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&read_plain(&self.file(APPLICATION)).ok()?).ok()
    }

    /// Notes what is known of its application in a cluster, for a later server.
    ///
    /// # Errors
    /// The disk says no.
    pub fn note_application(&self, application: &impl Serialize) -> io::Result<()> {
        self.replace(APPLICATION, &serde_json::to_vec(application)?)
    }

    /// With which segments of its streams a driver's own log begins, where its submit has written those before: noted once, and then as it was
    /// noted.
    ///
    /// # Errors
    /// The disk says no.
    pub(super) fn driver_log(&self, begins: impl FnOnce() -> [u64; 2]) -> io::Result<[u64; 2]> {
        let noted = read_plain(&self.file(DRIVER_LOG)).ok();
        if let Some(noted) = noted.and_then(|noted| serde_json::from_slice(&noted).ok()) {
            return Ok(noted);
        }
        let begins = begins();
        self.replace(DRIVER_LOG, &serde_json::to_vec(&begins)?)?;
        Ok(begins)
    }

    /// Notes that the driver runs in a cluster, so that its process here is its submit alone.
    ///
    /// # Errors
    /// It exists already, or the disk says no.
    pub(super) fn note_remote(&self) -> io::Result<()> {
        self.write(REMOTE, b"")
    }

    /// Whether its process here is its submit alone.
    pub(super) fn is_remote(&self) -> bool {
        self.file(REMOTE).exists()
    }

    /// Removes all but the log. What is gone already is no error.
    ///
    /// # Errors
    /// The disk says no.
    pub fn keep_log(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let is_log = name
                .to_str()
                .is_some_and(|name| LOG_FILES.iter().any(|log| name.starts_with(log)));
            let removed = match entry.file_type()?.is_dir() {
                _ if is_log => Ok(()),
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the directory and all in it; it is no error when it is gone already.
    ///
    /// # Errors
    /// The disk says no.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
