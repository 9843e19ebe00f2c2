//! What a driver tells its session.

use bytes::Bytes;
use serde::Deserialize as _;
use serde_json::json;
use serde_json::value::RawValue;

use super::link::Frame;
use super::run_dir::Exit;
use crate::cluster::Links;
use crate::counters::Cap;

/// The longest piece of what a statement prints (docs/link.md), in bytes.
const PIECE_MAX: usize = 64 * 1024;

/// A driver's news, in the order in which it came.
#[derive(Debug)]
pub enum DriverEvent {
    /// The JVM is up: its agent has called.
    Called,
    /// The SparkContext is made; its interpreter may not be there yet.
    ContextMade,
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
        /// The last job that it has taken, as a negative number.
        last_job: Option<i64>,
        /// The statement or job that runs.
        running: Option<i64>,
    },
    /// A driver that was started for nobody waits to be claimed.
    Warm {
        /// What it could not do before: names, each with a sentence.
        failed: Vec<(String, String)>,
    },
    /// The SparkContext could not be made, or the driver says why it ends; [`DriverEvent::Exited`] follows.
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
    /// What the running statement has printed.
    Output {
        /// The statement.
        id: i64,
        /// Bytes that it had printed before.
        from: u64,
        /// 64 KiB at most.
        bytes: Bytes,
    },
    /// A statement's end.
    Result(Box<StatementResult>),
    /// Another SparkContext took the place of one that had been stopped.
    Context {
        /// Spark's application id.
        app_id: Option<String>,
        /// Spark's UI, where it is on.
        ui_url: Option<String>,
    },
    /// What its cluster manager says of its application.
    Application {
        /// Its id.
        id: String,
        /// Whether its driver runs, and does not wait for a place in the cluster.
        is_running: bool,
        /// Where people find it.
        links: Links,
    },
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
    /// The limit in bytes that it met.
    pub cut: Option<Cut>,
    /// When it began, in epoch milliseconds.
    pub started: i64,
    /// When it ended.
    pub completed: i64,
}

/// Which limit in bytes a result met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The limit.
    pub cap: Cap,
    /// How many bytes it allows.
    pub limit: i64,
    /// How many there were, as far as they were counted.
    pub seen: i64,
}

impl Cut {
    fn read(frame: &Frame) -> Option<Self> {
        let cut = frame.header.get("cut")?;
        Some(Self {
            cap: Cap::from_name(cut.get("what")?.as_str()?)?,
            limit: cut.get("limit")?.as_i64()?,
            seen: cut.get("seen")?.as_i64()?,
        })
    }
}

impl DriverEvent {
    /// What a frame of the agent's means; none for a frame that is no event, or lacks what it needs. Takes its body.
    pub(super) fn read(frame: &mut Frame) -> Option<Self> {
        let body = std::mem::take(&mut frame.body);
        let frame = &*frame;
        let text = |field| frame.text(field).map(str::to_owned);
        Some(match frame.kind() {
            "ready" => Self::Ready {
                app_id: text("app_id"),
                ui_url: text("ui_url"),
                spark_version: text("spark_version"),
                last_run: frame.number("last_run"),
                last_job: frame.number("last_job"),
                running: frame.number("running"),
            },
            "context_made" => Self::ContextMade,
            "warm" => Self::Warm {
                failed: frame
                    .header
                    .get("failed")
                    .and_then(|failed| Vec::deserialize(failed).ok())
                    .unwrap_or_default(),
            },
            "failed" => Self::Failed {
                reason: text("reason").unwrap_or_default(),
            },
            "started" => Self::Started {
                id: frame.number("id")?,
                at: frame.number("at")?,
            },
            "progress" => Self::Progress {
                id: frame.number("id")?,
                done: frame.number("done")?,
                total: frame.number("total")?,
            },
            "output" if body.len() <= PIECE_MAX => Self::Output {
                id: frame.number("id")?,
                from: u64::try_from(frame.number("from")?).ok()?,
                // The frame's own is a part of what was read from the connection, and would keep all of that.
                bytes: Bytes::copy_from_slice(&body),
            },
            "context" => Self::Context {
                app_id: text("app_id"),
                ui_url: text("ui_url"),
            },
            "notice" => Self::Notice { text: text("text")? },
            "result" => Self::Result(Box::new(StatementResult {
                id: frame.number("id")?,
                cancelled: frame.text("state") == Some("cancelled"),
                output: output(frame.number("id")?, body),
                rows_cut: frame.number("rows_cut"),
                cut: Cut::read(frame),
                started: frame.number("started").unwrap_or(0),
                completed: frame.number("completed").unwrap_or(0),
            })),
            _ => return None,
        })
    }
}

/// The output as it came. The driver is not trusted: what is no JSON object becomes an error that says so.
/// It may be large, and is not copied.
fn output(statement: i64, body: Bytes) -> Option<Box<RawValue>> {
    if body.is_empty() {
        return None;
    }
    let text = String::from_utf8(body.into()).ok();
    let parsed = text
        .and_then(|text| RawValue::from_string(text).ok())
        .filter(|raw| raw.get().starts_with('{'));
    parsed.or_else(|| {
        let error = json!({
            "status": "error",
            "execution_count": statement,
            "ename": "InvalidOutput",
            "evalue": "the driver sent an output that is not a JSON object",
            "traceback": [],
        });
        serde_json::value::to_raw_value(&error).ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
            Just(json!("cancelled")),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::hash_map("what|limit|seen|.{0,4}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    const KINDS: &str = "context_made|ready|warm|failed|started|progress|output|context|notice|result|.{0,6}";
    const FIELDS: &str = "id|at|done|total|from|text|reason|failed|state|cut|rows_cut|started|completed|last_run|running|app_id|.{0,4}";

    proptest! {
        /// A driver may say what it likes: it is news or it is none, and an output is a JSON object whatever it was.
        #[test]
        fn any_frame_is_read(
            kind in KINDS,
            fields in prop::collection::hash_map(FIELDS, any_json(), 0..6),
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                any_json().prop_map(|value| value.to_string().into_bytes()),
            ],
        ) {
            let mut frame = Frame::new(&kind, fields, body);
            match DriverEvent::read(&mut frame) {
                Some(DriverEvent::Output { bytes, .. }) => prop_assert!(bytes.len() <= PIECE_MAX),
                Some(DriverEvent::Result(result)) => {
                    if let Some(output) = result.output {
                        let parsed: Value = serde_json::from_str(output.get()).unwrap();
                        prop_assert!(parsed.is_object());
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn an_output_may_be_deep() {
        let deep = format!("{{\"data\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let read = output(3, deep.into()).unwrap();
        assert!(read.get().starts_with('{'));
    }
}
