//! The sockets on which clients call: handed in by systemd (socket activation), else bound to `server.listen`; and `server.unix_socket`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{Backlog, SockType, getsockopt, sockopt};

use crate::config::{Config, Exposed};
use crate::sys;

/// Connections that may wait to be accepted; the kernel's own limit (net.core.somaxconn) is as high as a rule.
const WAITING: i32 = 4096;

/// A listening socket, and whether it was there before this server.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// The Unix socket beside it, where `server.unix_socket` names one.
    pub unix: Option<UnixListener>,
    /// Its real address.
    pub address: SocketAddr,
    /// True for one that systemd keeps: connections wait in it while no server runs.
    pub is_handed_in: bool,
}

/// There is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum NoSocket {
    /// `server.listen` can't be bound.
    #[error("can't listen on {address} (server.listen): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What LISTEN_FDS and LISTEN_PID say can't be.
    #[error("the sockets that were handed in (LISTEN_FDS) can't be taken: {0}")]
    Environment(io::Error),
    /// Too many.
    #[error(
        "{0} sockets were handed in (LISTEN_FDS), and one is served: leave one ListenStream= in the socket unit"
    )]
    Several(usize),
    /// Of the wrong kind.
    #[error(
        "the socket that was handed in (LISTEN_FDS) is not a listening TCP socket ({0}): ListenStream= needs an address with a port"
    )]
    Kind(&'static str),
    /// `server.unix_socket` can't be bound.
    #[error("can't listen on {} (server.unix_socket): {source}", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reachable by others while nobody is asked for a name, or everybody on the way could read.
    #[error("the socket that was handed in (LISTEN_FDS): {0}")]
    Exposed(Exposed),
}

/// Takes the socket that was handed in, or binds one. Call it from `main`, before there are threads: it takes the variables out of
/// the environment, so that no child believes that they are meant for it.
///
/// # Errors
/// See [`NoSocket`].
pub fn handed_in() -> Result<Vec<OwnedFd>, NoSocket> {
    sys::take_listen_fds().map_err(NoSocket::Environment)
}

/// The socket to serve: the one that was handed in, or else a new one on `server.listen`.
///
/// # Errors
/// See [`NoSocket`].
pub fn listen(config: &Config, handed_in: Vec<OwnedFd>) -> Result<Listening, NoSocket> {
    let mut sockets = handed_in.into_iter();
    let (listener, is_handed_in) = match (sockets.next(), sockets.len()) {
        (None, _) => (bind(config)?, false),
        (Some(socket), 0) => (of(socket)?, true),
        (Some(_), more) => return Err(NoSocket::Several(more + 1)),
    };
    let address = listener
        .local_addr()
        .map_err(|_| NoSocket::Kind("it has no address"))?;
    config.may_listen(address).map_err(NoSocket::Exposed)?;
    let path = config.server.unix_socket.as_path();
    let unix = match path.as_os_str().is_empty() {
        true => None,
        false => Some(bind_unix(path).map_err(|source| NoSocket::Unix {
            path: path.to_owned(),
            source,
        })?),
    };
    Ok(Listening {
        listener,
        unix,
        address,
        is_handed_in,
    })
}

fn bind(config: &Config) -> Result<TcpListener, NoSocket> {
    let address = *config.server.listen;
    let failed = |source| NoSocket::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    // Listening once more makes the line longer than the standard library's 128: who finds no place in it tries again after a second.
    Backlog::new(WAITING)
        .and_then(|waiting| nix::sys::socket::listen(&listener, waiting))
        .map_err(|error| failed(error.into()))?;
    Ok(listener)
}

/// A Unix socket in the place of one that nobody listens on any more. It gets its place when it has its mode.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("there is something else than a socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::other("another process listens on it"));
        }
        _ => {}
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn of(socket: OwnedFd) -> Result<TcpListener, NoSocket> {
    let fd = socket.as_fd();
    let is_stream = getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    if !is_stream {
        return Err(NoSocket::Kind("it is no stream socket"));
    }
    if !getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false) {
        return Err(NoSocket::Kind("it does not listen; Accept=no is needed"));
    }
    let listener = TcpListener::from(socket);
    // A Unix socket has no address of this kind.
    match listener.local_addr() {
        Ok(_) => Ok(listener),
        Err(_) => Err(NoSocket::Kind("it is no internet socket")),
    }
}
