//! The audit log: who did what, from where, and whether it was allowed; a JSON object a line, in a file that is renamed when it is full.
//!
//! Owns: the queue in front of the file, its one writer, and what happens when the queue is full or the file can't be written
//! (`audit.strict`). A worker never waits for the disk. What a line says is `record.rs`; `file.rs` has the file.
//!
//! Called by `api`, and by `serve`, which opens it; calls `config`.

mod file;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::background::Background;
use crate::config;
use file::LogFile;

pub use record::{Record, Status};

/// Lines that are written at once.
const AT_ONCE: usize = 64;
/// How long a writer that must not lose anything waits before it tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// The audit log is full or can't be written, and nothing may go on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The audit log can't be written, and nothing is done that it would not show (audit.strict). Try again later; the server's log says why."
)]
pub struct Unwritable;

/// The audit log; or none. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    lines: mpsc::Sender<String>,
    /// Lines that are missing since the last one that says so.
    dropped: AtomicU64,
    /// Whether the last try to write failed.
    is_failing: AtomicBool,
    config: config::Audit,
}

/// A place in the queue for the line of one request.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    permit: Option<mpsc::OwnedPermit<String>>,
}

impl Audit {
    /// Opens the file that `audit.file` names, if it names one, and starts its writer.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(config: &config::Audit, background: &Background) -> std::io::Result<Self> {
        if config.file.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let file = LogFile::open(&config.file, config.max_bytes.bytes(), config.kept)?;
        let (lines, waiting) = mpsc::channel(config.queue);
        let shared = Arc::new(Shared {
            lines,
            dropped: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            config: config.clone(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            waiting,
            file: Some(file),
            background: background.clone(),
        };
        background.spawn(writer.run());
        Ok(Self(Some(shared)))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether what changes nothing, and is allowed, is there too.
    #[must_use]
    pub fn has_reads(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.config.reads)
    }

    /// The most bytes of a statement's code that a line has; none where it has none.
    #[must_use]
    pub fn code_bytes(&self) -> Option<usize> {
        let shared = self.0.as_ref().filter(|shared| shared.config.code)?;
        Some(shared.config.code_bytes.len())
    }

    /// A place for a line, which is taken before what the line tells is done; none where there is no log.
    ///
    /// # Errors
    /// There is no place, or the file can't be written, and `audit.strict` is on.
    pub fn place(&self) -> Result<Option<Place>, Unwritable> {
        let Some(shared) = &self.0 else {
            return Ok(None);
        };
        let permit = shared.lines.clone().try_reserve_owned().ok();
        let is_well = permit.is_some() && !shared.is_failing.load(Ordering::Relaxed);
        if shared.config.strict && !is_well {
            return Err(Unwritable);
        }
        let shared = Arc::clone(shared);
        Ok(Some(Place { shared, permit }))
    }

    /// The file's last lines, oldest first; none where there is no log. Reads the file, its last 4 MiB at most.
    ///
    /// # Errors
    /// The system's.
    pub fn last(&self, count: usize) -> std::io::Result<Vec<String>> {
        match &self.0 {
            Some(shared) => file::last_lines(&shared.config.file, count),
            None => Ok(Vec::new()),
        }
    }

    /// Writes a line where there is room, for what is known only when it is over.
    pub fn note(&self, record: &Record<'_>) {
        if let Some(shared) = &self.0 {
            let permit = shared.lines.clone().try_reserve_owned().ok();
            let shared = Arc::clone(shared);
            Place { shared, permit }.note(record);
        }
    }
}

impl Place {
    /// Has the line written. Without a place in the queue it is counted as missing.
    pub fn note(self, record: &Record<'_>) {
        match self.permit {
            Some(permit) => drop(permit.send(record.line())),
            None => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<String>,
    /// None while it is being written.
    file: Option<LogFile>,
    background: Background,
}

impl Writer {
    /// Writes until the server stops, and then what still waits.
    async fn run(mut self) {
        let stopping = self.background.stopping().clone();
        let mut batch = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                _ = self.waiting.recv_many(&mut batch, AT_ONCE) => {}
                () = stopping.cancelled(), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    continue;
                }
            }
            if batch.is_empty() {
                return;
            }
            self.write(&mut batch, &stopping).await;
        }
    }

    async fn write(&mut self, batch: &mut Vec<String>, stopping: &CancellationToken) {
        loop {
            let missing = self.shared.dropped.swap(0, Ordering::Relaxed);
            let marker = (missing > 0).then(|| record::missing(SystemTime::now(), missing));
            let text: String = marker.iter().chain(&*batch).map(String::as_str).collect();
            match self.append(text).await {
                Ok(()) => {
                    if self.shared.is_failing.swap(false, Ordering::Relaxed) {
                        info!("the audit log can be written again");
                    }
                    return batch.clear();
                }
                Err(reason) => {
                    self.shared.dropped.fetch_add(missing, Ordering::Relaxed);
                    if !self.shared.is_failing.swap(true, Ordering::Relaxed) {
                        error!(%reason, "the audit log can't be written");
                    }
                }
            }
            if !self.shared.config.strict || stopping.is_cancelled() {
                let lost = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
                return batch.clear();
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    async fn append(&mut self, text: String) -> std::io::Result<()> {
        let file = self.file.take();
        let config = &self.shared.config;
        let (path, max_bytes, kept) = (config.file.clone(), config.max_bytes.bytes(), config.kept);
        let written = self.background.blocking(move || {
            // None where an earlier try ended in a panic.
            let mut file = match file {
                Some(file) => file,
                None => LogFile::open(&path, max_bytes, kept)?,
            };
            let written = file.append(text.as_bytes());
            Ok::<_, std::io::Error>((file, written))
        });
        let (file, written) = written.await.map_err(std::io::Error::other)??;
        self.file = Some(file);
        written
    }
}
