//! What clients send.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::lenient;

/// `POST /sessions`. Every field may be missing; a field of another name is ignored and named in the session's log.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateSession {
    /// `pyspark` (or `python`, `pyspark3`), `spark` (or `scala`), `sparkr` (or `r`), `sql`, or `shared`, the default: each statement may name its own.
    #[serde(deserialize_with = "lenient::text")]
    #[schema(example = "pyspark")]
    pub kind: Option<String>,
    /// As whom the driver runs; ignored unless `access.impersonation` is on.
    #[serde(deserialize_with = "lenient::text")]
    pub proxy_user: Option<String>,
    /// Jars for driver and executors.
    #[serde(deserialize_with = "lenient::list")]
    pub jars: Vec<String>,
    /// Python files for driver and executors.
    #[serde(deserialize_with = "lenient::list")]
    pub py_files: Vec<String>,
    /// Files for the executors' working directories.
    #[serde(deserialize_with = "lenient::list")]
    pub files: Vec<String>,
    /// Archives, unpacked for the executors.
    #[serde(deserialize_with = "lenient::list")]
    pub archives: Vec<String>,
    /// Such as `2g`.
    #[serde(deserialize_with = "lenient::text")]
    pub driver_memory: Option<String>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub driver_cores: Option<i64>,
    /// Such as `2g`.
    #[serde(deserialize_with = "lenient::text")]
    pub executor_memory: Option<String>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub executor_cores: Option<i64>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub num_executors: Option<i64>,
    /// The cluster's queue.
    #[serde(deserialize_with = "lenient::text")]
    pub queue: Option<String>,
    /// Unique among the owner's live sessions; not all digits.
    #[serde(deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// Spark's conf; values may be numbers and flags.
    #[serde(deserialize_with = "lenient::conf")]
    #[schema(value_type = Object)]
    pub conf: Map<String, Value>,
    /// Seconds without a request about this session after which it ends; 0 for never.
    #[serde(deserialize_with = "lenient::integer")]
    pub heartbeat_timeout_in_second: Option<i64>,
    /// Longest life, such as `8h`.
    #[serde(deserialize_with = "lenient::text")]
    pub ttl: Option<String>,
    /// Longest time without work, such as `1h`.
    #[serde(deserialize_with = "lenient::text")]
    pub idle_timeout: Option<String>,
    /// Fields that this server does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: Map<String, Value>,
}

/// `POST /batches`. Every field but `file` may be missing; a field of another name is ignored and named in the batch's log.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateBatch {
    /// The application: a jar, a Python or an R file.
    #[serde(deserialize_with = "lenient::text")]
    #[schema(value_type = String, example = "/jobs/report.py")]
    pub file: Option<String>,
    /// As whom the driver runs; ignored unless `access.impersonation` is on.
    #[serde(deserialize_with = "lenient::text")]
    pub proxy_user: Option<String>,
    /// The main class of a jar.
    #[serde(deserialize_with = "lenient::text")]
    pub class_name: Option<String>,
    /// For the application.
    #[serde(deserialize_with = "lenient::list")]
    pub args: Vec<String>,
    /// Jars for driver and executors.
    #[serde(deserialize_with = "lenient::list")]
    pub jars: Vec<String>,
    /// Python files for driver and executors.
    #[serde(deserialize_with = "lenient::list")]
    pub py_files: Vec<String>,
    /// Files for the executors' working directories.
    #[serde(deserialize_with = "lenient::list")]
    pub files: Vec<String>,
    /// Archives, unpacked for the executors.
    #[serde(deserialize_with = "lenient::list")]
    pub archives: Vec<String>,
    /// Such as `2g`.
    #[serde(deserialize_with = "lenient::text")]
    pub driver_memory: Option<String>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub driver_cores: Option<i64>,
    /// Such as `2g`.
    #[serde(deserialize_with = "lenient::text")]
    pub executor_memory: Option<String>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub executor_cores: Option<i64>,
    /// A number, or one written as a string.
    #[serde(deserialize_with = "lenient::integer")]
    pub num_executors: Option<i64>,
    /// The cluster's queue.
    #[serde(deserialize_with = "lenient::text")]
    pub queue: Option<String>,
    /// Unique among the owner's live batches; not all digits.
    #[serde(deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// Spark's conf; values may be numbers and flags.
    #[serde(deserialize_with = "lenient::conf")]
    #[schema(value_type = Object)]
    pub conf: Map<String, Value>,
    /// Fields that this server does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: Map<String, Value>,
}

/// `POST /sessions/{id}/statements`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct StatementRequest {
    /// The code.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = String, example = "1 + 1")]
    pub code: Option<String>,
    /// The language, where it is not the session's own.
    #[serde(default, deserialize_with = "lenient::text")]
    pub kind: Option<String>,
}

/// `POST /sessions/{id}/add-jar` and its like.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AddRequest {
    /// Where the file is: a URI that Spark can read, such as `hdfs:///lib/a.jar`, a local path below `files.allow`, or an
    /// upload.
    #[serde(default)]
    #[schema(value_type = String, example = "upload://5c1f0d5e-9d0a-4a39-8a3e-0a4c1f2d3b4e/a.jar")]
    pub uri: Option<String>,
}

/// `POST /tokens`. Every field may be missing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TokenForm {
    /// What its owner calls it.
    #[schema(example = "nightly")]
    pub name: Option<String>,
    /// What it may do: `read`, `sessions`, `batches`, `tokens`, `all`; `all` when it is missing.
    #[schema(example = json!(["read"]))]
    pub scopes: Option<Vec<String>>,
    /// How long it lasts; `access.token.age` when it is missing.
    #[schema(example = "30d")]
    pub expires_in: Option<String>,
}

/// `POST /login`.
#[derive(Deserialize, ToSchema)]
pub struct LoginForm {
    /// The user's name.
    #[schema(example = "ada")]
    pub name: String,
    /// The user's password.
    pub password: String,
}

/// A file, in a multipart body.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it only describes a body, which is read as it comes")]
pub struct UploadForm {
    /// The file, with its name.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// A jar, in a multipart body.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it only describes a body, which is read as it comes")]
pub struct JarForm {
    /// The jar, with its name.
    #[schema(value_type = String, format = Binary)]
    jar: Vec<u8>,
}

/// `POST /sessions/{id}/completion`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// The code.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = String, example = "spark.ra")]
    pub code: Option<String>,
    /// The language.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = String, example = "pyspark")]
    pub kind: Option<String>,
    /// Where in the code, in characters.
    #[serde(default, deserialize_with = "lenient::integer")]
    #[schema(value_type = i32, example = 8)]
    pub cursor: Option<i64>,
}

/// `POST /sessions/{id}/submit-job` and `run-job`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRequest {
    /// The serialized job in base64: for Python, a function of the job context, pickled by cloudpickle.
    #[serde(default)]
    #[schema(value_type = String, example = "gASVDAAAAAAAAACMCGJ1aWx0aW5zlIwEcmVwcpSTlC4=")]
    pub job: Option<String>,
    /// `pyspark` or `spark`.
    #[serde(default)]
    #[schema(value_type = String, example = "pyspark")]
    pub job_type: Option<String>,
}

/// `PUT /sessions/{id}/shares/...`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ShareRequest {
    /// `view`: see it, its log, its statements and results; `modify`: change it as well; `own`: make it their own as well.
    #[schema(example = "view")]
    pub access: Option<String>,
}

/// `POST /sessions/{id}/owner`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OwnerRequest {
    /// Whose it is to be.
    #[schema(example = "bob")]
    pub user: Option<String>,
}
