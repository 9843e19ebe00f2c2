//! Several clusters behind one server: what holds for the drivers of each is a configuration of its own, made once of the whole and of
//! `clusters.NAME`. All code below a session or batch then asks that one, and knows of no other cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Config, NamedCluster};

/// The name by which requests mean the cluster of `spark.*`: no `clusters.NAME` may have it.
pub const DEFAULT_CLUSTER: &str = "default";

/// The clusters of a server: the one of `spark.*`, and those that have names. Clones are the same.
#[derive(Clone, Debug)]
pub struct Clusters {
    default: Arc<Config>,
    named: Arc<BTreeMap<String, Arc<Config>>>,
}

impl Clusters {
    /// All clusters of a configuration that was checked.
    #[must_use]
    pub fn of(config: Arc<Config>) -> Self {
        let named = config.clusters.iter();
        let named = named.map(|(name, cluster)| (name.clone(), Arc::new(config.of_cluster(cluster))));
        Self {
            named: Arc::new(named.collect()),
            default: config,
        }
    }

    /// What holds for the drivers of a cluster; without a name, of the default one. None: there is no such cluster.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<Config>> {
        match name {
            None => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }

    /// The server's whole configuration, which is what holds in the default cluster too.
    #[must_use]
    pub fn whole(&self) -> &Arc<Config> {
        &self.default
    }

    /// The default one, then the others by name.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Config>)> {
        let named = self.named().map(|(name, config)| (Some(name), config));
        std::iter::once((None, &self.default)).chain(named)
    }

    /// Those that have names, by name.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Arc<Config>)> {
        self.named.iter().map(|(name, config)| (name.as_str(), config))
    }
}

/// The path, where one is given.
fn given(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

impl Config {
    /// The same with a cluster's own in the place of `spark`, of where its cluster manager is, and of the directories of configuration that its drivers
    /// get. Users' own directories (`conf_dir`) are of what the cluster does not have of its own.
    pub(super) fn of_cluster(&self, cluster: &NamedCluster) -> Self {
        let NamedCluster {
            about: _,
            users: _,
            groups: _,
            home,
            python,
            master,
            deploy_mode,
            hive,
            conf,
            history_server,
            spark_conf_dir,
            hadoop_conf_dir,
            resource_manager,
        } = cluster;
        let mut own = self.clone();
        let spark = &mut own.spark;
        let own_home = given(home);
        if let Some(home) = own_home {
            spark.home = home.to_owned();
        }
        if own_home.is_some() || !python.is_empty() {
            spark.python.clone_from(python);
        }
        spark.master.clone_from(master);
        spark.deploy_mode = *deploy_mode;
        spark.hive = *hive;
        spark.conf.clone_from(conf);
        spark.history_server.clone_from(history_server);

        // The server's own is of another Spark.
        let spark_dir: Option<PathBuf> = given(spark_conf_dir)
            .map(Path::to_owned)
            .or_else(|| own_home.map(|home| home.join("conf")));
        if let Some(dir) = spark_dir {
            let dirs = own.conf_dir.values_mut();
            dirs.for_each(|dirs| dirs.spark = PathBuf::new());
            own.driver.env.0.insert("SPARK_CONF_DIR".to_owned(), shown(&dir));
        }
        if let Some(dir) = given(hadoop_conf_dir) {
            let dirs = own.conf_dir.values_mut();
            dirs.for_each(|dirs| dirs.hadoop = PathBuf::new());
            // Where the server's environment has the other one, it would come first.
            for name in ["HADOOP_CONF_DIR", "YARN_CONF_DIR"] {
                own.driver.env.0.insert(name.to_owned(), shown(dir));
            }
        }
        own.conf_dir
            .retain(|_, dirs| given(&dirs.spark).is_some() || given(&dirs.hadoop).is_some());
        if !resource_manager.is_empty() || given(hadoop_conf_dir).is_some() {
            let yarn = &mut own.cluster.yarn;
            yarn.resource_manager.clone_from(resource_manager);
            // It has the logs of the other one's.
            yarn.log_server = String::new();
        }
        own
    }

    /// A variable as drivers have it: of `driver.env`, else of the server's own environment.
    #[must_use]
    pub fn driver_variable(&self, name: &str) -> Option<String> {
        let set = self.driver.env.get(name).cloned();
        set.or_else(|| std::env::var(name).ok())
    }

    /// Whether a cluster has a SPARK_HOME of its own, so that the environment's is another's.
    #[must_use]
    pub fn has_own_home(&self, cluster: &str) -> bool {
        let cluster = self.clusters.get(cluster);
        cluster.is_some_and(|cluster| given(&cluster.home).is_some())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeployMode;

    fn clusters(text: &str) -> Clusters {
        let config: Config = toml::from_str(text).unwrap();
        Clusters::of(Arc::new(config))
    }

    #[test]
    fn a_cluster_has_its_own_and_the_rest_is_everybodys() {
        let clusters = clusters(
            "[spark]\nhome = '/spark-3.5'\npython = '/py35'\nhive = true\nconf = { 'spark.x' = '1' }\n[cluster.yarn]\n\
             resource_manager = ['http://a:8088']\n[session]\nidle_timeout = '7s'\n[conf_dir.ops]\nusers = ['ada']\n\
             spark = '/ops'\nhadoop = '/ops-hadoop'\n[clusters.other]\nhome = '/spark-4.1'\nmaster = 'yarn'\n\
             deploy_mode = 'cluster'\nhadoop_conf_dir = '/etc/other'\nconf = { 'spark.y' = '2' }\n[clusters.same]\n\
             master = 'yarn'\n",
        );
        let default = clusters.get(None).unwrap();
        assert_eq!(default.spark.conf["spark.x"], "1");
        let other = clusters.get(Some("other")).unwrap();
        let spark = &other.spark;
        assert_eq!(
            (spark.home.to_str(), spark.python.as_str()),
            (Some("/spark-4.1"), "")
        );
        assert_eq!((spark.deploy_mode, spark.hive), (DeployMode::Cluster, false));
        assert_eq!(spark.conf.len(), 1);
        assert_eq!(other.session, default.session);
        assert!(
            other.cluster.yarn.resource_manager.is_empty(),
            "yarn-site.xml says it"
        );
        assert_eq!(other.driver.env["HADOOP_CONF_DIR"], "/etc/other");
        assert_eq!(other.driver.env["SPARK_CONF_DIR"], "/spark-4.1/conf");
        assert!(other.conf_dir.is_empty());
        assert!(other.has_own_home("other") && !other.has_own_home("same"));

        let same = clusters.get(Some("same")).unwrap();
        assert_eq!(same.spark.home, default.spark.home);
        assert_eq!(same.spark.python, "/py35");
        assert_eq!(same.cluster, default.cluster);
        assert_eq!(
            (&same.driver, &same.conf_dir),
            (&default.driver, &default.conf_dir)
        );
        assert!(clusters.get(Some("none")).is_none());
        assert_eq!(clusters.all().count(), 3);
    }
}
