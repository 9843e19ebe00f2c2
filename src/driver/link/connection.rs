//! An agent's connection after the hello. Writes go to the socket at once, in the caller's own turn: a statement's way to its
//! driver has no task to wake in between.

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{Encoder as _, Framed, FramedRead};

use super::frame::{Frame, FrameCodec, FrameError};

/// Frames both ways. What the socket does not take at once is kept, bounded, and goes out while [`Connection::next`] waits.
#[derive(Debug)]
pub struct Connection {
    incoming: FramedRead<OwnedReadHalf, FrameCodec>,
    outgoing: OwnedWriteHalf,
    unsent: BytesMut,
    codec: FrameCodec,
}

impl From<Framed<UnixStream, FrameCodec>> for Connection {
    fn from(hello: Framed<UnixStream, FrameCodec>) -> Self {
        let parts = hello.into_parts();
        let (read, outgoing) = parts.io.into_split();
        let mut incoming = FramedRead::new(read, parts.codec);
        // The agent may have sent frames right behind its proof.
        *incoming.read_buffer_mut() = parts.read_buf;
        Self {
            incoming,
            outgoing,
            unsent: parts.write_buf,
            codec: parts.codec,
        }
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
        Ok(self.flush()?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.outgoing.try_write(&self.unsent) {
                Ok(sent) => drop(self.unsent.split_to(sent)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame; none when the agent has closed the connection. Cancel safe.
    ///
    /// # Errors
    /// What came is no frame, or the connection broke.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            tokio::select! {
                frame = self.incoming.next() => return frame.transpose(),
                ready = self.outgoing.writable(), if !self.unsent.is_empty() => {
                    ready?;
                    self.flush()?;
                }
            }
        }
    }
}
