//! The socket on which clients call: handed in by systemd (socket activation), else bound to `server.listen`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::{SockType, getsockopt, sockopt};

use crate::config::{Config, Exposed};
use crate::sys;

/// A listening socket, and whether it was there before this server.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
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
    /// Reachable by others while nobody is asked for a name.
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
    Ok(Listening {
        listener,
        address,
        is_handed_in,
    })
}

fn bind(config: &Config) -> Result<TcpListener, NoSocket> {
    let address = *config.server.listen;
    TcpListener::bind(address).map_err(|source| NoSocket::Bind { address, source })
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
