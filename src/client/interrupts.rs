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

/// Takes signals from now on: they do not end the process by themselves any more.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Option<Signal>,
}

impl Interrupts {
    /// Takes both; call it within the runtime.
    ///
    /// # Errors
    /// The system has no room for a handler.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: Some(listen(SignalKind::terminate())?),
        })
    }

    /// Takes Ctrl-C, for a prompt: while it waits for a key nobody would look for a SIGTERM.
    ///
    /// # Errors
    /// The system has no room for a handler.
    pub fn of_a_prompt() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: None,
        })
    }

    /// The next one. Cancelling the wait loses none.
    pub async fn next(&mut self) -> Interrupt {
        let terminate = async {
            match &mut self.terminate {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Interrupt,
            _ = terminate => Interrupt::Terminate,
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

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|reason| Failure::Failed(format!("can't take signals: {reason}")))
}
