//! Whole results on connections of their own, each opened with a ticket that the agent was given for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::codec::{Framed, FramedRead, LengthDelimitedCodec};

use super::frame::FrameCodec;
use super::secret::random_hex;
use super::stream::Stream;

/// The longest piece of a result; the agent sends a quarter of it at once.
const PIECE_BYTES: usize = 1 << 20;

/// The results of a driver that are waited for.
#[derive(Debug, Default)]
pub struct Tickets {
    waiting: Mutex<HashMap<String, oneshot::Sender<ResultStream>>>,
}

/// A ticket that is good until it is used, or dropped.
#[derive(Debug)]
pub struct Ticket {
    tickets: Arc<Tickets>,
    /// What the agent says.
    pub text: String,
    stream: oneshot::Receiver<ResultStream>,
}

impl Tickets {
    /// A new ticket.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn issue(self: &Arc<Self>) -> Result<Ticket, getrandom::Error> {
        let text = random_hex()?;
        let (taker, stream) = oneshot::channel();
        self.lock().insert(text.clone(), taker);
        Ok(Ticket {
            tickets: Arc::clone(self),
            text,
            stream,
        })
    }

    /// Who waits under this ticket, which is used up then.
    pub(super) fn take(&self, ticket: &str) -> Option<oneshot::Sender<ResultStream>> {
        self.lock().remove(ticket)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<ResultStream>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The agent's connection, once it has come. Cancel safe.
    pub async fn used(&mut self) -> Option<ResultStream> {
        (&mut self.stream).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.take(&self.text);
    }
}

/// What comes of a result: pieces, then one of the others, then nothing.
#[derive(Debug)]
pub enum ResultPiece {
    /// Bytes of an Arrow stream.
    Bytes(Bytes),
    /// It is whole.
    End,
    /// The statement's plan is not there; a sentence.
    Gone(String),
    /// Spark can't compute it, or it is over a limit; a sentence.
    Failed(String),
    /// The connection broke: the driver has ended, as a rule.
    Broken,
}

/// A result, as the agent sends it. Dropped, it tells the agent to stop.
#[derive(Debug)]
pub struct ResultStream {
    frames: FramedRead<Stream, LengthDelimitedCodec>,
    has_ended: bool,
}

/// How a result ended, in the agent's words.
#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    error: String,
}

impl From<Framed<Stream, FrameCodec>> for ResultStream {
    fn from(hello: Framed<Stream, FrameCodec>) -> Self {
        let parts = hello.into_parts();
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(PIECE_BYTES)
            .new_codec();
        let mut frames = FramedRead::new(parts.io, codec);
        *frames.read_buffer_mut() = parts.read_buf;
        Self {
            frames,
            has_ended: false,
        }
    }
}

impl ResultStream {
    /// What comes next. The driver is not trusted: what makes no sense is a connection that broke. Cancel safe.
    pub async fn next(&mut self) -> ResultPiece {
        loop {
            let Some(Ok(frame)) = self.frames.next().await else {
                return ResultPiece::Broken;
            };
            if !self.has_ended {
                if !frame.is_empty() {
                    return ResultPiece::Bytes(frame.freeze());
                }
                self.has_ended = true;
                continue;
            }
            let Ok(Status { status, error }) = serde_json::from_slice(&frame) else {
                return ResultPiece::Broken;
            };
            return match status.as_str() {
                "ok" => ResultPiece::End,
                "gone" => ResultPiece::Gone(error),
                _ => ResultPiece::Failed(error),
            };
        }
    }
}
