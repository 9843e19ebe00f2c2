//! The sockets of clients: how many there may be, in all and from one address, and which are closed because nothing is asked on them.
//! actix bounds neither, and knows a deadline for the head of a connection's first request only.
//!
//! A socket's descriptor is known here for as long as actix has it: what actix keeps for a connection (its `conn_data`, and so
//! [`Place`]) is dropped before the socket is, and the table's lock is held while a descriptor is used.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Shutdown, shutdown};
use tracing::warn;

use crate::background::Background;
use crate::metrics;

/// Descriptors that connections leave to the store and to drivers. What is read for an answer takes as many as connections do.
const REST: u64 = 1024;
/// How many descriptors the process asks for beside those.
const WANTED: u64 = 8192;
/// How often it is said that connections were refused.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// The bits of an IPv6 address that one client has for itself as a rule.
const HOST_BITS: u32 = 64;

/// What clients' connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `server.connections`.
    pub all: usize,
    /// `server.connections_per_address`; 0 for none of its own.
    pub per_address: usize,
    /// `server.keep_alive`.
    pub idle: Duration,
}

impl Bounds {
    /// The same, with no more connections than the process may have open files for. Asks the system for as many as are wanted.
    #[must_use]
    pub fn within_descriptors(self) -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return self;
        };
        let wanted = (self.all as u64)
            .saturating_mul(2)
            .saturating_add(WANTED)
            .min(hard);
        let raised = wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
        let limit = if raised { wanted } else { soft };
        let room = (limit.saturating_sub(REST) / 2).max(limit / 4);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room < self.all {
            warn!(
                "{room} connections at the same time instead of server.connections = {}: the process may have {limit} files open",
                self.all
            );
        }
        Self {
            all: self.all.min(room),
            ..self
        }
    }
}

/// The connections that are open. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    begun: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    sockets: HashMap<u64, Socket>,
    addresses: HashMap<IpAddr, usize>,
    refused: Refused,
}

#[derive(Debug)]
struct Socket {
    descriptor: RawFd,
    used: Arc<Use>,
}

/// How a connection is used.
#[derive(Debug)]
struct Use {
    /// Requests that are not answered yet.
    under_way: AtomicUsize,
    /// When the last one was, or when the connection came; milliseconds since the table was made.
    since: AtomicU64,
}

/// Connections that found no place since it was said last.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    said: Option<Instant>,
}

impl Connections {
    /// None is open yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Shared {
            bounds,
            begun: Instant::now(),
            open: Mutex::default(),
        }))
    }

    /// Takes a new connection in, which is closed at once where there is no place for it.
    pub(super) fn take(&self, descriptor: RawFd, from: IpAddr) -> Option<Place> {
        let address = network(from);
        let Bounds { all, per_address, .. } = self.0.bounds;
        let mut open = self.0.lock();
        let same = open.addresses.get(&address).copied().unwrap_or(0);
        if open.sockets.len() >= all || (per_address > 0 && same >= per_address) {
            let _ = shutdown(descriptor, Shutdown::Both);
            open.refused.one_more(address);
            return None;
        }
        let used = Arc::new(Use {
            under_way: AtomicUsize::new(0),
            since: AtomicU64::new(self.0.now()),
        });
        let number = open.next;
        open.next += 1;
        open.addresses.insert(address, same + 1);
        open.sockets.insert(
            number,
            Socket {
                descriptor,
                used: Arc::clone(&used),
            },
        );
        Some(Place {
            shared: Arc::clone(&self.0),
            number,
            address,
            used,
        })
    }

    /// Has connections end on which no request came for the time allowed, or only a part of one: what was answered is still sent,
    /// what comes is not read any more.
    fn close_idle(&self, now: u64) {
        let idle = u64::try_from(self.0.bounds.idle.as_millis()).unwrap_or(u64::MAX);
        for socket in self.0.lock().sockets.values() {
            let since = socket.used.since.load(Ordering::Acquire);
            let is_idle = socket.used.under_way.load(Ordering::Acquire) == 0;
            if is_idle && now.saturating_sub(since) > idle {
                let _ = shutdown(socket.descriptor, Shutdown::Read);
            }
        }
    }

    /// Closes idle connections from now on.
    pub fn watch(&self, background: &Background) {
        let (connections, stopping) = (self.clone(), background.stopping().clone());
        let every = (self.0.bounds.idle / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
        background.spawn(async move {
            let look = async {
                loop {
                    tokio::time::sleep(every).await;
                    connections.close_idle(connections.0.now());
                }
            };
            stopping.run_until_cancelled(look).await;
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Refused {
    fn one_more(&mut self, address: IpAddr) {
        self.count += 1;
        metrics::HTTP_CONNECTIONS_REFUSED.inc();
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            warn!(
                http.refused = self.count,
                "connections were closed, the last one of {address}: there are as many as may be (server.connections, \
                 server.connections_per_address)"
            );
            *self = Self {
                count: 0,
                said: Some(Instant::now()),
            };
        }
    }
}

/// An address as it is counted: one client can have all of an IPv6 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).into(),
        address => address,
    }
}

/// A connection's place, for as long as it is open.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    address: IpAddr,
    used: Arc<Use>,
}

