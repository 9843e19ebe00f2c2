//! What `spark-submit` is given: an argument vector that no shell sees, a 0600 properties file with the conf, and an environment
//! built from a list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::class_archive::Start;
use super::run_as::Identity;
use super::secure;
use super::spark::Spark;
use super::start_options;
use crate::config::{Config, DeployMode, RunAsMode};
use crate::gpu::Mask;

/// What a driver is started with. Paths and conf keys have passed the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverSpec {
    /// The application of a batch; none: the agent, for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// The cluster; none: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The session's kind: its interpreter is started at once.
    pub kind: String,
    /// `spark.app.name`.
    pub app_name: String,
    /// The request's Spark conf, without `livy.*` and `firesteel.*`.
    pub conf: BTreeMap<String, String>,
    /// As whom the driver runs (`--proxy-user`).
    pub proxy_user: Option<String>,
    /// Whose it is, for its Unix user. Not the request's: it is settled when the driver is launched.
    #[serde(skip)]
    pub user: Option<String>,
    /// Livy's fields that stand for conf keys; they win over the same keys in `conf`.
    pub resources: Resources,
    /// The most rows of a SQL result in this session.
    pub sql_max_rows: usize,
    /// Whether it is there to make the class-data archive: it runs on this host, whatever the master.
    #[serde(skip)]
    pub makes_class_archive: bool,
    /// What it does before a session claims it; none for one that is started for its session.
    #[serde(skip)]
    pub ahead: Option<Ahead>,
    /// In the place of the server's own directories of configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf_dirs: Option<ConfDirs>,
    /// What it sees of the GPUs; none where the host has none. Not the request's: it is settled when the driver is launched.
    #[serde(skip)]
    pub gpus: Option<Mask>,
}

/// Directories of configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfDirs {
    /// SPARK_CONF_DIR; none: the server's.
    pub spark: Option<PathBuf>,
    /// HADOOP_CONF_DIR; none: the server's.
    pub hadoop: Option<PathBuf>,
}

/// What a warm driver does before it waits for its session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ahead {
    /// Modules that its Python imports.
    pub imports: Vec<String>,
    /// Whether it runs a Spark job.
    pub first_job: bool,
}

/// What a batch runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// A jar, a Python or an R file.
    pub file: String,
    /// The main class of a jar.
    pub class_name: Option<String>,
    /// For the application, as they came.
    pub args: Vec<String>,
}

/// Livy's named fields. None leaves the conf as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `spark.driver.memory`.
    pub driver_memory: Option<String>,
    /// `spark.driver.cores`.
    pub driver_cores: Option<i64>,
    /// `spark.executor.memory`.
    pub executor_memory: Option<String>,
    /// `spark.executor.cores`.
    pub executor_cores: Option<i64>,
    /// `spark.executor.instances`.
    pub num_executors: Option<i64>,
    /// `spark.yarn.queue`.
    pub queue: Option<String>,
    /// Before those of `spark.jars`.
    pub jars: Vec<String>,
    /// Before those of `spark.submit.pyFiles`.
    pub py_files: Vec<String>,
    /// Before those of `spark.files`.
    pub files: Vec<String>,
    /// Before those of `spark.archives`.
    pub archives: Vec<String>,
}

/// The server's variables that a driver gets, beside `driver.env_pass`. All others stay with the server.
const PASSED: &[&str] = &[
    "HADOOP_CONF_DIR",
    "HADOOP_HOME",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SPARK_CONF_DIR",
    "TMPDIR",
    "TZ",
    "USER",
    "YARN_CONF_DIR",
];

/// Those that tell a submit to Kubernetes who it is, where the configuration does not. In client mode they would be the driver's.
const SUBMITS_TO_KUBERNETES: &[&str] = &[KUBECONFIG, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// The variable that names a kubeconfig file.
const KUBECONFIG: &str = "KUBECONFIG";

/// The variable that names a Kerberos credential cache.
const TICKET: &str = "KRB5CCNAME";

/// The longest path of TMPDIR: programs put sockets there, whose paths have 107 bytes at most, such as Python's `pymp-x/listener-x`. With a
/// longer one the driver has the server's.
const TMPDIR_LONGEST: usize = 75;

/// The conf key of the Python that Spark starts the application with.
pub(super) const DRIVER_PYTHON: &str = "spark.pyspark.driver.python";

/// For whom a driver acts on a cluster (`--proxy-user`): whom its request names, else, where the configuration has it so, its session's user. Nobody, where it
/// runs as its user's Unix user, which is its user there too.
#[must_use]
pub(super) fn hadoop_user<'a>(config: &Config, spec: &'a DriverSpec) -> Option<&'a str> {
    if config.run_as.mode == RunAsMode::Owner {
        return None;
    }
    let own = spec.user.as_deref().filter(|_| config.hadoop.acts_for_users());
    spec.proxy_user.as_deref().or(own)
}

