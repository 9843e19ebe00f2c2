//! Ctrl-C and SIGTERM, one after the other.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// What somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Interrupt {
    /// The exit status of a command that it ended, as shells count.
    pub fn status(self) -> u8 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

/// Takes both signals from now on: neither ends the process by itself any more.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Begins to listen; call it within the runtime.
    ///
    /// # Errors
    /// The system has no room for a handler.
    pub fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|reason| Failure::Failed(format!("can't take signals: {reason}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one. Cancelling the wait loses none.
    pub async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Interrupt,
            _ = self.terminate.recv() => Interrupt::Terminate,
        }
    }

    /// The result of `work`; the command's end when somebody interrupts first.
    ///
    /// # Errors
    /// The work's own, or [`Failure::Stopped`].
    pub async fn or<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            asked = self.next() => Err(Failure::Stopped(asked.status())),
        }
    }
}
