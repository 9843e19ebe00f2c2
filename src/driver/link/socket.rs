//! The Unix socket on which the drivers of this host call.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::MissedTickBehavior;
use tracing::warn;
use uuid::Uuid;

use super::greeter::Greeter;
use super::stream::Stream;

/// Between two looks whether the socket's file is still there.
const LOOK: Duration = Duration::from_secs(2);
/// The longest path that a Unix socket can have on Linux.
const SOCKET_PATH_MAX: usize = 107;

/// The path of `link.sock` in a 0711 directory of the state directory, or, where that path is too long for a socket, in one
/// under the temporary directory whose name is derived from it and so is the same after a restart.
///
/// # Errors
/// The directory can't be made, or belongs to somebody else.
pub(super) fn socket_path(state_dir: &Path) -> io::Result<PathBuf> {
    let mut directory = state_dir.join("link");
    if directory.join("link.sock").as_os_str().len() > SOCKET_PATH_MAX {
        let name = Uuid::from_bytes(fingerprint(state_dir));
        directory = std::env::temp_dir().join(format!("firesteel-{}-{name}", nix::unistd::geteuid()));
    }
    match std::fs::DirBuilder::new().mode(0o711).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = nix::sys::stat::lstat(&directory)?;
    if found.st_uid != nix::unistd::geteuid().as_raw() || found.st_mode & 0o170_022 != 0o040_000 {
        let reason = format!(
            "{} is not a directory that only this user can write",
            directory.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    // The umask may have taken the bits that other users' drivers need to pass through.
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o711))?;
    Ok(directory.join("link.sock"))
}

fn fingerprint(path: &Path) -> [u8; 16] {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(path.as_os_str().as_encoded_bytes());
    std::array::from_fn(|at| digest[at])
}

/// A bound socket, and which file it is.
pub(super) struct Socket {
    listener: UnixListener,
    inode: u64,
}

impl Socket {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        // A socket left by an earlier server; the lock on the state directory says that it is gone.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self {
            listener,
            inode: nix::sys::stat::lstat(path)?.st_ino,
        })
    }

    /// False once something has removed the file or put another in its place: nobody can call any more.
    fn is_there(&self, path: &Path) -> bool {
        nix::sys::stat::lstat(path).is_ok_and(|found| found.st_ino == self.inode)
    }
}

impl Socket {
    /// Takes calls until the server stops.
    pub(super) async fn run(mut self, state_dir: PathBuf, greeter: Greeter) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = look.tick() => {
                    self.keep(&state_dir);
                    continue;
                }
                () = greeter.background.stopping().cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let peer = stream.peer_cred().ok();
                    greeter.greet(async move { Ok(Stream::Unix(stream)) }, peer, None);
                }
                Err(error) => greeter.rest(&error).await,
            }
        }
    }

    /// Binds the socket again where a cleaner of temporary files has taken it. Drivers that are connected did not notice.
    fn keep(&mut self, state_dir: &Path) {
        let bound = match socket_path(state_dir) {
            Ok(path) if self.is_there(&path) => return,
            Ok(path) => Self::bind(&path),
            Err(error) => Err(error),
        };
        match bound {
            Ok(fresh) => {
                warn!("the link's socket was removed and is made again");
                *self = fresh;
            }
            Err(error) => warn!(%error, "the link's socket was removed and can't be made again"),
        }
    }
}