/// The argument vector; `agent` is the program of a session, with its argument. A value that begins with `-` stays a value: `spark-submit` takes the argument after an option as it is. `user` is the one
/// that it acts for.
#[must_use]
pub fn argv(
    spark: &Spark,
    spec: &DriverSpec,
    properties: &Path,
    agent: &[PathBuf],
    user: Option<&str>,
) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut argv = vec![
        text(&spark.submit()),
        "--properties-file".to_owned(),
        text(properties),
    ];
    if let Some(user) = user {
        argv.extend(["--proxy-user".to_owned(), user.to_owned()]);
    }
    if let Some(application) = &spec.application {
        if let Some(class_name) = &application.class_name {
            argv.extend(["--class".to_owned(), class_name.clone()]);
        }
        argv.push(application.file.clone());
        argv.extend(application.args.iter().cloned());
    } else {
        argv.extend(agent.iter().map(|path| text(path)));
    }
    argv
}

/// The session's whole conf: `spark-defaults.conf` (which a properties file replaces, so it is read here), below `spark.conf` of
/// the configuration, below the request's, below what the server decides.
#[must_use]
pub fn conf(
    config: &Config,
    spec: &DriverSpec,
    defaults: &BTreeMap<String, String>,
    work: &Path,
) -> BTreeMap<String, String> {
    let mut conf = BTreeMap::new();
    if config.spark.is_local() {
        // Blocks and shuffles in the driver's own directory: a driver that is killed leaves none behind. On a cluster the path
        // would be every executor's.
        conf.insert("spark.local.dir".to_owned(), work.display().to_string());
    }
    conf.extend(defaults.clone());
    // A free port for each driver's UI: many at once never run out of Spark's sixteen tries.
    conf.entry("spark.ui.port".to_owned())
        .or_insert_with(|| "0".to_owned());
    conf.extend(
        config
            .spark
            .conf
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    if let Some(mask) = &spec.gpus {
        conf.extend(mask.conf.clone());
    }
    conf.extend(spec.conf.clone());
    let resources = &spec.resources;
    let fields = [
        // Without a name an application names itself.
        ("spark.app.name", Some(spec.app_name.clone())),
        ("spark.driver.memory", resources.driver_memory.clone()),
        (
            "spark.driver.cores",
            resources.driver_cores.map(|number| number.to_string()),
        ),
        ("spark.executor.memory", resources.executor_memory.clone()),
        (
            "spark.executor.cores",
            resources.executor_cores.map(|number| number.to_string()),
        ),
        (
            "spark.executor.instances",
            resources.num_executors.map(|number| number.to_string()),
        ),
        ("spark.yarn.queue", resources.queue.clone()),
        (
            "spark.master",
            Some(match spec.makes_class_archive {
                true => "local[1]".to_owned(),
                false => config.spark.master.clone(),
            }),
        ),
        (
            "spark.submit.deployMode",
            Some(config.spark.deploy_mode.as_str().to_owned()),
        ),
        (
            "spark.sql.catalogImplementation",
            Some(if config.spark.hive { "hive" } else { "in-memory" }.to_owned()),
        ),
    ];
    for (key, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            conf.insert(key.to_owned(), value);
        }
    }
    secure::conf(config, &mut conf);
    for (key, first) in [
        ("spark.jars", &resources.jars),
        ("spark.submit.pyFiles", &resources.py_files),
        ("spark.files", &resources.files),
        ("spark.archives", &resources.archives),
    ] {
        if !first.is_empty() {
            let rest = conf.get(key).cloned().filter(|rest| !rest.is_empty());
            let all: Vec<String> = first.iter().cloned().chain(rest).collect();
            conf.insert(key.to_owned(), all.join(","));
        }
    }
    conf
}

/// Reads the `spark-defaults.conf` that `spark-submit` would: of SPARK_CONF_DIR, else of SPARK_HOME/conf. None there is no error.
///
/// # Errors
/// The file is there and can't be read.
pub fn spark_defaults(
    spark: &Spark,
    spark_conf_dir: Option<&str>,
) -> std::io::Result<BTreeMap<String, String>> {
    let directory = spark_conf_dir.map_or_else(|| spark.home.join("conf"), PathBuf::from);
    let file = match std::fs::File::open(directory.join("spark-defaults.conf")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        opened => opened?,
    };
    let mut defaults = BTreeMap::new();
    java_properties::PropertiesIter::new_with_encoding(file, encoding_rs::UTF_8)
        .read_into(|key, value| {
            // Spark trims values, and takes no key of anybody else's.
            if key.starts_with("spark.") {
                defaults.insert(key, value.trim().to_owned());
            }
        })
        .map_err(std::io::Error::other)?;
    Ok(defaults)
}

/// Has the agent run with the server's own Python, on this host, so that a session's Python that does not start is told by the agent
/// and may come out of an archive that Spark unpacks later.
pub fn own_python(conf: &mut BTreeMap<String, String>, config: &Config, spark: &Spark) {
    if config.spark.deploy_mode != DeployMode::Cluster {
        conf.insert(DRIVER_PYTHON.to_owned(), spark.python.clone());
    }
}

