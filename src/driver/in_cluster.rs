//! What a driver's conf needs for its application to be found in the cluster, and to be followed there.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::cluster::{is_ours, tag_of};
use crate::config::Config;

/// The conf key of an application's tags.
const TAGS: &str = "spark.yarn.tags";

/// Tags the application. One whose driver runs in the cluster is not waited for by its submit, is the server's that `group` names, and
/// is tried once unless it was asked otherwise: what it did is not done again without anybody's knowing.
pub(super) fn conf(conf: &mut BTreeMap<String, String>, config: &Config, driver: Uuid, group: Option<&str>) {
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
}
