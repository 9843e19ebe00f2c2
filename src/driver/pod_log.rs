//! What a driver writes in Kubernetes: its pod's log, followed into the log of its directory while it runs, and taken to its end.
//!
//! Called by `remote` and by `batch`; calls `cluster` for the pod's log, `log` and `run_dir` for the files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::log::{self, Segments};
use super::run_dir::{RunDir, read_plain};
use crate::background::Background;
use crate::cluster::{Application, Cluster, LiveLog, State};

/// The file of a driver's directory that has the time of the last line taken.
const TAKEN: &str = "pod_log";
/// The bytes of it, more than a time has.
const TAKEN_BYTES: usize = 64;
/// Kubernetes has both streams in one.
const STREAM: &str = "stdout";
/// Between a reading that has ended and the next; longer and longer while none succeeds.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// How long the rest may take once the pod has ended.
const REST: Duration = Duration::from_secs(30);

/// The one who follows it. It is left where it is when this is dropped; a later one goes on there.
#[derive(Debug)]
pub struct PodLog {
    over: CancellationToken,
    task: AbortOnDropHandle<Result<(), String>>,
}

impl PodLog {
    /// Begins to follow what an application's driver writes, where it runs and its log can be read meanwhile; none where it is not so, or
    /// the disk says no, which the server's log tells. As [`PodLog::follow`].
    pub fn of_running(
        cluster: &Cluster,
        application: &Application,
        run_dir: &RunDir,
        max_bytes: u64,
        background: &Background,
    ) -> Option<Self> {
        let is_running = application.state == State::Running;
        let log = is_running.then(|| cluster.live_log(application)).flatten()?;
        Self::follow(log, run_dir, max_bytes, background)
            .inspect_err(|error| warn!(%error, "a driver's log can't be written"))
            .ok()
    }

    /// Begins to follow, or goes on where an earlier one has stopped; `max_bytes` is `log.max_bytes`. The submit, whose output stands
    /// before it, must have ended. Writes files.
    ///
    /// # Errors
    /// The disk says no.
    pub fn follow(
        log: LiveLog,
        run_dir: &RunDir,
        max_bytes: u64,
        background: &Background,
    ) -> io::Result<Self> {
        let copy = Copy::open(run_dir, max_bytes)?;
        let over = CancellationToken::new();
        let task = background.spawn(follow(log, copy, over.clone()));
        Ok(Self {
            over,
            task: AbortOnDropHandle::new(task),
        })
    }

    /// The pod has ended: waits, at most half a minute, until all is there that it wrote.
    ///
    /// # Errors
    /// One sentence: why the end of it is not there.
    pub async fn finish(self) -> Result<(), String> {
        self.over.cancel();
        match timeout(REST, self.task).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not come within {} s", REST.as_secs())),
        }
    }
}

/// Reads until the pod is over, and then once more.
async fn follow(log: LiveLog, mut copy: Copy, over: CancellationToken) -> Result<(), String> {
    let mut wait = AGAIN;
    while !over.is_cancelled() {
        let turns = log.turns();
        let followed = async {
            // It is never closed.
            let _turn = turns.acquire().await;
            copy.take(&log, true).await
        };
        let taken = tokio::select! {
            taken = followed => taken,
            () = over.cancelled() => break,
        };
        wait = match taken {
            Ok(()) => AGAIN,
            Err(_) => (wait * 2).min(AGAIN_MAX),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = over.cancelled() => {}
        }
    }
    copy.take(&log, false).await
}

/// The files.
struct Copy {
    segments: Segments,
    taken: File,
    last: Option<String>,
}

impl Copy {
    fn open(run_dir: &RunDir, max_bytes: u64) -> io::Result<Self> {
        let first = run_dir.driver_log(|| [log::next_segment(run_dir, STREAM), 0])?;
        let (segments, _) = Segments::resume(run_dir, STREAM, max_bytes, first[0])?;
        let last = read_plain(&run_dir.file(TAKEN)).ok();
        let last = last.and_then(|last| String::from_utf8(last).ok());
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(run_dir.file(TAKEN))?;
        Ok(Self {
            segments,
            taken,
            last: last
                .map(|last| last.trim_end().to_owned())
                .filter(|last| !last.is_empty()),
        })
    }

    /// Takes what one reading gives. Cancel safe.
    async fn take(&mut self, log: &LiveLog, follows: bool) -> Result<(), String> {
        let mut reading = log.read(self.last.as_deref(), follows).await?;
        while let Some(text) = reading.next().await? {
            self.write(&text, reading.last())
                .map_err(|error| format!("it can't be written: {error}"))?;
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8], last: Option<&str>) -> io::Result<()> {
        self.segments.write(text)?;
        if let Some(last) = last.filter(|last| self.last.as_deref() != Some(last)) {
            // At once, and always of one length: a server that is killed leaves a whole one.
            self.taken
                .write_all_at(format!("{last:TAKEN_BYTES$}").as_bytes(), 0)?;
            self.last = Some(last.to_owned());
        }
        Ok(())
    }
}
