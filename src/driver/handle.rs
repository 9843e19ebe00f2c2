//! A driver that was started, as its session has it: what can be asked of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Host;
use super::link::{Frame, ResultStream, Tickets};
use super::run_as;
use super::run_dir::RunDir;
use super::supervise::{Command, Question};
use crate::traces;

/// What a frame has beside a file's bytes, at most.
const FRAME_OVERHEAD: u64 = 64 << 10;

/// How long a completion may take before it is answered with nothing: the agent answers in 2 s, for Scala in 8.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the agent may take to open the connection of a result: it does so before it looks for the result.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// What a file is added to a session as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// A jar: its classes are there for Scala, Python, SQL and R, and on executors.
    Jar,
    /// A Python module or an archive of such.
    PyFile,
    /// Any file, found through SparkFiles.
    File,
}

impl Addition {
    /// The link's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jar => "jar",
            Self::PyFile => "pyfile",
            Self::File => "file",
        }
    }
}

/// A driver that was started. Dropping it ends nothing.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Its own id, not its session's.
    pub id: Uuid,
    /// Its directory.
    pub run_dir: RunDir,
    pub(super) host: Arc<Host>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) tickets: Arc<Tickets>,
}

impl Driver {
    /// Runs a statement; its result comes as an event. One at a time. Its Spark jobs are told of the trace that it belongs to.
    pub async fn run(&self, id: i64, kind: &str, code: Arc<str>, trace: Option<traces::Context>) {
        self.command(Command::Run {
            id,
            kind: kind.to_owned(),
            code,
            trace,
        })
        .await;
    }

    /// Cancels a statement, if it is the one that runs.
    pub async fn cancel(&self, id: i64) {
        self.command(Command::Cancel { id }).await;
    }

    /// Asks the driver to end, and sees to it that it does: SIGTERM after `driver.stop_grace`, SIGKILL after `driver.kill_grace`.
    pub async fn stop(&self) {
        self.command(Command::Stop).await;
    }

    /// As [`Driver::stop`], without the agent's part.
    pub async fn kill(&self) {
        self.command(Command::Kill).await;
    }

    /// Says that everything up to frame `seq` is stored; 0 says nothing.
    pub async fn stored(&self, seq: u64) {
        if seq > 0 {
            self.command(Command::Stored { seq }).await;
        }
    }

    /// Candidates that complete `code` at `cursor` (in characters); none in time, none at all.
    pub async fn complete(&self, kind: &str, code: String, cursor: i64) -> Vec<String> {
        let fields = json!({"kind": kind, "cursor": cursor});
        let asked = self.ask(Frame::new("complete", fields, code));
        let answered = tokio::time::timeout(COMPLETION_TIMEOUT, asked).await;
        let candidates = answered.ok().flatten();
        candidates.map_or_else(Vec::new, |frame| {
            serde_json::from_slice(&frame.body).unwrap_or_default()
        })
    }

    /// Adds a file to the SparkContext and to the interpreters. None: the driver has ended, or too many questions wait;
    /// else why it could not be added. The agent may take as long as Spark does.
    pub async fn add(&self, what: Addition, uri: &str) -> Option<Result<(), String>> {
        let uid = self.run_dir.uid();
        if uid != nix::unistd::geteuid().as_raw() {
            for uploads in &self.host.uploads {
                if let Err(error) = run_as::hand_over(uploads, uri, uid, self.run_dir.gid()) {
                    return Some(Err(error.to_string()));
                }
            }
        }
        let content = match self.content_for_cluster(uri).await {
            Ok(content) => content,
            Err(why) => return Some(Err(why)),
        };
        let fields = json!({"what": what.as_str(), "uri": uri, "is_sent": content.is_some()});
        let frame = Frame::new("add", fields, content.unwrap_or_default());
        let added = self.ask(frame).await?;
        Some(added.text("error").map_or(Ok(()), |error| Err(error.to_owned())))
    }

    /// What is in a file of this host that a driver in a cluster is to have; none where it can read the file itself.
    async fn content_for_cluster(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        let path = match uri.split_once("://") {
            Some(("file", _)) => url::Url::parse(uri).ok().and_then(|url| url.to_file_path().ok()),
            Some(_) => None,
            None => Some(uri.strip_prefix("file:").unwrap_or(uri).into())
                .filter(|path: &PathBuf| path.is_absolute()),
        };
        let Some(path) = path.filter(|_| self.run_dir.is_remote()) else {
            return Ok(None);
        };
        let told = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
        let most = self.host.max_frame.saturating_sub(FRAME_OVERHEAD);
        let bytes = tokio::fs::metadata(&path).await.map_err(told)?.len();
        if bytes > most {
            return Err(format!(
                "the driver runs in the cluster, and a file that is sent to it has at most {most} bytes (link.max_frame), not {bytes}: put it where \
                 the cluster can read it, such as hdfs:"
            ));
        }
        tokio::fs::read(&path).await.map(Some).map_err(told)
    }

    /// Sets variables in the agent's environment and in the Python interpreter's, for what they start and load from now on. False: the driver
    /// has ended, or too many questions wait.
    pub async fn set_environment(&self, variables: &BTreeMap<String, String>) -> bool {
        let fields = json!({"variables": variables});
        self.ask(Frame::new("environment", fields, "")).await.is_some()
    }

    /// The whole result of a SQL statement, or its first `limit` rows. None: the driver has ended, or does not answer.
    /// Cancel safe: nobody sends it then.
    pub async fn fetch(&self, id: i64, limit: Option<usize>) -> Option<ResultStream> {
        let mut ticket = self.tickets.issue().ok()?;
        let text = ticket.text.clone();
        self.command(Command::Fetch {
            id,
            ticket: text,
            limit,
        })
        .await;
        tokio::time::timeout(FETCH_TIMEOUT, ticket.used()).await.ok()?
    }

    /// Asks the agent something that is of use only now. None: there will be no answer.
    pub(super) async fn ask(&self, frame: Frame) -> Option<Frame> {
        let (answer, answered) = oneshot::channel();
        // A full queue drops it, which answers it with nothing.
        let _ = self.questions.try_send(Question { frame, answer });
        answered.await.ok()
    }

    async fn command(&self, command: Command) {
        // Fails only once the driver has ended, which its last event tells.
        let _ = self.commands.send(command).await;
    }
}
