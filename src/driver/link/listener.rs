//! Where agents call, and the slots of the drivers that are expected.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dashmap::DashMap;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::connection::Connection;
use super::frame::FrameCodec;
use super::greeter::Greeter;
use super::results::Tickets;
use super::secret::Secret;
use super::socket::{Socket, socket_path};
use super::tls::{Address, TlsPort};
use crate::background::Background;
use crate::config;

/// A driver that may call.
#[derive(Debug)]
pub struct Slot {
    /// What it must prove.
    pub secret: Secret,
    /// Where it may call from.
    pub peer: Peer,
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

/// Where a driver calls from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This host, on the Unix socket.
    Local {
        /// The Unix user that it runs as.
        uid: u32,
        /// Its keeper: a caller must descend from it.
        keeper_pid: i32,
    },
    /// A cluster, over TLS: its secret alone tells who it is.
    Remote,
}

/// What all drivers call.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    address: Option<Address>,
    slots: Arc<DashMap<Uuid, Arc<Slot>>>,
}

impl Listener {
    /// Binds the Unix socket and, where the configuration has one, the port for drivers that run in a cluster.
    ///
    /// # Errors
    /// The socket, the port or the certificate can't be made, or the socket's directory belongs to somebody else.
    pub fn bind(
        state_dir: &Path,
        settings: &config::Link,
        epoch: i64,
        background: &Background,
    ) -> io::Result<Self> {
        let path = socket_path(state_dir)?;
        let socket = Socket::bind(&path)?;
        let slots: Arc<DashMap<Uuid, Arc<Slot>>> = Arc::default();
        let greeter = Greeter {
            slots: Arc::clone(&slots),
            codec: FrameCodec {
                max: settings.max_frame.len(),
            },
            hello_timeout: settings.hello_timeout.get(),
            epoch,
            background: background.clone(),
        };
        let address = match TlsPort::bind(settings, state_dir)? {
            Some((port, address)) => {
                background.spawn(port.run(greeter.clone()));
                Some(address)
            }
            None => None,
        };
        background.spawn(socket.run(state_dir.to_owned(), greeter));
        Ok(Self { path, address, slots })
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How drivers in a cluster call; none where they can't.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
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
