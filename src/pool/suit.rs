//! Which sessions a warm driver suits: those whose driver would have been started with the same conf, but for what can be set later or changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tracing::warn;

use crate::config::{Clusters, RunAsMode};
use crate::driver::{DriverSpec, Drivers, memory_bytes};
use crate::gpu::{self, Ask, Gpus};
use crate::profile::{self, PROFILE, spark_conf};

/// What warm drivers are called until they are a session's.
const APP_NAME: &str = "firesteel-warm";
const NAME_KEY: &str = "spark.app.name";
const MEMORY_KEY: &str = "spark.driver.memory";
/// Spark's own default of it.
const MEMORY_DEFAULT: &str = "1g";
/// Conf of queries, which Spark takes at any time but for a few keys. Those the driver refuses.
const QUERIES: &str = "spark.sql.";
/// Keys, or what they begin with, that change nothing where there are no executors beside the driver.
const EXECUTORS: &[&str] = &[
    "spark.cores.max",
    "spark.driver.cores",
    "spark.driver.memoryOverhead",
    "spark.dynamicAllocation.",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.kubernetes.",
    "spark.yarn.",
];

/// One kind of warm driver.
#[derive(Clone, Debug)]
pub(super) struct Suit {
    /// The profile; none for sessions without one.
    pub profile: Option<String>,
    /// How many are kept.
    pub size: usize,
    /// What they are started with.
    pub spec: DriverSpec,
    /// What they hold of the GPUs.
    pub gpus: Option<Ask>,
    /// The whole conf of such a driver.
    conf: BTreeMap<String, String>,
    is_local: bool,
    /// Whether drivers run as their users, so that nobody acts for another within one.
    is_users: bool,
}

/// What the configuration asks for.
pub(super) fn all(clusters: &Clusters, drivers: &Arc<Drivers>, gpus: &Gpus) -> Vec<Suit> {
    let config = clusters.whole();
    let profiles = profile::profiles(config).into_iter();
    let sized = profiles.map(|(name, profile)| (Some(name), profile.pool));
    std::iter::once((None, config.pool.size))
        .chain(sized)
        .filter(|(_, size)| *size > 0)
        .filter_map(|(profile, size)| {
            let made = Suit::new(clusters, drivers, gpus, profile.clone(), size);
            made.inspect_err(|reason| warn!(profile, reason, "no warm drivers are kept"))
                .ok()
        })
        .collect()
}

impl Suit {
    fn new(
        clusters: &Clusters,
        drivers: &Drivers,
        gpus: &Gpus,
        profile: Option<String>,
        size: usize,
    ) -> Result<Self, String> {
        let chosen = profile.iter().map(|name| (PROFILE.to_owned(), name.clone()));
        let chosen = chosen.collect();
        let cluster = profile::cluster(clusters.whole(), &chosen).map_err(|unknown| unknown.to_string())?;
        let config = clusters
            .get(cluster.as_deref())
            .ok_or("there is no such cluster")?;
        let mut conf = profile::applied(config, chosen).map_err(|unknown| unknown.to_string())?;
        // As a request's (api/accepted.rs), whose notes nobody would read here.
        drop(gpu::settle(&mut conf, &config.spark, None));
        let gpus = gpus
            .asked(&mut conf, &config.spark)
            .map_err(|refused| refused.to_string())?;
        let spec = DriverSpec {
            cluster,
            kind: "pyspark".to_owned(),
            app_name: APP_NAME.to_owned(),
            conf: spark_conf(&conf),
            sql_max_rows: config.sql.max_rows,
            ..DriverSpec::default()
        };
        Ok(Self {
            profile,
            size,
            conf: drivers
                .conf(&spec)
                .ok_or("its results are over driver.max_result_percent")?,
            spec,
            gpus,
            is_local: config.spark.is_local(),
            is_users: config.run_as.mode == RunAsMode::Owner,
        })
    }

