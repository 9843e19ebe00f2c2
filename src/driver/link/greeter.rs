//! Who calls: the hello, and whether the caller may be who it says it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::DashMap;
use futures_util::SinkExt as _;
use serde_json::json;
use tokio::net::unix::UCred;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::codec::Framed;
use tracing::warn;
use uuid::Uuid;

use super::frame::{Frame, FrameCodec, FrameError};
use super::hello::{self, Handshake, Refused};
use super::listener::{Call, Peer, Slot};
use super::results::ResultStream;
use super::stream::Stream;
use crate::background::Background;
use crate::driver::process::descends;
use crate::metrics;

/// How long nobody is let in after a call could not be taken.
const REST: Duration = Duration::from_millis(100);

/// Greets callers, each in a task of its own. Clones share the slots.
#[derive(Clone)]
pub(super) struct Greeter {
    pub slots: Arc<DashMap<Uuid, Arc<Slot>>>,
    pub codec: FrameCodec,
    pub hello_timeout: Duration,
    pub epoch: i64,
    pub background: Background,
}

impl Greeter {
    /// Greets a caller, whose connection may have to be agreed on first. `peer` is what the kernel says of one on this host;
    /// `permit` is given back when it is known who calls.
    pub(super) fn greet(
        &self,
        stream: impl Future<Output = io::Result<Stream>> + Send + 'static,
        peer: Option<UCred>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let greeter = self.clone();
        self.background.spawn(async move {
            let greeted = async {
                let stream = stream.await.map_err(FrameError::Io)?;
                greeter.hello(stream, peer).await
            };
            match tokio::time::timeout(greeter.hello_timeout, greeted).await {
                Ok(Ok(())) => called("welcome"),
                Ok(Err(reason)) => {
                    called("refused");
                    warn!(%reason, "a call on the link was refused");
                }
                Err(_) => {
                    called("timeout");
                    warn!("a call on the link did not complete its hello in time");
                }
            }
            drop(permit);
        });
    }

    /// Waits after a call that could not be taken: for want of descriptors, most likely, which come back as connections end.
    pub(super) async fn rest(&self, error: &io::Error) {
        warn!(%error, "a driver's call could not be taken");
        tokio::time::sleep(REST).await;
    }

    async fn hello(&self, stream: Stream, peer: Option<UCred>) -> Result<(), Refused> {
        crate::kill_point!("create.accepted");
        let mut connection: Handshake = Framed::new(stream, self.codec);
        match self.admit(&mut connection, peer).await {
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

    async fn admit(&self, connection: &mut Handshake, peer: Option<UCred>) -> Result<Admitted, Refused> {
        let hello = hello::receive(connection).await?;
        let slot = self.slots.get(&hello.driver).map(|slot| Arc::clone(&slot));
        let slot = slot.ok_or_else(|| Refused::Unknown(hello.driver.to_string()))?;
        // The same words as for a driver that is not expected: a stranger learns nothing.
        let may_call = match (&slot.peer, peer) {
            (Peer::Local { uid, keeper_pid }, Some(peer)) => {
                peer.uid() == *uid && peer.pid().is_some_and(|pid| descends(pid, *keeper_pid))
            }
            (Peer::Remote, None) => true,
            _ => false,
        };
        if !may_call {
            return Err(Refused::Unknown(hello.driver.to_string()));
        }
        let ticket = hello.ticket.as_deref();
        if let Some(ticket) = ticket {
            let taker = slot.tickets.take(ticket);
            return taker.map(Admitted::Result).ok_or(Refused::Ticket);
        }
        let stored = slot.stored.load(Ordering::Acquire);
        hello::prove(connection, &hello, &slot.secret, stored, self.epoch).await?;
        Ok(Admitted::Link(slot, hello.received))
    }
}

fn called(outcome: &str) {
    metrics::LINK_CALLS.with_label_values(&[outcome]).inc();
}

/// Who was let in.
enum Admitted {
    /// The link, with the last of our frames that the agent has taken.
    Link(Arc<Slot>, u64),
    /// A result, and who waits for it.
    Result(oneshot::Sender<ResultStream>),
}
