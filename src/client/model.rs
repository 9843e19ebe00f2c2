//! What is read of the server's answers. Fields that are missing or unknown do no harm: servers of other versions, and Livy, have
//! fewer or more.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;

/// States from which a session or a batch goes nowhere any more.
const ENDED: [&str; 5] = ["success", "dead", "error", "killed", "shutting_down"];

/// True for the word of a state that is an end.
pub fn is_ended(state: &str) -> bool {
    ENDED.contains(&state)
}

/// A session or a batch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Work {
    /// A small integer.
    pub id: i64,
    /// The name that the request gave.
    pub name: Option<String>,
    /// Who created it; none without authentication.
    pub owner: Option<String>,
    /// Livy's word.
    pub state: String,
    /// A session's language.
    pub kind: Option<String>,
    /// Spark's application id.
    pub app_id: Option<String>,
    /// Links, and a batch's exit code.
    pub app_info: Option<AppInfo>,
    /// The log's last lines.
    pub log: Option<Vec<String>>,
}

impl Work {
    /// True for one that goes nowhere any more.
    pub fn is_ended(&self) -> bool {
        is_ended(&self.state)
    }

    /// A batch's exit code, once the server knows it.
    pub fn exit_code(&self) -> Option<i64> {
        self.app_info.as_ref()?.exit_code.as_deref()?.parse().ok()
    }

    /// The log's last line: why a session ended, where it did.
    pub fn last_words(&self) -> &str {
        let lines = self.log.as_deref().unwrap_or_default();
        lines.last().map_or("its log is empty", |line| line.trim())
    }
}

/// Links of an application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppInfo {
    /// A number in a text.
    pub exit_code: Option<String>,
    /// Spark's UI.
    pub spark_ui_url: Option<String>,
    /// Its cluster, where that is not the default one.
    pub cluster: Option<String>,
    /// What it holds of the GPUs.
    pub gpus: Option<String>,
    /// The most of their memory that it was seen to have.
    pub gpu_memory_peak: Option<String>,
    /// Seconds of holding a whole one.
    pub gpu_seconds: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// All there are.
    pub total: usize,
    /// The page; batches are called so as well.
    pub sessions: Vec<Value>,
}

/// A page of a log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogPage {
    /// The number of the first line.
    pub from: usize,
    /// All lines.
    pub total: usize,
    /// The lines.
    pub log: Vec<String>,
}

/// A statement.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Statement {
    /// Counted from 0 within its session.
    pub id: i64,
    /// Livy's word.
    pub state: String,
    /// What it gave; none until it is done.
    pub output: Option<Value>,
    /// From 0.0 to 1.0.
    pub progress: f64,
}

/// An upload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Uploaded {
    /// Its id.
    pub id: String,
    /// What requests name it by.
    pub uri: String,
    /// What the server received.
    pub sha256: Option<String>,
}

/// What could stand at the cursor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Candidates {
    /// Whole words.
    pub candidates: Vec<String>,
}

/// An answer as one of these.
///
/// # Errors
/// It is something else: another service answers at that address.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|reason| {
        Failure::Failed(format!(
            "the server's answer is not Livy's ({reason}): check the URL"
        ))
    })
}
