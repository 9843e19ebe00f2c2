//! What requests of sessions and of batches have in common, looked at by the policy.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::ApiError;
use super::named_uploads::NamedUploads;
use crate::config::Config;
use crate::gpu::{self, Ask, Gpus};
use crate::policy;
use crate::profile;
use crate::session::Resources;

/// Livy's fields that both have, as they came.
pub struct Wanted<'a> {
    pub name: Option<&'a str>,
    pub conf: &'a Map<String, Value>,
    pub jars: &'a [String],
    pub py_files: &'a [String],
    pub files: &'a [String],
    pub archives: &'a [String],
    /// The request's other fields: what stands for one conf key.
    pub resources: Resources,
}

/// What is left of it once the policy has looked.
pub struct Accepted {
    /// The conf over its profile's, its files resolved.
    pub conf: BTreeMap<String, String>,
    pub resources: Resources,
    /// What it asks for of this host's GPUs.
    pub gpus: Option<Ask>,
    /// Lines for the log.
    pub notes: Vec<String>,
}

/// A refusal of the policy's, in Livy's words.
pub fn rejected(reason: policy::Rejection) -> ApiError {
    ApiError::Rejected(reason.to_string())
}

/// A line for the log for each field that nobody knows.
pub fn unknown_fields(unknown: &Map<String, Value>) -> Vec<String> {
    let line = |field| format!("The request's field {field:?} is unknown and was ignored.");
    unknown.keys().map(line).collect()
}

/// Applies the policy to a request; nothing is used up when it is refused.
///
/// Uploads that the request names become local files, which `uploads` keeps until what it makes is there.
pub fn accept(
    config: &Config,
    gpus: &Gpus,
    uploads: &mut NamedUploads<'_>,
    wanted: Wanted<'_>,
) -> Result<Accepted, ApiError> {
    if let Some(name) = wanted.name {
        policy::check_name(name, config.limits.name_bytes).map_err(rejected)?;
    }
    let entries = config.limits.list_entries;
    for (field, entered) in [
        ("jars", wanted.jars),
        ("pyFiles", wanted.py_files),
        ("files", wanted.files),
        ("archives", wanted.archives),
    ] {
        policy::check_count(field, entered.len(), entries).map_err(rejected)?;
    }
    policy::check_count("conf", wanted.conf.len(), config.limits.conf_keys).map_err(rejected)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let given = wanted.conf.iter();
    let mut conf: BTreeMap<String, String> = given.map(|(key, value)| (key.clone(), text(value))).collect();
    let authenticated = !config.access.mode.is_open();
    uploads.in_conf(&mut conf)?;
    let jars = uploads.in_list("jars", wanted.jars)?;
    let py_files = uploads.in_list("pyFiles", wanted.py_files)?;
    let files = uploads.in_list("files", wanted.files)?;
    let archives = uploads.in_list("archives", wanted.archives)?;
    let all_archives = archives.iter().chain(conf.get("spark.archives"));
    let allow = &config.files.allow;
    let environments = policy::Environments::new(all_archives.map(String::as_str), allow);
    policy::check_conf(conf.iter(), &config.policy.conf, authenticated, &environments).map_err(rejected)?;
    for key in policy::PYTHON_KEYS {
        if let Some(python) = conf.get_mut(key) {
            *python = policy::python_of(python);
        }
    }
    let allow = &uploads.and_allowed(allow);
    policy::resolve_conf(conf.iter_mut(), allow).map_err(rejected)?;
    let resolve = |files: Vec<String>| policy::resolve_files(files, allow).map_err(rejected);
    // A profile's is the administrator's: the policy looks at the request's only.
    let mut conf =
        profile::applied(config, conf).map_err(|unknown| ApiError::Rejected(unknown.to_string()))?;
    let notes = gpu::settle(&mut conf, &config.spark, wanted.resources.executor_cores);
    let asked = gpus.asked(&mut conf, &config.spark);
    let asked = asked.map_err(|refused| ApiError::Rejected(refused.to_string()))?;
    let resources = Resources {
        jars: resolve(jars)?,
        py_files: resolve(py_files)?,
        files: resolve(files)?,
        archives: resolve(archives)?,
        ..wanted.resources
    };
    Ok(Accepted {
        conf,
        resources,
        gpus: asked,
        notes,
    })
}
