//! What the drivers of one cluster are started with: its configuration, its Spark, that one's defaults and class-data archive.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use tracing::info;

use super::class_archive::ClassArchive;
use super::spark::Spark;
use super::staging::Remover;
use super::submit::spark_defaults;
use crate::cluster::Cluster;
use crate::config::{Config, DeployMode};

/// What there is of one cluster.
#[derive(Debug)]
pub struct Place {
    /// What holds for its drivers.
    pub config: Arc<Config>,
    /// The Spark that they run on.
    pub spark: Spark,
    /// Where their applications run, if somebody can be asked about them.
    pub cluster: Option<Cluster>,
}

/// Where a driver of an earlier server was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverPlace {
    /// Its cluster; none: the default one.
    pub cluster: Option<String>,
    /// Whether it runs there, and not on this host.
    pub is_remote: bool,
}

/// Where drivers of one cluster are started.
#[derive(Debug)]
pub(super) struct Site {
    pub config: Arc<Config>,
    pub spark: Spark,
    pub cluster: Option<Cluster>,
    pub defaults: BTreeMap<String, String>,
    pub class_archive: Option<Arc<ClassArchive>>,
    /// Who removes what its applications leave.
    pub staging: Option<Remover>,
    /// A driver was started.
    pub used: Notify,
}

impl Site {
    /// Reads the defaults of its Spark, and finds out which archive is its drivers' one; those of `others` that have the same share it.
    ///
    /// # Errors
    /// `spark-defaults.conf` can't be read.
    pub(super) fn open<'a>(
        name: Option<&str>,
        place: Place,
        state_dir: &Path,
        others: impl IntoIterator<Item = &'a Self>,
    ) -> io::Result<Self> {
        let Place {
            config,
            spark,
            cluster,
        } = place;
        let is_wanted = config.driver.class_archive && config.spark.deploy_mode != DeployMode::Cluster;
        let class_archive = match is_wanted {
            true => ClassArchive::of(&state_dir.join("class-archives"), &spark, |name| {
                config.driver_variable(name)
            }),
            false => Err("it is off (driver.class_archive), or drivers run in the cluster".to_owned()),
        };
        let class_archive = class_archive
            .inspect_err(|reason| {
                info!(
                    cluster = name,
                    "drivers start without a class-data archive: {reason}"
                );
            })
            .ok();
        let class_archive = class_archive.map(|archive| {
            let mut others = others
                .into_iter()
                .filter_map(|other| other.class_archive.as_ref());
            let same = others.find(|other| other.is_same(&archive));
            same.map_or_else(|| Arc::new(archive), Arc::clone)
        });
        let conf_dir = config.driver_variable("SPARK_CONF_DIR");
        Ok(Self {
            defaults: spark_defaults(&spark, conf_dir.as_deref())?,
            class_archive,
            spark,
            cluster,
            config,
            staging: None,
            used: Notify::new(),
        })
    }

    /// Where drivers run, if that is the cluster.
    pub(super) fn cluster_of_drivers(&self) -> Option<&Cluster> {
        let cluster = self.cluster.as_ref();
        cluster.filter(|_| self.config.spark.runs_in_cluster())
    }
}
