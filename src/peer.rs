//! Where a request comes from, as its connection tells. Made by `service` for each connection, read by `api` and `authentication`;
//! uses nothing.

use std::net::IpAddr;
use std::sync::Arc;

/// The other end of a connection: nothing here is said by the client alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// The user id of the process at the other end of a Unix socket.
    pub unix_user: Option<u32>,
    /// The DNS names of its certificate, which an authority of `server.tls.client_ca` has signed.
    pub certificate: Arc<[String]>,
    /// Whether nobody on the way can read.
    pub is_tls: bool,
}
