//! Keys of clusters beside the one of `spark`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::DeployMode;
use super::{Key, Table, tables};
use crate::config::values::{KeyType, TextMap};

tables! {
    /// A cluster beside the one of `spark.*`, which a profile names (`profile.NAME.cluster`) or a request by the conf key `firesteel.cluster`
    /// (docs/clusters.md); NAME is yours: letters, digits, `-` and `_`, and not `default`.
    NamedCluster at "clusters.NAME" {
        /// What it is for, in a line.
        about: String = String::new();
        /// The users who may start sessions and batches there. With `groups` empty too: everybody.
        users: Vec<String> = Vec::new();
        /// The groups whose members may.
        groups: Vec<String> = Vec::new();
        /// SPARK_HOME of its drivers. Empty: the Spark of the default cluster.
        home: PathBuf = PathBuf::new();
        /// The Python of its drivers. Empty: the one beside the pyspark of `home`, else `python3`; without `home`, that of the default cluster.
        python: String = String::new();
        /// Its master; it must be named.
        master: String = String::new();
        /// Its deploy mode. Empty: Spark's own default.
        deploy_mode: DeployMode = DeployMode::Unset;
        /// Whether its sessions use the Hive catalog (`spark.sql.catalogImplementation`).
        hive: bool = false;
        /// Spark conf that its sessions and batches start from, in the place of `spark.conf`; a profile's and a request's go over it.
        conf: TextMap = TextMap::default();
        /// Spark's history server there, as `spark.history_server` has it. Empty: none.
        history_server: String = String::new();
        /// SPARK_CONF_DIR of its drivers, an absolute path. Empty: `conf` of its `home`; without `home`, the server's.
        spark_conf_dir: PathBuf = PathBuf::new();
        /// HADOOP_CONF_DIR and YARN_CONF_DIR of its drivers, an absolute path. Empty: the server's.
        hadoop_conf_dir: PathBuf = PathBuf::new();
        /// YARN's ResourceManagers there, as `cluster.yarn.resource_manager` has them. Empty: as `yarn-site.xml` in `hadoop_conf_dir` says; without
        /// `hadoop_conf_dir`, those of the default cluster.
        resource_manager: Vec<String> = Vec::new();
    }
}
