//! Keys of Spark, of Hadoop, and of the clusters in which drivers and executors run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::DeployMode;
use super::{Key, Table, tables};
use crate::config::values::{KeyType, Size, Span, TextMap};

tables! {
    /// The Spark that sessions run on.
    Spark at "spark" {
        /// SPARK_HOME. Empty: the environment's SPARK_HOME, else the pyspark package of `spark.python`.
        home: PathBuf = PathBuf::new();
        /// The Python of drivers. Empty: the one beside the pyspark that was chosen, else `python3`.
        python: String = String::new();
        /// The master of every session; requests can't change it.
        master: String = "local[*]".to_owned();
        /// The deploy mode. Empty: Spark's own default.
        deploy_mode: DeployMode = DeployMode::Unset;
        /// Whether sessions use the Hive catalog (`spark.sql.catalogImplementation`).
        hive: bool = false;
        /// SPARK_LOCAL_IP of drivers with a local master. Empty: not set.
        local_ip: String = "127.0.0.1".to_owned();
        /// Spark conf that each session starts from; a request's conf goes over it.
        conf: TextMap = TextMap::default();
        /// Spark's history server, such as `"http://history:18080"`: where `sparkUiUrl` leads once an application with an event log has ended.
        /// Empty: none.
        history_server: String = String::new();
    }

    /// A secured Hadoop, and as whom drivers act on it (docs/hadoop-security.md).
    Hadoop at "hadoop" {
        /// The keytab of `hadoop.principal`, with which the server gets the Kerberos ticket that drivers are started with, by `kinit`. Empty: no ticket.
        keytab: PathBuf = PathBuf::new();
        /// The server's own name on the cluster, such as `firesteel/host.example.com@EXAMPLE.COM`, which must be allowed to act for users there (Hadoop's
        /// `hadoop.proxyuser.*`).
        principal: String = String::new();
        /// Whether `spark-submit` gets each session's user as `--proxy-user`. With `hadoop.keytab` it always does.
        proxy_user: bool = false;
        /// How often a new ticket is got, at least: it is got once three quarters of the old one's life are over in any case.
        renew_interval: Span = Span::secs(3600);
        /// How long after one that failed the next attempt to get a ticket is made.
        retry_interval: Span = Span::secs(30);
        /// How long `kinit` may take.
        kinit_timeout: Span = Span::secs(10);
    }

    /// Directories of configuration for the drivers of some users, in place of the server's own (docs/hadoop-security.md); NAME is yours.
    ConfDir at "conf_dir.NAME" {
        /// The users whose drivers they are for, before any entry for a group of theirs.
        users: Vec<String> = Vec::new();
        /// The groups whose members' drivers they are for.
        groups: Vec<String> = Vec::new();
        /// SPARK_CONF_DIR, an absolute path, with a `spark-defaults.conf` of its own. Empty: the server's.
        spark: PathBuf = PathBuf::new();
        /// HADOOP_CONF_DIR, an absolute path; YARN_CONF_DIR is not set then. Empty: the server's.
        hadoop: PathBuf = PathBuf::new();
    }

    /// The cluster manager that drivers and executors run with (docs/clusters.md).
    Cluster at "cluster" {
        /// How often the cluster manager is asked what has become of applications, at most: one request for all of them.
        poll_interval: Span = Span::secs(1);
        /// How long it may take to answer.
        timeout: Span = Span::secs(10);
        /// How long after it did not answer it is asked again, at most: each time twice as long as before.
        longest_wait: Span = Span::secs(30);
        /// How long after its submit has ended an application may be unknown to the cluster manager, or one that was known before; then its batch is dead.
        lookup_timeout: Span = Span::secs(60);
        /// The most bytes of an answer.
        max_answer: Size = Size::mib(64);
        table yarn: Yarn;
        table kubernetes: Kubernetes;
    }

    /// Kubernetes, of `spark.master = "k8s://..."` with `spark.deploy_mode = "cluster"` (docs/clusters.md).
    Kubernetes at "cluster.kubernetes" {
        /// The namespace of all pods; requests can't choose another. Empty: `spark.kubernetes.namespace` of `spark.conf`, else `default`.
        namespace: String = String::new();
        /// A kubeconfig file that tells who asks the API server, for the server and for submits. Empty: KUBECONFIG in the environment, else the service account of
        /// the pod that the server runs in.
        kubeconfig: PathBuf = PathBuf::new();
        /// The context in it. Empty: its current one.
        context: String = String::new();
        /// How long a driver's pod has to end by itself once it is to be killed.
        grace: Span = Span::secs(10);
        /// Whether the pods of applications that have ended stay. Else they are deleted once their log is in the batch's.
        keep_pods: bool = false;
        /// How many drivers' logs are followed while they run, each on a connection or stream of its own to the API server; those of others are taken once they have
        /// ended.
        followed_logs: usize = 200;
        /// `driverLogUrl` of a batch, with `{namespace}`, `{pod}` and `{app}` in it, such as a page of the cluster's log store. Empty: none.
        driver_log_url: String = String::new();
        /// `sparkUiUrl` of a batch, the same way, such as an ingress's. Empty: none.
        ui_url: String = String::new();
    }

    /// YARN, of `spark.master = "yarn"` (docs/clusters.md).
    Yarn at "cluster.yarn" {
        /// Where its ResourceManagers are, such as `["http://rm1:8088", "http://rm2:8088"]`; the active one is found. Empty: as `yarn-site.xml` in the
        /// environment's YARN_CONF_DIR or HADOOP_CONF_DIR says.
        resource_manager: Vec<String> = Vec::new();
        /// As whom it is asked (`user.name`): one who may kill applications. Empty: HADOOP_USER_NAME, else the server's own user.
        user: String = String::new();
        /// The web services of the server that has aggregated logs, such as `"http://history:19888/ws/v1/history"`: it is asked for the driver's log that its node
        /// has no more. Empty: `yarn.log.server.web-service.url` of `yarn-site.xml`.
        log_server: String = String::new();
        /// How long the removal of staging directories may take, up to 64 at a time: they are left by applications that are killed.
        staging_timeout: Span = Span::secs(120);
    }
}
