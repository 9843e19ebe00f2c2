//! The last step before a driver: a process that the keeper starts and that becomes `spark-submit`.
//!
//! The same binary, run as `firesteel step` before any runtime starts. It joins the driver's cgroups, gives up the server's rights, and then
//! executes `spark-submit`, which so never has them. What it is to do comes on its standard input, a socket; why it could not be done goes
//! back over it, and nothing where it could, since the socket is closed by then. Called by `main` and `keeper`; calls `run_as`'s types.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchown, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::run_as::Identity;

/// What the step does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// The umask.
    pub umask: u32,
    /// As whom; none: as the keeper.
    pub identity: Option<Identity>,
    /// `cgroup.procs` files to be in.
    pub cgroups: Vec<PathBuf>,
    /// The most processes and threads of its user; 0 for no limit.
    pub processes: u64,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
}

impl Step {
    /// Starts the driver; its output comes through pipes.
    ///
    /// # Errors
    /// It could not be started: nothing of it is left.
    pub(super) fn start(&self) -> io::Result<Child> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("firesteel")
            .arg("step")
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let told = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|step| ours.write_all(&step))
            .and_then(|()| ours.shutdown(Shutdown::Write));
        let mut said = String::new();
        let told = told.and_then(|()| ours.read_to_string(&mut said));
        let failed = match told {
            Ok(_) if said.is_empty() => return Ok(child),
            Ok(_) => io::Error::other(said),
            Err(error) => error,
        };
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        Err(failed)
    }

    /// Becomes the driver. Comes back only where that fails.
    fn become_driver(&self) -> io::Error {
        let Some((program, arguments)) = self.argv.split_first() else {
            return io::ErrorKind::InvalidInput.into();
        };
        if let Err(error) = self.prepare().and_then(|()| is_program(program)) {
            return error;
        }
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .exec()
    }

    fn prepare(&self) -> io::Result<()> {
        for procs in &self.cgroups {
            let name = procs.display();
            fs::write(procs, "0").map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        }
        // Raising it needs no privilege; where /proc says no, the driver is as likely a victim as any other process.
        let _ = fs::write("/proc/self/oom_score_adj", self.oom_score_adj.to_string());
        umask(Mode::from_bits_truncate(self.umask));
        let Some(identity) = &self.identity else {
            return Ok(());
        };
        if self.processes > 0 {
            setrlimit(Resource::RLIMIT_NPROC, self.processes, self.processes)?;
        }
        let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        // Its output's pipes are the keeper's, and a program that opens /dev/stdout opens them anew.
        for pipe in [io::stdout().as_fd(), io::stderr().as_fd()] {
            fchown(pipe, Some(uid), Some(gid))?;
        }
        // Capabilities of a server that is not root would outlive the change of its user.
        rustix::thread::clear_ambient_capability_set()?;
        setgroups(&groups)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // No program with a set-user-id bit gives a driver more than its user has.
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    }
}

/// exec(3) would have a shell read what is neither a program nor a script that names its own.
fn is_program(path: &str) -> io::Result<()> {
    let mut head = Vec::new();
    // One that can't be read may still be run, and what is wrong with it is told by running it.
    if let Ok(file) = fs::File::open(path) {
        file.take(4).read_to_end(&mut head)?;
    }
    match head.is_empty() || head.starts_with(b"#!") || head == *b"\x7fELF" {
        true => Ok(()),
        false => Err(Errno::ENOEXEC.into()),
    }
}

/// Runs the step.
///
/// # Errors
/// Standard input is no keeper's socket. That the driver can't be started is told there, and is an error too.
pub fn run() -> io::Result<()> {
    let mut keeper = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut text = Vec::new();
    keeper.read_to_end(&mut text)?;
    let step: Step = serde_json::from_slice(&text)?;
    let error = step.become_driver();
    keeper.write_all(error.to_string().as_bytes())?;
    Err(error)
}
