//! Work that outlives a request.
//!
//! Owns: the main runtime's handle, the tracker of what runs on it, and the tokens that tell and end it. Every task of the server is
//! spawned here and nowhere else, because an actix worker's own runtime ends with the HTTP server and takes its tasks along.
//! Called by every module; calls none.

use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns onto the main runtime. Clones share one tracker and one token.
#[derive(Clone, Debug)]
pub struct Background {
    runtime: Handle,
    /// One for each processor.
    bulk: Arc<Semaphore>,
    tracker: TaskTracker,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Background {
    /// Takes the runtime that the caller runs on; call it from the main runtime.
    #[must_use]
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            runtime: Handle::current(),
            bulk: Arc::new(Semaphore::new(processors)),
            tracker: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs `task` on the main runtime; [`Background::shut_down`] waits for it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn_on(task, &self.runtime)
    }

    /// Runs blocking work (files, password hashes) on the main runtime's blocking pool.
    ///
    /// # Errors
    /// The work panicked; the panic has been reported by then.
    pub async fn blocking<F, T>(&self, work: F) -> Result<T, WorkPanicked>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker
            .spawn_blocking_on(work, &self.runtime)
            .await
            .map_err(|_| WorkPanicked)
    }

    /// As [`Background::blocking`], for work that thousands of clients may ask for at the same time: so many are done at once as there
    /// are processors, first come first served, and everything else keeps its share of those.
    ///
    /// # Errors
    /// The work panicked; the panic has been reported by then.
    pub async fn bulk<F, T>(&self, work: F) -> Result<T, WorkPanicked>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // It is never closed.
        let turn = self.bulk.clone().acquire_owned().await.ok();
        // A caller that leaves meanwhile does not end the work, which keeps its turn.
        self.blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// Is cancelled when the server takes no new sessions any more and only answers what has been asked: cancel it to begin that.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Is cancelled when all work has to end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Tells every task to end and waits for them, at most `grace`. True when all have ended.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// Blocking work ended by a panic.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("work in the background panicked")]
pub struct WorkPanicked;
