//! The configuration: defaults < the file `firesteel.toml` < the environment (`FIRESTEEL_SERVER__LISTEN`) < flags.
//!
//! Here: every key with its type, default and meaning (`keys/`), reading and laying the sources over one another
//! (`sources.rs`), the checks of values against one another (`check/`), amounts as
//! Spark writes them (`amount.rs`), what holds in each of several clusters (`clusters.rs`), the reference page (`reference.rs`).
//! May be called by everybody; `main.rs` loads, the rest only reads. Calls nothing of the house.

mod amount;
mod check;
mod clusters;
mod error;
mod keys;
mod modes;
mod reference;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use amount::{Amount, Compared};
pub use check::Exposed;
pub use clusters::{Clusters, DEFAULT_CLUSTER};
pub use error::{ConfigError, Place};
pub use keys::{
    Access, AccessMode, AtShutdown, Audit, Batch, Cluster, ConfDir, ConfMode, DeployMode, Driver, Durability,
    Events, Files, Gpu, Hadoop, IdleGpus, Job, Jwt, Kerberos, Key, Ldap, Limits, Link, Lists, Log, LogFormat,
    Login, Metrics, MetricsAccess, NamedCluster, Oidc, Output, PolicyConf, PolicyRule, Pool, Profile, Proxy,
    Quota, ResultStreams, Retention, RunAs, RunAsMode, Server, Session, Shutdown, Spark, Sql, Statement,
    Store, Table, Throttle, Tls, Token, Traces, Upload, UserCase, Yarn, all as tables,
};
pub use modes::Modes;
pub use reference::reference;
pub use values::{Kind, ListMap, Listen, Size, Span, TextMap};

/// The whole configuration. Its default is what an empty file gives, but for `server.state_dir`, which [`Config::load`]
/// resolves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[retention]`
    pub retention: Retention,
    /// `[spark]`
    pub spark: Spark,
    /// `[hadoop]`
    pub hadoop: Hadoop,
    /// `[conf_dir.NAME]`
    pub conf_dir: BTreeMap<String, ConfDir>,
    /// `[driver]`
    pub driver: Driver,
    /// `[run_as]`
    pub run_as: RunAs,
    /// `[session]`
    pub session: Session,
    /// Batches.
    pub batch: Batch,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[clusters.NAME]`
    pub clusters: BTreeMap<String, NamedCluster>,
    /// `[upload]`
    pub upload: Upload,
    /// `[statement]`
    pub statement: Statement,
    /// `[job]`
    pub job: Job,
    /// `[output]`
    pub output: Output,
    /// `[events]`
    pub events: Events,
    /// `[result]`
    pub result: ResultStreams,
    /// `[gpu]`
    pub gpu: Gpu,
    /// `[profile.NAME]`
    pub profile: BTreeMap<String, Profile>,
    /// `[pool]`
    pub pool: Pool,
    /// `[sql]`
    pub sql: Sql,
    /// `[log]`
    pub log: Log,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[traces]`
    pub traces: Traces,
    /// `[limits]`
    pub limits: Limits,
    /// `[link]`
    pub link: Link,
    /// `[files]`
    pub files: Files,
    /// `[policy.*]`
    pub policy: Policy,
    /// `[quota.NAME]`
    pub quota: BTreeMap<String, Quota>,
    /// `[access]`
    pub access: Access,
    /// `[audit]`
    pub audit: Audit,
    /// `[shutdown]`
    pub shutdown: Shutdown,
}

/// The tables below `policy`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// `[policy.conf]`
    pub conf: PolicyConf,
    /// `[policy.rule.NAME]`
    pub rule: BTreeMap<String, PolicyRule>,
}

impl Traces {
    /// The URL that spans are posted to; empty where none are recorded.
    #[must_use]
    pub fn url(&self) -> String {
        let url = self.endpoint.trim_end_matches('/');
        let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        match url.is_empty() || has_path {
            true => self.endpoint.clone(),
            false => format!("{url}/v1/traces"),
        }
    }
}

impl Tls {
    /// Whether `server.listen` speaks HTTPS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }
}

impl Hadoop {
    /// Whether the server gets a Kerberos ticket for its drivers.
    #[must_use]
    pub fn has_keytab(&self) -> bool {
        !self.keytab.as_os_str().is_empty()
    }

