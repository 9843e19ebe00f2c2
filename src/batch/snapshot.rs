//! What readers see of a batch: made anew at each change, shared by all readers, never locked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::BatchState;
use crate::cluster::Links;
use crate::driver::{DriverMark, LogNow, RunDir, log};
use crate::gpu::Usage;
use crate::ready::Kept;

/// What is shown of an application in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Whose it is, as the cluster knows them.
    #[serde(default)]
    pub user: String,
    /// Where its log and UI are.
    pub links: Links,
}

/// A batch at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Livy's state.
    pub state: BatchState,
    /// The application's, once it has exited.
    pub exit_code: Option<i32>,
    /// Where its log is.
    pub run_dir: Option<RunDir>,
    /// Its application in a cluster, as far as it is known.
    pub application: Option<Arc<Shown>>,
    /// What it holds of the GPUs, or held, in words.
    pub gpus: Option<Arc<str>>,
    /// What is seen of its use of them; none on a host without any.
    pub gpu_usage: Option<Usage>,
    /// What the server adds to the log.
    pub notes: Arc<Vec<String>>,
    /// The sentence that explains the end, where that was no success.
    pub diagnosis: Option<Arc<str>>,
    /// Its state as JSON.
    pub state_body: Kept,
    /// The batch as JSON, for those who may see all of it and for strangers.
    pub bodies: [Kept<DriverMark>; 2],
}

impl Snapshot {
    pub(super) fn new(state: BatchState) -> Self {
        Self {
            state,
            exit_code: None,
            run_dir: None,
            application: None,
            gpus: None,
            gpu_usage: None,
            notes: Arc::default(),
            diagnosis: None,
            state_body: Kept::default(),
            bodies: Default::default(),
        }
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
            has_ended: self.state.is_final(),
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
