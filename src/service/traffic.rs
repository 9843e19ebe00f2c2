//! The connections of clients, counted, so that a server that ends knows when all are answered.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The counts. Clones share them.
#[derive(Clone, Debug)]
pub struct Traffic {
    counts: Arc<Counts>,
    draining: CancellationToken,
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
}

impl Traffic {
    /// No traffic yet. Once `draining` is cancelled, each answer tells its client to take another connection.
    #[must_use]
    pub fn new(draining: CancellationToken) -> Self {
        Self {
            counts: Arc::default(),
            draining,
        }
    }

    /// Counts a connection that was accepted, until what this gives is dropped.
    pub(super) fn connected(&self) -> Connection {
        let counts = Arc::clone(&self.counts);
        counts.open.fetch_add(1, Ordering::AcqRel);
        counts.silent.fetch_add(1, Ordering::AcqRel);
        Connection {
            counts,
            is_silent: AtomicBool::new(true),
        }
    }

    /// What every request passes first.
    ///
    /// # Errors
    /// The inner services' own.
    pub async fn pass<B: MessageBody>(
        self,
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<B>, Error> {
        if let Some(connection) = request.conn_data::<Arc<Connection>>() {
            connection.speaks();
        }
        let mut response = next.call(request).await?;
        if self.draining.is_cancelled() {
            response
                .response_mut()
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        Ok(response)
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
        self.counts.open.fetch_sub(1, Ordering::AcqRel);
        self.counts.fewer.notify_waiters();
    }
}