impl Place {
    /// A request has come; it is answered when what this gives is dropped.
    pub(super) fn asked(&self) -> Asked {
        self.used.under_way.fetch_add(1, Ordering::AcqRel);
        Asked {
            shared: Arc::clone(&self.shared),
            used: Arc::clone(&self.used),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        open.sockets.remove(&self.number);
        let left = open.addresses.get_mut(&self.address).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            open.addresses.remove(&self.address);
        }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    shared: Arc<Shared>,
    used: Arc<Use>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.used.since.store(self.shared.now(), Ordering::Release);
        self.used.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn table(all: usize, per_address: usize) -> Connections {
        Connections::new(Bounds {
            all,
            per_address,
            idle: Duration::from_secs(10),
        })
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, far)
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let table = table(3, 2);
        let ((near, _far), (over, mut cut)) = (pair(), pair());
        let take = |address| table.take(near.as_raw_fd(), address);
        let (first, second) = (take(HERE), take(HERE));
        assert!(first.is_some() && second.is_some());
        assert!(table.take(over.as_raw_fd(), HERE).is_none());
        assert_eq!(cut.read(&mut [0]).unwrap(), 0, "it is closed");
        // Of one network of 64 bits.
        let other = |host: &str| take(format!("2001:db8::{host}").parse().unwrap());
        let third = other("1");
        assert!(third.is_some());
        assert!(other("2").is_none(), "all places are taken");
        drop(first);
        let fourth = other("2");
        assert!(fourth.is_some());
        drop(second);
        assert!(other("3").is_none(), "the network has its two");
        assert!(take(HERE).is_some());
    }

    #[test]
    fn addresses_count_as_what_one_client_has() {
        let counted = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn only_what_is_idle_is_closed() {
        let table = table(10, 0);
        let ((near, mut far), (busy, mut busy_far)) = (pair(), pair());
        let place = table.take(near.as_raw_fd(), HERE).unwrap();
        let busy_place = table.take(busy.as_raw_fd(), HERE).unwrap();
        let asked = busy_place.asked();
        drop(place.asked());
        let is_open = |far: &mut TcpStream, near: &TcpStream| {
            far.write_all(b"x").unwrap();
            (&*near).read(&mut [0; 8]).unwrap() > 0
        };
        table.close_idle(table.0.now() + 9_000);
        assert!(is_open(&mut far, &near), "it was used a moment ago");
        table.close_idle(table.0.now() + 10_001);
        assert_eq!(
            (&near).read(&mut [0]).unwrap(),
            0,
            "what comes is not read any more"
        );
        assert!(is_open(&mut busy_far, &busy), "its request is under way");
        drop((asked, place));
    }
}
