//! What requests of sessions and of batches have in common, looked at by the policy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::App;
use super::error::ApiError;
use super::named_uploads::NamedUploads;
use crate::access::{Caller, may_use_cluster};
use crate::config::{Config, Size};
use crate::gpu::{self, Ask};
use crate::policy::{self, Asked, Rules};
use crate::profile;
use crate::quota::{Claim, Cost, Kind};
use crate::session::{ConfDirs, Resources};

/// Livy's fields that both have, as they came.
pub struct Wanted<'a> {
    pub what: Kind,
    pub name: Option<&'a str>,
    /// As whom the driver is to run.
    pub proxy_user: Option<&'a str>,
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
    /// The cluster; none: the default one.
    pub cluster: Option<String>,
    /// What holds for drivers there.
    pub in_cluster: Arc<Config>,
    /// The conf over its profile's, its files resolved.
    pub conf: BTreeMap<String, String>,
    pub resources: Resources,
    /// What it asks for of this host's GPUs.
    pub gpus: Option<Ask>,
    /// Directories of configuration of the user's.
    pub conf_dirs: Option<ConfDirs>,
    /// What it costs of its owner's quota.
    pub cost: Cost,
    /// Lines for the log.
    pub notes: Vec<String>,
}

/// Whose a driver is: the caller's, or the user's that it runs as: of that one, only the groups of the configuration are known.
fn whose<'a>(config: &Config, caller: &'a Caller, proxy_user: Option<&str>) -> Cow<'a, Caller> {
    match proxy_user.filter(|user| caller.user.as_deref() != Some(user)) {
        Some(user) => Cow::Owned(Caller::named(user, Vec::new(), &config.access)),
        None => Cow::Borrowed(caller),
    }
}

/// The directories of configuration for this user's driver.
fn conf_dirs(config: &Config, whose: &Caller) -> Option<ConfDirs> {
    let found = policy::conf_dir(&config.conf_dir, whose.user.as_deref(), whose.groups())?;
    let named = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
    Some(ConfDirs {
        spark: named(&found.spark),
        hadoop: named(&found.hadoop),
    })
}

/// The cluster of a request, which its user may use, and what holds there. A profile may name it, and a rule both.
fn cluster_of(
    app: &App,
    rules: &Rules<'_>,
    whose: &Caller,
    conf: &BTreeMap<String, String>,
) -> Result<(Option<String>, Arc<Config>), ApiError> {
    let keys = [profile::PROFILE, profile::CLUSTER];
    let named = keys.iter().filter_map(|key| conf.get_key_value(*key));
    let mut chosen = named.map(|(key, value)| (key.clone(), value.clone())).collect();
    keys.iter().for_each(|key| rules.choose(&mut chosen, key));
    let rejected = |unknown: String| ApiError::Rejected(unknown);
    let cluster = profile::cluster(&app.config, &chosen).map_err(|unknown| rejected(unknown.to_string()))?;
    may_use_cluster(&app.config, cluster.as_deref(), whose)
        .map_err(|refused| ApiError::Refused(refused.to_string()))?;
    let config = app.clusters.get(cluster.as_deref());
    let config = config.ok_or_else(|| rejected("This server has no such cluster.".to_owned()))?;
    Ok((cluster, Arc::clone(config)))
}

/// A refusal of the policy's, in Livy's words.
pub fn rejected(reason: policy::Rejection) -> ApiError {
    ApiError::Rejected(reason.to_string())
}

/// Unknown fields that the log names; the others it counts.
const UNKNOWN_NAMED: usize = 20;

/// A line for the log for each field that nobody knows.
pub fn unknown_fields(unknown: &Map<String, Value>) -> Vec<String> {
    let line = |field: &String| {
        let field: String = field.chars().take(100).collect();
        format!("The request's field {field:?} is unknown and was ignored.")
    };
    let more = unknown.len().saturating_sub(UNKNOWN_NAMED);
    let rest = (more > 0).then(|| format!("{more} further fields are unknown and were ignored."));
    unknown.keys().take(UNKNOWN_NAMED).map(line).chain(rest).collect()
}

/// Puts the fields that stand for one conf key each among the conf, over which they win.
fn fold(resources: &mut Resources, conf: &mut BTreeMap<String, String>) {
    let number = |number: &mut Option<i64>| number.take().map(|number| number.to_string());
    for (key, value) in [
        ("spark.driver.memory", resources.driver_memory.take()),
        ("spark.driver.cores", number(&mut resources.driver_cores)),
        ("spark.executor.memory", resources.executor_memory.take()),
        ("spark.executor.cores", number(&mut resources.executor_cores)),
        ("spark.executor.instances", number(&mut resources.num_executors)),
        ("spark.yarn.queue", resources.queue.take()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            conf.insert(key.to_owned(), value);
        }
    }
}