    /// The cache with that ticket.
    #[must_use]
    pub fn ticket(&self, state_dir: &Path) -> Option<PathBuf> {
        self.has_keytab().then(|| state_dir.join("krb5cc"))
    }

    /// Whether each driver acts on the cluster for its session's user (`--proxy-user`).
    #[must_use]
    pub fn acts_for_users(&self) -> bool {
        self.proxy_user || self.has_keytab()
    }
}

impl Link {
    /// Where drivers in a cluster call; none where they can't.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse::<Listen>().ok().map(|listen| listen.0)
    }
}

impl Config {
    /// The namespace of all pods: `cluster.kubernetes.namespace`, else the one of `spark.conf`, else Spark's own default.
    #[must_use]
    pub fn kubernetes_namespace(&self) -> &str {
        let own = Some(self.cluster.kubernetes.namespace.as_str());
        let conf = self.spark.conf.get("spark.kubernetes.namespace");
        let named = own.filter(|name| !name.is_empty()).or(conf.map(String::as_str));
        named.filter(|name| !name.is_empty()).unwrap_or("default")
    }
}

impl Spark {
    /// Whether Spark runs within the driver, without executors of its own.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.master == "local" || self.master.starts_with("local[")
    }

    /// Whether YARN runs what is submitted.
    #[must_use]
    pub fn is_yarn(&self) -> bool {
        self.master == "yarn"
    }

    /// Whether Kubernetes runs what is submitted.
    #[must_use]
    pub fn is_kubernetes(&self) -> bool {
        self.master.starts_with("k8s://")
    }

    /// The address of Kubernetes' API server, as Spark reads `k8s://...`: with HTTPS where no scheme is given.
    #[must_use]
    pub fn kubernetes_api(&self) -> Option<String> {
        let address = self.master.strip_prefix("k8s://")?;
        Some(match address.contains("://") {
            true => address.to_owned(),
            false => format!("https://{address}"),
        })
    }

    /// Whether drivers run in the cluster, where this host's processes say nothing of them.
    #[must_use]
    pub fn runs_in_cluster(&self) -> bool {
        self.deploy_mode == DeployMode::Cluster && !self.is_local()
    }
}

/// What a configuration is made of, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file (`--config`, else `FIRESTEEL_CONFIG`); without one the defaults hold.
    pub file: Option<PathBuf>,
    /// The process's environment; only names that begin with `FIRESTEEL_` count as configuration, and HOME and
    /// XDG_STATE_HOME tell the default of `server.state_dir`.
    pub environment: Vec<(String, String)>,
    /// `--set KEY=VALUE` in order, and flags such as `--listen` as the keys that they set.
    pub sets: Vec<(String, String)>,
}

impl Config {
    /// Reads the sources and checks the whole. `server.state_dir` is resolved to an absolute path.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, as one line that names the file with line and column, the variable or the flag, the
    /// key, and the reason.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let Sources {
            file,
            environment,
            sets,
        } = sources;
        let mut origins = sources::Origins::default();
        let mut table = match file {
            Some(path) => sources::read_file(&path, &mut origins)?,
            None => toml::Table::new(),
        };
        sources::overlay_environment(&mut table, &environment, &mut origins)?;
        sources::overlay_sets(&mut table, &sets, &mut origins)?;
        let mut config = sources::deserialize(table, &origins)?;
        check::resolve(&mut config, &environment, &origins)?;
        check::check(&config, &origins)?;
        Ok(config)
    }

    /// Reads the text of a configuration file alone and checks the whole, as [`Config::load`] does; `path` is what errors name.
    /// Here `server.state_dir` stays as it is written.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn of_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut origins = sources::Origins::default();
        let table = sources::read_text(path, text, &mut origins)?;
        let config = sources::deserialize(table, &origins)?;
        check::check(&config, &origins)?;
        Ok(config)
    }

    /// Whether this configuration may be served on an address: `server.listen` was checked when it was read, a socket that is
    /// handed in may have another.
    ///
    /// # Errors
    /// Others reach the address, and nobody is asked for a name, or everybody on the way could read.
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), Exposed> {
        check::may_listen(&self.access.mode, &self.server, address)
    }
}
