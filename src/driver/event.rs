//! What a driver tells its session.

use serde_json::value::RawValue;

use super::run_dir::Exit;

/// A driver's news, in the order in which it came.
#[derive(Debug)]
pub enum DriverEvent {
    /// The SparkContext and the session's interpreter are there.
    Ready {
        /// Spark's application id.
        app_id: Option<String>,
        /// Spark's UI, where it is on.
        ui_url: Option<String>,
        /// For the server's log.
        spark_version: Option<String>,
        /// The last statement that it has taken; none when it has taken none yet.
        last_run: Option<i64>,
        /// The statement that runs.
        running: Option<i64>,
    },
    /// The SparkContext could not be made; [`DriverEvent::Exited`] follows.
    Failed {
        /// One sentence.
        reason: String,
    },
    /// A statement began to run.
    Started {
        /// The statement.
        id: i64,
        /// When, in epoch milliseconds.
        at: i64,
    },
    /// Tasks of the running statement's jobs.
    Progress {
        /// The statement.
        id: i64,
        /// Tasks completed.
        done: i64,
        /// Tasks known.
        total: i64,
    },
    /// A statement's end.
    Result(Box<StatementResult>),
    /// A line for the session's log.
    Notice {
        /// The line.
        text: String,
    },
    /// The driver and all its processes are gone; nothing follows.
    Exited {
        /// How; none when its keeper was killed.
        exit: Option<Exit>,
    },
}

/// How a statement ended.
#[derive(Debug)]
pub struct StatementResult {
    /// The statement.
    pub id: i64,
    /// True for one that was cancelled.
    pub cancelled: bool,
    /// Livy's output object; none for a clean cancel.
    pub output: Option<Box<RawValue>>,
    /// The row limit that cut a SQL result.
    pub rows_cut: Option<i64>,
    /// When it began, in epoch milliseconds.
    pub started: i64,
    /// When it ended.
    pub completed: i64,
}
