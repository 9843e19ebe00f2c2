//! Spark's own settings for the GPUs of executors and of a driver in the cluster, which this server does not lease. Pure.

use std::collections::BTreeMap;

use super::ask::{Ask, GPUS, Refused, Rules, SPARK_AMOUNT, WHOLE};
use crate::config::{DeployMode, Spark};

const EXECUTOR: &str = "spark.executor.resource.gpu.";
const TASK: &str = "spark.task.resource.gpu.";

/// Tasks that share an executor's GPU where nobody says how many cores an executor has.
const TASKS: u32 = 16;

/// Completes or takes out what a conf says of executors' GPUs, as the master needs it; lines for the log of what was taken out.
///
/// Within the driver (`local[*]`) Spark gives tasks no GPUs and waits for them for ever (cudf-spark issue 8651); they see what the driver
/// sees. In a cluster the task's part of a GPU is filled in, so that all cores of an executor are used, and on Kubernetes the
/// vendor.
#[must_use]
pub fn settle(
    conf: &mut BTreeMap<String, String>,
    spark: &Spark,
    executor_cores: Option<i64>,
) -> Vec<String> {
    if spark.is_local() {
        let is_meant = |key: &str| key.starts_with(EXECUTOR) || key.starts_with(TASK);
        let keys: Vec<String> = conf.keys().filter(|key| is_meant(key)).cloned().collect();
        return keys
            .into_iter()
            .map(|key| {
                conf.remove(&key);
                let master = &spark.master;
                format!(
                    "{key} is left out: with master {master} Spark has no GPUs for tasks, which use those that the driver sees."
                )
            })
            .collect();
    }
    let amount = conf.get(&format!("{EXECUTOR}amount"));
    if amount.is_none_or(|amount| amount.trim() == "0") {
        return Vec::new();
    }
    let cores = executor_cores
        .and_then(|cores| u32::try_from(cores).ok())
        .or_else(|| conf.get("spark.executor.cores")?.parse().ok())
        .or_else(|| spark.conf.get("spark.executor.cores")?.parse().ok())
        .filter(|cores| *cores > 0)
        .unwrap_or(TASKS);
    // Rounded down: so many tasks fit. Above a half Spark takes whole ones only.
    let part = if cores == 1 {
        "1".to_owned()
    } else {
        format!("{:.4}", (10_000.0 / f64::from(cores)).floor() / 10_000.0)
    };
    conf.entry(format!("{TASK}amount")).or_insert(part);
    if spark.master.starts_with("k8s://") {
        conf.entry(format!("{EXECUTOR}vendor"))
            .or_insert_with(|| "nvidia.com".to_owned());
    }
    Vec::new()
}

/// What a driver in the cluster asks for, as Spark has it: this host's GPUs are not meant.
///
/// # Errors
/// It makes no sense.
pub(super) fn in_cluster(conf: &mut BTreeMap<String, String>, spark: &Spark) -> Result<bool, Refused> {
    if spark.deploy_mode != DeployMode::Cluster {
        return Ok(false);
    }
    // The cluster leases whole ones.
    if let Some(ask) = Ask::read(conf, Rules::default())? {
        let amount = ask.thousandths.unwrap_or(WHOLE) / WHOLE;
        conf.remove(GPUS);
        conf.insert(SPARK_AMOUNT.to_owned(), amount.to_string());
        if spark.master.starts_with("k8s://") {
            conf.entry("spark.driver.resource.gpu.vendor".to_owned())
                .or_insert_with(|| "nvidia.com".to_owned());
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn on(master: &str) -> Spark {
        Spark {
            master: master.to_owned(),
            ..Spark::default()
        }
    }

    #[test]
    fn within_the_driver() {
        let mut given = conf(&[
            ("spark.executor.resource.gpu.amount", "1"),
            ("spark.task.resource.gpu.amount", "0.25"),
            ("spark.x", "1"),
        ]);
        let lines = settle(&mut given, &on("local[4]"), None);
        assert_eq!(given, conf(&[("spark.x", "1")]));
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("spark.executor.resource.gpu.amount is left out: with master local[4]"));
        let mut nothing = conf(&[]);
        assert!(settle(&mut nothing, &on("spark://h:7077"), None).is_empty() && nothing.is_empty());
    }

    #[test]
    fn in_a_cluster() {
        for (cores, given, part) in [
            (Some(3), None, "0.3333"),
            (None, Some("8"), "0.1250"),
            (Some(1), None, "1"),
            (None, None, "0.0625"),
        ] {
            let mut settled = conf(&[("spark.executor.resource.gpu.amount", "1")]);
            settled.extend(given.map(|cores: &str| ("spark.executor.cores".to_owned(), cores.to_owned())));
            assert!(settle(&mut settled, &on("k8s://https://h"), cores).is_empty());
            assert_eq!(settled["spark.task.resource.gpu.amount"], part);
            assert_eq!(settled["spark.executor.resource.gpu.vendor"], "nvidia.com");
        }
        let mut own = conf(&[
            ("spark.executor.resource.gpu.amount", "1"),
            ("spark.task.resource.gpu.amount", "0.5"),
        ]);
        let before = own.clone();
        assert!(settle(&mut own, &on("spark://h:7077"), Some(4)).is_empty());
        assert_eq!(own, before);
    }

    #[test]
    fn a_driver_in_the_cluster() {
        let mut cluster = on("yarn");
        let mut asked = conf(&[(GPUS, "2")]);
        assert_eq!(in_cluster(&mut asked, &cluster), Ok(false));
        cluster.deploy_mode = DeployMode::Cluster;
        assert_eq!(in_cluster(&mut asked, &cluster), Ok(true));
        assert_eq!(asked, conf(&[(SPARK_AMOUNT, "2")]));
        let refused = in_cluster(&mut conf(&[(GPUS, "0.5")]), &cluster);
        assert!(refused.is_err_and(|refused| refused.key == GPUS));
    }
}