/// The conf as a Java properties file, pure ASCII.
#[must_use]
pub fn properties(conf: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in conf {
        escape(&mut text, key);
        text.push('=');
        escape(&mut text, value);
        text.push('\n');
    }
    text
}

/// Everything but letters, digits and a few marks is escaped: then no character can have a meaning of its own.
fn escape(text: &mut String, raw: &str) {
    for unit in raw.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"._-/,".contains(&byte) => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
}

/// What the driver's JVM gets its options from.
#[derive(Debug)]
pub struct Jvm<'a> {
    /// Its temporary directory.
    pub work: &'a Path,
    /// The session's whole conf.
    pub conf: &'a BTreeMap<String, String>,
    pub(super) class_archive: Option<&'a Start>,
    /// As whom it runs; none: as the server.
    pub(super) identity: Option<&'a Identity>,
    /// The cache with the Kerberos ticket that it has.
    pub(super) ticket: Option<&'a Path>,
}

/// The driver's whole environment. `server` is the server's own; of it only a list passes.
#[must_use]
pub fn environment(
    config: &Config,
    spark: &Spark,
    spec: &DriverSpec,
    driver: uuid::Uuid,
    jvm: &Jvm<'_>,
    server: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let in_kubernetes = config.spark.is_kubernetes() && config.spark.runs_in_cluster();
    let for_submit: &[&str] = if in_kubernetes { SUBMITS_TO_KUBERNETES } else { &[] };
    let passed = PASSED
        .iter()
        .chain(for_submit)
        .copied()
        .chain(config.driver.env_pass.iter().map(String::as_str));
    let mut environment: BTreeMap<String, String> = passed
        .filter_map(|name| Some((name.to_owned(), server(name)?)))
        .collect();
    let launcher = start_options::of_launcher(spark, spec);
    // One that the administrator passes on stays.
    if let Some(options) = launcher.filter(|_| !environment.contains_key(start_options::LAUNCHER)) {
        environment.insert(start_options::LAUNCHER.to_owned(), options);
    }
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    if let Some(identity) = jvm.identity {
        set("HOME", identity.home.display().to_string());
        set("USER", identity.name.clone());
        set("LOGNAME", identity.name.clone());
    }
    if jvm.work.as_os_str().len() <= TMPDIR_LONGEST {
        set("TMPDIR", jvm.work.display().to_string());
    }
    set("SPARK_HOME", spark.home.display().to_string());
    set("PYSPARK_PYTHON", spark.python.clone());
    set("PYSPARK_DRIVER_PYTHON", spark.python.clone());
    // What the JVM puts into its temporary directory goes with the driver's own. spark-submit reads quotes in this variable.
    set(
        "SPARK_SUBMIT_OPTS",
        // The Scala compiler is recursive: with 1 MiB a sum of 300 numbers is too deep for it.
        format!(
            "\"-Djava.io.tmpdir={}\" -Xss4m {} {} {}",
            jvm.work.display(),
            start_options::NO_PERFORMANCE_FILE,
            start_options::of_driver(config, spec, jvm.conf),
            jvm.class_archive.map_or("", |start| &start.options)
        ),
    );
    if config.spark.is_local() && !config.spark.local_ip.is_empty() {
        set("SPARK_LOCAL_IP", config.spark.local_ip.clone());
    }
    let kubeconfig = &config.cluster.kubernetes.kubeconfig;
    if in_kubernetes && !kubeconfig.as_os_str().is_empty() {
        set(KUBECONFIG, kubeconfig.display().to_string());
    }
    for (name, value) in config.driver.env.iter() {
        set(name, value.clone());
    }
    if let Some(conf_dir) = jvm.class_archive.and_then(|start| start.conf_dir.as_ref()) {
        set("SPARK_CONF_DIR", conf_dir.display().to_string());
    }
    if let Some(dirs) = &spec.conf_dirs {
        if let Some(spark) = &dirs.spark {
            set("SPARK_CONF_DIR", spark.display().to_string());
        }
        if let Some(hadoop) = &dirs.hadoop {
            set("HADOOP_CONF_DIR", hadoop.display().to_string());
        }
    }
    // A path as such: Java takes no `FILE:` there.
    if let Some(ticket) = jvm.ticket {
        set(TICKET, ticket.display().to_string());
    }
    for (name, value) in spec.gpus.iter().flat_map(|mask| &mask.environment) {
        set(name, value.clone());
    }
    set("FIRESTEEL_DRIVER_ID", driver.to_string());
    if spec.conf_dirs.as_ref().is_some_and(|dirs| dirs.hadoop.is_some()) {
        // Another user's would be on the class path behind it.
        environment.remove("YARN_CONF_DIR");
    }
    environment
}

/// The Python that the agent starts interpreters with: the session's, in Spark's own order of the keys.
#[must_use]
pub fn python<'a>(conf: &'a BTreeMap<String, String>, spark: &'a Spark) -> &'a str {
    [DRIVER_PYTHON, "spark.pyspark.python"]
        .iter()
        .find_map(|key| conf.get(*key))
        .filter(|python| !python.is_empty())
        .map_or(&spark.python, |python| python)
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
