//! What a driver's conf needs for its application to be found in the cluster, and to be followed there.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::cluster::{is_ours, label_conf, tag_of};
use crate::config::Config;

/// The conf key of an application's tags.
const TAGS: &str = "spark.yarn.tags";
/// Of the port of Spark's UI.
const UI_PORT: &str = "spark.ui.port";

/// Tags the application. One whose driver runs in the cluster is not waited for by its submit, is the server's that `group` names, and
/// is tried once unless it was asked otherwise: what it did is not done again without anybody's knowing.
pub(super) fn conf(conf: &mut BTreeMap<String, String>, config: &Config, driver: Uuid, group: Option<&str>) {
    if config.spark.is_kubernetes() && config.spark.runs_in_cluster() {
        kubernetes(conf, config, driver, group);
    }
    if !config.spark.is_yarn() {
        return;
    }
    let mut tags = vec![tag_of(driver)];
    if config.spark.runs_in_cluster() {
        tags.extend(group.map(str::to_owned));
        conf.insert(
            "spark.yarn.submit.waitAppCompletion".to_owned(),
            "false".to_owned(),
        );
        conf.entry("spark.yarn.maxAppAttempts".to_owned())
            .or_insert_with(|| "1".to_owned());
    }
    let asked = conf
        .get(TAGS)
        .map_or("", String::as_str)
        .split(',')
        .map(str::trim);
    // Nobody can give an application another driver's tag.
    tags.extend(
        asked
            .filter(|tag| !tag.is_empty() && !is_ours(tag))
            .map(str::to_owned),
    );
    conf.insert(TAGS.to_owned(), tags.join(","));
}

/// Labels the application's pods, and has them where they are looked for.
fn kubernetes(conf: &mut BTreeMap<String, String>, config: &Config, driver: Uuid, group: Option<&str>) {
    conf.extend(label_conf(driver, group));
    let mut set = |key: &str, value: &str| conf.insert(format!("spark.kubernetes.{key}"), value.to_owned());
    set("submission.waitAppCompletion", "false");
    set("namespace", config.kubernetes_namespace());
    let context = &config.cluster.kubernetes.context;
    if !context.is_empty() {
        set("context", context);
    }
    // A driver has its pod's ports for itself, and a container can't declare that it listens at any.
    if conf.get(UI_PORT).is_some_and(|port| port == "0") {
        conf.remove(UI_PORT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeployMode;

    #[test]
    fn an_application_is_tagged_and_tried_once() {
        let mut config = Config::default();
        let driver = Uuid::new_v4();
        let made = |config: &Config, asked: &[(&str, &str)]| {
            let mut made = asked
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            conf(&mut made, config, driver, Some("firesteel-server-x"));
            made
        };
        assert!(made(&config, &[]).is_empty());
        config.spark.master = "yarn".to_owned();
        let client = made(&config, &[(TAGS, "mine, Firesteel-x,other,")]);
        assert_eq!(client[TAGS], format!("firesteel-{driver},mine,other"));
        assert_eq!(client.len(), 1);
        config.spark.deploy_mode = DeployMode::Cluster;
        let cluster = made(&config, &[("spark.yarn.submit.waitAppCompletion", "true")]);
        assert_eq!(cluster[TAGS], format!("firesteel-{driver},firesteel-server-x"));
        assert_eq!(cluster["spark.yarn.submit.waitAppCompletion"], "false");
        assert_eq!(cluster["spark.yarn.maxAppAttempts"], "1");
        assert_eq!(
            made(&config, &[("spark.yarn.maxAppAttempts", "3")])["spark.yarn.maxAppAttempts"],
            "3"
        );
    }

    #[test]
    fn pods_are_labelled_and_in_the_servers_namespace() {
        let mut config = Config::default();
        config.spark.master = "k8s://https://127.0.0.1:6443".to_owned();
        let driver = Uuid::new_v4();
        let asked = [
            ("spark.kubernetes.namespace", "kube-system"),
            ("spark.kubernetes.driver.label.firesteel-driver", "another"),
            ("spark.ui.port", "0"),
        ];
        let made = |config: &Config| {
            let mut made = asked
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            conf(&mut made, config, driver, Some("firesteel-server-x"));
            made
        };
        assert_eq!(
            made(&config).len(),
            asked.len(),
            "in client mode it is Spark's own affair"
        );
        config.spark.deploy_mode = DeployMode::Cluster;
        config.cluster.kubernetes.namespace = "spark".to_owned();
        let made: BTreeMap<String, String> = made(&config);
        for role in ["driver", "executor"] {
            let label = |name: &str| &made[&format!("spark.kubernetes.{role}.label.firesteel-{name}")];
            assert_eq!(label("driver"), &driver.to_string());
            assert_eq!(label("server"), "x");
        }
        assert_eq!(made["spark.kubernetes.namespace"], "spark");
        assert_eq!(made["spark.kubernetes.submission.waitAppCompletion"], "false");
        assert!(!made.contains_key("spark.ui.port"));
        assert!(!made.contains_key("spark.kubernetes.context"));
    }
}
