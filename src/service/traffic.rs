//! The connections of clients, counted, so that a server that ends knows when all are answered; and what each may take of the server.

use std::os::fd::AsRawFd as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connections::{Asked, Connections, Place};
use crate::metrics;

/// The counts. Clones share them.
#[derive(Clone, Debug)]
pub struct Traffic {
    counts: Arc<Counts>,
    draining: CancellationToken,
    connections: Connections,
    write_timeout: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    silent: AtomicUsize,
    fewer: Notify,
}

/// A connection, for as long as it is open.
#[derive(Debug)]
pub(super) struct Connection {
    counts: Arc<Counts>,
    is_silent: AtomicBool,
    place: Option<Place>,
}

impl Traffic {
    /// No traffic yet. Once `draining` is cancelled, each answer tells its client to take another connection. A client that takes
    /// nothing of an answer for `write_timeout` is cut off.
    #[must_use]
    pub fn new(draining: CancellationToken, connections: Connections, write_timeout: Duration) -> Self {
        Self {
            counts: Arc::default(),
            draining,
            connections,
            write_timeout,
        }
    }

    /// Counts a TCP connection that was accepted, until what this gives is dropped, which must be before the socket is. None: there is
    /// no place for it, and it is closed.
    pub(super) fn connected(&self, socket: &TcpStream) -> Option<Connection> {
        // The kernel sees what actix does not: whether the other side takes anything.
        let patience = u32::try_from(self.write_timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = setsockopt(socket, sockopt::TcpUserTimeout, &patience);
        let peer = socket.peer_addr().ok()?;
        let place = self.connections.take(socket.as_raw_fd(), peer.ip())?;
        Some(self.counted(Some(place)))
    }

    /// Counts a connection over a Unix socket, which has a place always: only who may open the socket's file comes by it.
    pub(super) fn connected_here(&self) -> Connection {
        self.counted(None)
    }

    fn counted(&self, place: Option<Place>) -> Connection {
        let counts = Arc::clone(&self.counts);
        counts.open.fetch_add(1, Ordering::AcqRel);
        counts.silent.fetch_add(1, Ordering::AcqRel);
        metrics::HTTP_CONNECTIONS.inc();
        Connection {
            counts,
            is_silent: AtomicBool::new(true),
            place,
        }
    }

    /// What every request passes first.
    ///
    /// # Errors
    /// The inner services' own.
    pub async fn pass<B: MessageBody + Unpin>(
        self,
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<Answer<B>>, Error> {
        let connection = request.conn_data::<Arc<Connection>>();
        let asked = connection.and_then(|connection| {
            connection.speaks();
            connection.place.as_ref().map(Place::asked)
        });
        let mut response = next.call(request).await?;
        if self.draining.is_cancelled() {
            response
                .response_mut()
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        Ok(response.map_body(|_, body| Answer { body, _asked: asked }))
    }

    /// Waits until no connection is open. Cancel safe.
    pub async fn ended(&self) {
        self.counts.until_none(&self.counts.open).await;
    }

    /// Waits until each connection has sent a request or is closed. Cancel safe.
    pub async fn spoken(&self) {
        self.counts.until_none(&self.counts.silent).await;
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Acquire)
    }
}

impl Counts {
    async fn until_none(&self, count: &AtomicUsize) {
        loop {
            let mut fewer = pin!(self.fewer.notified());
            fewer.as_mut().enable();
            if count.load(Ordering::Acquire) == 0 {
                return;
            }
            fewer.await;
        }
    }
}

impl Connection {
    fn speaks(&self) {
        if self.is_silent.swap(false, Ordering::AcqRel) {
            self.counts.silent.fetch_sub(1, Ordering::AcqRel);
            self.counts.fewer.notify_waiters();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.speaks();
        metrics::HTTP_CONNECTIONS.dec();
        self.counts.open.fetch_sub(1, Ordering::AcqRel);
        self.counts.fewer.notify_waiters();
    }
}

/// An answer's body. Once it is dropped, all of it has been handed to the connection.
#[derive(Debug)]
pub struct Answer<B> {
    body: B,
    _asked: Option<Asked>,
}

impl<B: MessageBody + Unpin> MessageBody for Answer<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