/// As many bytes as a text may have.
pub fn as_length(size: Size) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

/// Checks how long the request's texts are, as they came.
fn check_lengths(wanted: &Wanted<'_>, most: usize) -> Result<(), policy::Rejection> {
    let texts = wanted.conf.iter();
    let texts = texts.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
    policy::check_conf_lengths(texts, most)?;
    let resources = &wanted.resources;
    for (field, text) in [
        ("driverMemory", &resources.driver_memory),
        ("executorMemory", &resources.executor_memory),
        ("queue", &resources.queue),
    ] {
        policy::check_length(|| field.to_owned(), text.as_deref().unwrap_or_default(), most)?;
    }
    for (field, entries) in [
        ("jars", wanted.jars),
        ("pyFiles", wanted.py_files),
        ("files", wanted.files),
        ("archives", wanted.archives),
    ] {
        for (at, entry) in entries.iter().enumerate() {
            policy::check_length(|| format!("{field}[{at}]"), entry, most)?;
        }
    }
    Ok(())
}

/// What the rules look at.
fn asked<'a>(conf: &'a mut BTreeMap<String, String>, resources: &'a mut Resources) -> Asked<'a> {
    Asked {
        conf,
        lists: vec![
            ("spark.jars", &mut resources.jars),
            ("spark.submit.pyFiles", &mut resources.py_files),
            ("spark.files", &mut resources.files),
            ("spark.archives", &mut resources.archives),
        ],
    }
}

/// Applies the policy to a request; nothing is used up when it is refused.
///
/// Uploads that the request names become local files, which `uploads` keeps until what it makes is there.
pub fn accept(
    app: &App,
    caller: &Caller,
    uploads: &mut NamedUploads<'_>,
    mut wanted: Wanted<'_>,
) -> Result<Accepted, ApiError> {
    let config = &app.config;
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
    check_lengths(&wanted, as_length(config.limits.conf_value_bytes)).map_err(rejected)?;
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
    let whose = whose(config, caller, wanted.proxy_user);
    let rules = Rules::of(&config.policy.rule, caller.user.as_deref(), caller.groups());
    let (cluster, in_cluster) = cluster_of(app, &rules, &whose, &conf)?;
    policy::check_hadoop(conf.keys(), &in_cluster).map_err(rejected)?;
    for key in policy::PYTHON_KEYS {
        if let Some(python) = conf.get_mut(key) {
            *python = policy::python_of(python);
        }
    }
    let allow = &uploads.and_allowed(allow);
    policy::resolve_conf(conf.iter_mut(), allow).map_err(rejected)?;
    let resolve = |files: Vec<String>| policy::resolve_files(files, allow).map_err(rejected);
    let mut resources = Resources {
        jars: resolve(jars)?,
        py_files: resolve(py_files)?,
        files: resolve(files)?,
        archives: resolve(archives)?,
        ..std::mem::take(&mut wanted.resources)
    };
    fold(&mut resources, &mut conf);
    rules.check(&asked(&mut conf, &mut resources)).map_err(rejected)?;
    rules.choose(&mut conf, profile::PROFILE);
    // A profile's is the administrator's: lists and files of the policy are for the request's own.
    let mut conf =
        profile::applied(&in_cluster, conf).map_err(|unknown| ApiError::Rejected(unknown.to_string()))?;
    let mut notes = rules
        .settle(&mut asked(&mut conf, &mut resources), &in_cluster.spark.conf)
        .map_err(rejected)?;
    notes.extend(gpu::settle(&mut conf, &in_cluster.spark, None));
    let gpus = app.sessions.gpus().asked(&mut conf, &in_cluster.spark);
    let gpus = gpus.map_err(|refused| ApiError::Rejected(refused.to_string()))?;
    // A part by memory is of a GPU whose size is not known yet.
    let held = gpus
        .as_ref()
        .map_or(0, |ask| ask.thousandths.unwrap_or(gpu::WHOLE));
    let cost = Cost::of(&conf, &in_cluster.spark, held.into());
    let claim = Claim::new(caller.user.clone(), wanted.what, cost);
    let quotas = app.sessions.quotas();
    quotas.know(caller.user.as_deref(), caller.groups());
    quotas
        .check(&claim)
        .map_err(|over| ApiError::Rejected(over.to_string()))?;
    Ok(Accepted {
        conf_dirs: conf_dirs(&in_cluster, &whose),
        cluster,
        in_cluster,
        conf,
        resources,
        gpus,
        cost,
        notes,
    })
}
