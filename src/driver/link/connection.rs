//! An agent's connection after the hello. Writes go to the socket at once, in the caller's own turn: a statement's way to its
//! driver has no task to wake in between.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::io::AsyncWrite as _;
use tokio_util::codec::{Encoder as _, Framed, FramedRead};

use super::frame::{Frame, FrameCodec, FrameError};
use super::stream::Stream;
use crate::metrics;

/// Frames both ways. What the socket does not take at once is kept, bounded, and goes out while [`Connection::next`] waits.
#[derive(Debug)]
pub struct Connection {
    incoming: FramedRead<Stream, FrameCodec>,
    unsent: BytesMut,
    codec: FrameCodec,
}

impl From<Framed<Stream, FrameCodec>> for Connection {
    fn from(hello: Framed<Stream, FrameCodec>) -> Self {
        let parts = hello.into_parts();
        let mut incoming = FramedRead::new(parts.io, parts.codec);
        // The agent may have sent frames right behind its proof.
        *incoming.read_buffer_mut() = parts.read_buf;
        metrics::LINK_CONNECTIONS.inc();
        Self {
            incoming,
            unsent: parts.write_buf,
            codec: parts.codec,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::LINK_CONNECTIONS.dec();
    }
}

impl Connection {
    /// Sends a frame, or keeps it to be sent.
    ///
    /// # Errors
    /// The frame is too long, the connection broke, or the agent does not read: then two of the longest frames wait already.
    pub fn send(&mut self, frame: Frame) -> Result<(), FrameError> {
        self.codec.encode(frame, &mut self.unsent)?;
        if self.unsent.len() > 2 * self.codec.max {
            return Err(FrameError::TooLong(self.unsent.len()));
        }
        // Whoever waits for the next frame asks again, with a waker.
        Ok(self.write(&mut Context::from_waker(Waker::noop()))?)
    }

    /// Hands to the socket what it takes now.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut stream = Pin::new(self.incoming.get_mut());
        while !self.unsent.is_empty() {
            match stream.as_mut().poll_write(context, &self.unsent) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(sent)) => drop(self.unsent.split_to(sent)),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        // TLS has records of its own that may wait.
        match stream.poll_flush(context) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// The next frame; none when the agent has closed the connection. Cancel safe.
    ///
    /// # Errors
    /// What came is no frame, or the connection broke.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        poll_fn(|context| {
            self.write(context)?;
            self.incoming.poll_next_unpin(context).map(Option::transpose)
        })
        .await
    }
}
