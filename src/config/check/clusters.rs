//! Checks of clusters that have names, and of what names them. Called by `mod.rs`.

use std::collections::BTreeMap;

use super::Fail;
use super::policy::check_users;
use super::spark::{check_resource_managers, check_spark, check_submits};
use crate::config::Config;
use crate::config::clusters::DEFAULT_CLUSTER;
use crate::config::error::ConfigError;
use crate::config::keys::{DeployMode, NamedCluster};

/// The conf key that chooses a cluster (`profile.rs`).
const KEY: &str = "firesteel.cluster";

/// The most letters of a cluster's name: it is in a tag of its applications, which has at most 63 in Kubernetes.
const LONGEST: usize = 26;

pub(super) fn check_clusters(config: &Config, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let mut spelt: BTreeMap<String, &str> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let table = format!("clusters.{name}");
        fail.name(&table, name)?;
        if name.eq_ignore_ascii_case(DEFAULT_CLUSTER) || name.len() > LONGEST {
            let reason = format!(
                "{DEFAULT_CLUSTER} is the cluster of [spark], and a name has {LONGEST} letters at most: choose another name"
            );
            return fail.because(&table, reason);
        }
        if let Some(other) = spelt.insert(name.to_lowercase(), name) {
            return fail.because(
                &table,
                format!("differs from clusters.{other} in capital letters only"),
            );
        }
        check_one(config, &table, cluster, fail)?;
    }
    check_names(config, fail)
}

fn check_one(
    config: &Config,
    table: &str,
    cluster: &NamedCluster,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let NamedCluster {
        about,
        users,
        groups,
        // These have the names and the meaning of those of `spark`.
        home: _,
        python: _,
        master: _,
        deploy_mode: _,
        hive: _,
        conf: _,
        history_server: _,
        spark_conf_dir,
        hadoop_conf_dir,
        resource_manager,
    } = cluster;
    let key = |name: &str| format!("{table}.{name}");
    let derived = config.of_cluster(cluster);
    check_spark(table, &derived.spark, fail)?;
    check_submits(&derived, fail)?;
    fail.plain(&[(&key("about"), about)])?;
    for (name, dir) in [
        ("spark_conf_dir", spark_conf_dir),
        ("hadoop_conf_dir", hadoop_conf_dir),
    ] {
        if !dir.as_os_str().is_empty() {
            fail.absolute(&key(name), std::slice::from_ref(dir))?;
        }
    }
    check_resource_managers(&key("resource_manager"), resource_manager, fail)?;
    for (name, list) in [("users", users), ("groups", groups)] {
        check_users(&key(name), list, fail)?;
        if !list.is_empty() && config.access.mode.is_open() {
            return fail.because(
                &key(name),
                "says who may use the cluster, and nobody has a name here: set access.mode",
            );
        }
    }
    Ok(())
}

/// What names a cluster names one that there is.
fn check_names(config: &Config, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let known = |key: &str, name: &str| match config.clusters.contains_key(name) {
        true => Ok(()),
        false => {
            let names: Vec<&str> = config.clusters.keys().map(String::as_str).collect();
            let there_are = match names.is_empty() {
                true => "there is no [clusters.NAME]".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            fail.because(key, format!("there is no cluster {name:?}; {there_are}"))
        }
    };
    for (name, profile) in &config.profile {
        let key = format!("profile.{name}.cluster");
        if profile.conf.contains_key(KEY) {
            let reason = format!("a profile's cluster is named by {key}, and not by {KEY}");
            return fail.because(&format!("profile.{name}.conf"), reason);
        }
        let Some(cluster) = Some(&profile.cluster).filter(|cluster| !cluster.is_empty()) else {
            continue;
        };
        known(&key, cluster)?;
        let mode = config.clusters.get(cluster).map(|cluster| cluster.deploy_mode);
        if profile.pool > 0 && mode == Some(DeployMode::Cluster) {
            return fail.because(
                &format!("profile.{name}.pool"),
                format!("warm drivers run on this host, and those of the cluster {cluster:?} there"),
            );
        }
    }
    for (name, rule) in &config.policy.rule {
        for (kind, given) in [("default", &rule.default), ("force", &rule.force)] {
            match given.get(KEY) {
                Some(cluster) if cluster != DEFAULT_CLUSTER => {
                    known(&format!("policy.rule.{name}.{kind}"), cluster)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}
