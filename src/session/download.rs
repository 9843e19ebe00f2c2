//! Whole results on their way from the driver to a client. The client sets the pace: one that does not read stops the driver's
//! reading, and one that leaves ends its jobs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, timeout};
use tracing::debug;

use super::times::Contacts;
use crate::background::Background;
use crate::config::ResultStreams;
use crate::driver::{ResultPiece, ResultStream};

/// Pieces that wait for the client, beside the one that is being handed over.
const PIECES_WAITING: usize = 1;
/// How often a session whose result is fetched counts as active.
const ACTIVE: Duration = Duration::from_secs(5);

/// Why a result can't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The session has no driver: it has ended, or is starting.
    #[error("The session has no driver, and its results can't be computed again.")]
    NotActive,
    /// As many are fetched as may be.
    #[error("Too many results are being fetched (result.at_once, result.total_at_once). Try again.")]
    Busy,
    /// The driver does not answer.
    #[error("The session's driver does not answer. Try again.")]
    Late,
}

/// The places of one session's downloads, and of all.
#[derive(Clone, Debug)]
pub(super) struct Downloads {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    pub(super) stall: Duration,
}

/// A place among one session's, and one among all.
pub(super) type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Downloads {
    pub(super) fn new(config: &ResultStreams, all: &Arc<Semaphore>) -> Self {
        Self {
            own: Arc::new(Semaphore::new(config.at_once)),
            all: Arc::clone(all),
            stall: config.stall_timeout.get(),
        }
    }

    pub(super) fn admit(&self) -> Result<Permits, FetchError> {
        let place = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().map_err(|_| FetchError::Busy);
        Ok((place(&self.own)?, place(&self.all)?))
    }
}

/// A result that a client takes piece by piece. Dropped, it ends in the driver too.
#[derive(Debug)]
pub struct Download {
    pieces: mpsc::Receiver<ResultPiece>,
}

impl Download {
    pub(super) fn start(
        stream: ResultStream,
        permits: Permits,
        stall: Duration,
        contacts: &Arc<Contacts>,
        background: &Background,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_WAITING);
        let (contacts, draining) = (Arc::clone(contacts), background.draining().clone());
        let passing = async move {
            let _permits = permits;
            tokio::select! {
                () = pass(stream, &sender, stall) => {}
                // The client has left.
                () = sender.closed() => {}
                // A client that finds its result cut asks the next server.
                () = draining.cancelled() => {}
                () = keep_active(&contacts) => {}
            }
        };
        background.spawn(passing);
        Self { pieces }
    }

    /// What comes next; [`ResultPiece::Broken`] where nothing comes any more. Cancel safe.
    pub async fn next(&mut self) -> ResultPiece {
        self.pieces.recv().await.unwrap_or(ResultPiece::Broken)
    }
}

async fn pass(mut stream: ResultStream, client: &mpsc::Sender<ResultPiece>, stall: Duration) {
    loop {
        let piece = stream.next().await;
        let is_last = !matches!(piece, ResultPiece::Bytes(_));
        match timeout(stall, client.send(piece)).await {
            Ok(Ok(())) if !is_last => {}
            Ok(_) => return,
            Err(_) => {
                debug!("a client has taken none of its result for result.stall_timeout: it is cut");
                return;
            }
        }
    }
}

async fn keep_active(contacts: &Contacts) {
    let mut ticks = tokio::time::interval(ACTIVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        contacts.active();
    }
}
