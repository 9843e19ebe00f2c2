//! What readers see of a session: made anew by its actor at each change, shared by all readers, never locked.

use std::sync::Arc;

use super::state::SessionState;
use super::statement::Statement;
use crate::driver::{Driver, DriverMark, LogNow, RunDir, log};
use crate::gpu::Usage;
use crate::ready::Kept;

/// Statements that have ended and are small enough to be answered without the store.
pub(super) const RECENT: usize = 32;
/// The largest output of such a statement, in bytes.
pub(super) const RECENT_BYTES: usize = 16 * 1024;

/// A session at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Livy's state.
    pub state: SessionState,
    /// Spark's application id.
    pub app_id: Option<String>,
    /// Spark's UI.
    pub ui_url: Option<String>,
    /// Where a driver that runs in a cluster has its log, as a page.
    pub driver_log_url: Option<String>,
    /// The driver, once it was launched and while it lives.
    pub driver: Option<Driver>,
    /// Where its log is.
    pub run_dir: Option<RunDir>,
    /// What it holds of the GPUs, or held, in words.
    pub gpus: Option<Arc<str>>,
    /// What is seen of its use of them; none on a host without any.
    pub gpu_usage: Option<Usage>,
    /// What the server adds to the log.
    pub notes: Arc<Vec<String>>,
    /// The sentence that explains the end.
    pub diagnosis: Option<Arc<str>>,
    /// Statements without a final state: the one that runs first, the others in their order.
    pub live: Arc<Vec<Arc<Statement>>>,
    /// Statements that ended lately.
    pub recent: Arc<Vec<Arc<Statement>>>,
    /// Its state as JSON.
    pub state_body: Kept,
    /// The session as JSON, for each of the ways to look at it.
    pub bodies: [Kept<DriverMark>; 4],
}

impl Snapshot {
    pub(super) fn new(state: SessionState) -> Self {
        Self {
            state,
            app_id: None,
            ui_url: None,
            driver_log_url: None,
            driver: None,
            run_dir: None,
            gpus: None,
            gpu_usage: None,
            notes: Arc::default(),
            diagnosis: None,
            live: Arc::default(),
            recent: Arc::default(),
            state_body: Kept::default(),
            bodies: Default::default(),
        }
    }

    /// A statement that has not ended.
    #[must_use]
    pub fn live(&self, id: i64) -> Option<&Arc<Statement>> {
        self.live.iter().find(|statement| statement.id == id)
    }

    /// A statement that need not be read from the store.
    #[must_use]
    pub fn statement(&self, id: i64) -> Option<&Arc<Statement>> {
        self.live(id)
            .or_else(|| self.recent.iter().find(|statement| statement.id == id))
    }

    /// The whole log, as Livy lays it out, with at most `max_bytes` of each stream. Reads files.
    #[must_use]
    pub fn log(&self, max_bytes: u64) -> Vec<String> {
        log::lines(
            self.run_dir.as_ref(),
            &self.notes,
            self.diagnosis.as_deref(),
            max_bytes,
        )
    }

    /// The log, for who follows it.
    #[must_use]
    pub fn log_now(&self) -> LogNow {
        LogNow {
            run_dir: self.run_dir.clone(),
            notes: Arc::clone(&self.notes),
            diagnosis: self.diagnosis.clone(),
            has_ended: self.state == SessionState::Dead,
        }
    }

    /// The log's last `count` lines. Reads files.
    #[must_use]
    pub fn log_tail(&self, count: usize) -> Vec<String> {
        log::tail(
            self.run_dir.as_ref(),
            &self.notes,
            self.diagnosis.as_deref(),
            count,
        )
    }
}
