//! The socket on which agents call, and the slots of the drivers that are expected.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::SinkExt as _;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::codec::Framed;
use uuid::Uuid;

use super::connection::Connection;
use super::frame::{Frame, FrameCodec};
use super::hello::{self, Handshake, Refused};
use super::results::{ResultStream, Tickets};
use super::secret::Secret;
use crate::background::Background;
use crate::driver::process::descends;

/// Between two looks whether the socket's file is still there.
const LOOK: Duration = Duration::from_secs(2);
/// The longest path that a Unix socket can have on Linux.
const SOCKET_PATH_MAX: usize = 107;

/// A driver that may call.
#[derive(Debug)]
pub struct Slot {
    /// What it must prove.
    pub secret: Secret,
    /// The Unix user that it runs as.
    pub uid: u32,
    /// Its keeper: a caller must descend from it.
    pub keeper_pid: i32,
    /// The number of its last frame that is stored.
    pub stored: AtomicU64,
    /// Where its connections go.
    pub calls: mpsc::Sender<Call>,
    /// The results that it may send.
    pub tickets: Arc<Tickets>,
}

/// An agent's connection, the hello done.
#[derive(Debug)]
pub struct Call {
    /// The frames.
    pub connection: Connection,
    /// The last of our frames that the agent has taken.
    pub received: u64,
}

/// The listening socket of all drivers of this host.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    slots: Arc<DashMap<Uuid, Arc<Slot>>>,
}

impl Listener {
    /// Binds `link.sock` in a 0711 directory of the state directory, or, where that path is too long for a socket, in one
    /// under the temporary directory whose name is derived from it and so is the same after a restart.
    ///
    /// # Errors
    /// The directory or the socket can't be made, or the directory belongs to somebody else.
    pub fn bind(
        state_dir: &Path,
        max_frame: usize,
        hello_timeout: Duration,
        epoch: i64,
        background: &Background,
    ) -> io::Result<Self> {
        let path = socket_path(state_dir)?;
        let socket = Socket::bind(&path)?;
        let slots: Arc<DashMap<Uuid, Arc<Slot>>> = Arc::default();
        let accept = Accept {
            state_dir: state_dir.to_owned(),
            slots: Arc::clone(&slots),
            codec: FrameCodec { max: max_frame },
            hello_timeout,
            epoch,
            background: background.clone(),
        };
        background.spawn(accept.run(socket));
        Ok(Self { path, slots })
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Expects a driver.
    pub fn expect(&self, driver: Uuid, slot: Arc<Slot>) {
        self.slots.insert(driver, slot);
    }

    /// Expects it no longer.
    pub fn forget(&self, driver: Uuid) {
        self.slots.remove(&driver);
    }
}

fn socket_path(state_dir: &Path) -> io::Result<PathBuf> {
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
struct Socket {
    listener: UnixListener,
    inode: u64,
}

impl Socket {
    fn bind(path: &Path) -> io::Result<Self> {
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

struct Accept {
    state_dir: PathBuf,
    slots: Arc<DashMap<Uuid, Arc<Slot>>>,
    codec: FrameCodec,
    hello_timeout: Duration,
    epoch: i64,
    background: Background,
}

impl Accept {
    async fn run(self, mut socket: Socket) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = socket.listener.accept() => accepted,
                _ = look.tick() => {
                    self.keep(&mut socket);
                    continue;
                }
                () = self.background.stopping().cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.greet(stream),
                Err(error) => {
                    // Out of descriptors, most likely: they come back as connections end.
                    tracing::warn!(%error, "a driver's call could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Binds the socket again where a cleaner of temporary files has taken it. Drivers that are connected did not notice.
    fn keep(&self, socket: &mut Socket) {
        let bound = match socket_path(&self.state_dir) {
            Ok(path) if socket.is_there(&path) => return,
            Ok(path) => Socket::bind(&path),
            Err(error) => Err(error),
        };
        match bound {
            Ok(fresh) => {
                tracing::warn!("the link's socket was removed and is made again");
                *socket = fresh;
            }
            Err(error) => tracing::warn!(%error, "the link's socket was removed and can't be made again"),
        }
    }

    fn greet(&self, stream: UnixStream) {
        let slots = Arc::clone(&self.slots);
        let (codec, epoch, timeout) = (self.codec, self.epoch, self.hello_timeout);
        self.background.spawn(async move {
            match tokio::time::timeout(timeout, greet(stream, &slots, codec, epoch)).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => tracing::warn!(%reason, "a call on the link was refused"),
                Err(_) => tracing::warn!("a call on the link did not complete its hello in time"),
            }
        });
    }
}

async fn greet(
    stream: UnixStream,
    slots: &DashMap<Uuid, Arc<Slot>>,
    codec: FrameCodec,
    epoch: i64,
) -> Result<(), Refused> {
    crate::kill_point!("create.accepted");
    let peer = stream.peer_cred().ok();
    let mut connection: Handshake = Framed::new(stream, codec);
    let outcome = admit(&mut connection, peer, slots, epoch).await;
    match outcome {
        Ok(Admitted::Link(slot, received)) => {
            crate::kill_point!("create.handshaken");
            // The driver has ended meanwhile when nobody takes the call.
            let connection = connection.into();
            let _ = slot.calls.send(Call { connection, received }).await;
            Ok(())
        }
        Ok(Admitted::Result(taker)) => {
            connection.send(Frame::new("welcome", json!({}), "")).await?;
            // Who waited has left when nobody takes it; the agent sees that the connection is closed.
            let _ = taker.send(connection.into());
            Ok(())
        }
        Err(reason) => {
            let _ = connection
                .send(Frame::new("refused", json!({"reason": reason.to_string()}), ""))
                .await;
            Err(reason)
        }
    }
}

/// Who was let in.
enum Admitted {
    /// The link, with the last of our frames that the agent has taken.
    Link(Arc<Slot>, u64),
    /// A result, and who waits for it.
    Result(oneshot::Sender<ResultStream>),
}

async fn admit(
    connection: &mut Handshake,
    peer: Option<tokio::net::unix::UCred>,
    slots: &DashMap<Uuid, Arc<Slot>>,
    epoch: i64,
) -> Result<Admitted, Refused> {
    let hello = hello::receive(connection).await?;
    let slot = slots.get(&hello.driver).map(|slot| Arc::clone(&slot));
    let slot = slot.ok_or_else(|| Refused::Unknown(hello.driver.to_string()))?;
    // The same words as for a driver that is not expected: a stranger learns nothing.
    let is_ours = peer.is_some_and(|peer| {
        peer.uid() == slot.uid && peer.pid().is_some_and(|pid| descends(pid, slot.keeper_pid))
    });
    if !is_ours {
        return Err(Refused::Unknown(hello.driver.to_string()));
    }
    if let Some(ticket) = &hello.ticket {
        return slot
            .tickets
            .take(ticket)
            .map(Admitted::Result)
            .ok_or(Refused::Ticket);
    }
    hello::prove(
        connection,
        &hello,
        &slot.secret,
        slot.stored.load(Ordering::Acquire),
        epoch,
    )
    .await?;
    Ok(Admitted::Link(slot, hello.received))
}