    /// In which keys a session's whole conf differs, all of them such as can be set in a driver that runs; none where this driver does not do.
    pub(super) fn differing(
        &self,
        spec: &DriverSpec,
        conf: &BTreeMap<String, String>,
        gpus: Option<&Ask>,
        refused: &HashSet<String>,
    ) -> Option<BTreeMap<String, String>> {
        let is_anothers = spec.proxy_user.is_some() && !self.is_users;
        if spec.cluster != self.spec.cluster
            || is_anothers
            || spec.conf_dirs.is_some()
            || spec.application.is_some()
            || gpus != self.gpus.as_ref()
        {
            return None;
        }
        if self
            .conf
            .keys()
            .any(|key| key != NAME_KEY && !conf.contains_key(key))
        {
            return None;
        }
        let mut differing = BTreeMap::new();
        for (key, value) in conf {
            if key == NAME_KEY || self.conf.get(key) == Some(value) {
                continue;
            }
            let can_be_set = key.starts_with(QUERIES) && !refused.contains(key)
                || self.is_local && EXECUTORS.iter().any(|of_executors| key.starts_with(of_executors))
                || key == MEMORY_KEY && self.is_as_large(value);
            if !can_be_set {
                return None;
            }
            differing.insert(key.clone(), value.clone());
        }
        Some(differing)
    }

    /// Whether it has that much memory: JVMs can't change theirs.
    fn is_as_large(&self, memory: &str) -> bool {
        let own = self.conf.get(MEMORY_KEY).map_or(MEMORY_DEFAULT, String::as_str);
        memory_bytes(own).is_some_and(|own| memory_bytes(memory) == Some(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        entries.iter().map(owned).collect()
    }

    fn differing(suit: &Suit, entries: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        let mut whole = suit.conf.clone();
        whole.extend(conf(entries));
        suit.differing(
            &DriverSpec::default(),
            &whole,
            None,
            &HashSet::from(["spark.sql.bad".to_owned()]),
        )
    }

    fn suit() -> Suit {
        Suit {
            profile: None,
            size: 1,
            spec: DriverSpec::default(),
            gpus: None,
            conf: conf(&[
                (NAME_KEY, APP_NAME),
                ("spark.master", "local[2]"),
                ("spark.x", "1"),
            ]),
            is_local: true,
            is_users: false,
        }
    }

    #[test]
    fn harmless_conf_is_set_later() {
        let harmless = [
            ("spark.sql.shuffle.partitions", "3"),
            ("spark.executor.memory", "4g"),
            ("spark.executor.memoryOverhead", "1g"),
            ("spark.driver.memory", "1024m"),
            ("spark.dynamicAllocation.enabled", "true"),
        ];
        assert_eq!(differing(&suit(), &harmless), Some(conf(&harmless)));
        assert_eq!(
            differing(&suit(), &[(NAME_KEY, "mine"), ("spark.x", "1")]),
            Some(BTreeMap::new())
        );
    }

    #[test]
    fn what_a_driver_is_started_with_matters() {
        for entry in [
            ("spark.driver.memory", "2g"),
            ("spark.driver.memory", "much"),
            ("spark.jars", "/a.jar"),
            ("spark.x", "2"),
            ("spark.sql.bad", "1"),
            ("spark.ui.enabled", "false"),
        ] {
            assert_eq!(differing(&suit(), &[entry]), None, "{entry:?}");
        }
        let far = Suit {
            is_local: false,
            ..suit()
        };
        assert_eq!(differing(&far, &[("spark.executor.memory", "4g")]), None);
        let mut without = suit().conf;
        without.remove("spark.x");
        let refused = HashSet::new();
        assert_eq!(
            suit().differing(&DriverSpec::default(), &without, None, &refused),
            None
        );
        let of_another = DriverSpec {
            proxy_user: Some("ann".to_owned()),
            ..DriverSpec::default()
        };
        assert_eq!(suit().differing(&of_another, &suit().conf, None, &refused), None);
        let elsewhere = DriverSpec {
            cluster: Some("other".to_owned()),
            ..DriverSpec::default()
        };
        assert_eq!(suit().differing(&elsewhere, &suit().conf, None, &refused), None);
        // Whose it is the shelf knows.
        let users = Suit {
            is_users: true,
            ..suit()
        };
        let none = Some(BTreeMap::new());
        assert_eq!(users.differing(&of_another, &suit().conf, None, &refused), none);
        let ask = Ask {
            thousandths: Some(1000),
            memory: None,
            kind: None,
        };
        assert_eq!(
            suit().differing(&DriverSpec::default(), &suit().conf, Some(&ask), &refused),
            None
        );
    }
}
