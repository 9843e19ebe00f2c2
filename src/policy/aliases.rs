//! Conf keys that Spark reads under more than one name: a rule for one name is for all of them (Kyuubi's CVE-2026-62391).

use super::{canonical, matches};

/// What every one of these begins with.
const PREFIX: &str = "spark.";

/// Groups of names of one key, the one that Spark documents first. Those of every supported Spark:
/// `tests/policy/test_spark_keys.py` asks Spark itself.
const ALIASES: &[&[&str]] = &[
    &["spark.deploy.spreadOutApps", "spark.deploy.spreadOut"],
    &["spark.driver.memoryOverhead", "spark.yarn.driver.memoryOverhead"],
    &[
        "spark.excludeOnFailure.application.fetchFailure.enabled",
        "spark.blacklist.application.fetchFailure.enabled",
    ],
    &[
        "spark.excludeOnFailure.application.maxFailedExecutorsPerNode",
        "spark.blacklist.application.maxFailedExecutorsPerNode",
    ],
    &[
        "spark.excludeOnFailure.application.maxFailedTasksPerExecutor",
        "spark.blacklist.application.maxFailedTasksPerExecutor",
    ],
    &["spark.excludeOnFailure.enabled", "spark.blacklist.enabled"],
    &[
        "spark.excludeOnFailure.killExcludedExecutors",
        "spark.blacklist.killBlacklistedExecutors",
    ],
    &[
        "spark.excludeOnFailure.stage.maxFailedExecutorsPerNode",
        "spark.blacklist.stage.maxFailedExecutorsPerNode",
    ],
    &[
        "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor",
        "spark.blacklist.stage.maxFailedTasksPerExecutor",
    ],
    &[
        "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor",
        "spark.blacklist.task.maxTaskAttemptsPerExecutor",
    ],
    &[
        "spark.excludeOnFailure.task.maxTaskAttemptsPerNode",
        "spark.blacklist.task.maxTaskAttemptsPerNode",
    ],
    &["spark.excludeOnFailure.timeout", "spark.blacklist.timeout"],
    &[
        "spark.executor.failuresValidityInterval",
        "spark.yarn.executor.failuresValidityInterval",
    ],
    &[
        "spark.executor.logs.rolling.maxSize",
        "spark.executor.logs.rolling.size.maxBytes",
    ],
    &[
        "spark.executor.maxNumFailures",
        "spark.yarn.max.executor.failures",
        "spark.yarn.max.worker.failures",
    ],
    &[
        "spark.executor.memoryOverhead",
        "spark.yarn.executor.memoryOverhead",
    ],
    &[
        "spark.executor.userClassPathFirst",
        "spark.files.userClassPathFirst",
    ],
    &[
        "spark.history.fs.cleaner.interval",
        "spark.history.fs.cleaner.interval.seconds",
    ],
    &[
        "spark.history.fs.cleaner.maxAge",
        "spark.history.fs.cleaner.maxAge.seconds",
    ],
    &[
        "spark.history.fs.update.interval",
        "spark.history.fs.update.interval.seconds",
        "spark.history.fs.updateInterval",
        "spark.history.updateInterval",
    ],
    &[
        "spark.io.compression.lz4.blockSize",
        "spark.io.compression.lz4.block.size",
    ],
    &[
        "spark.io.compression.snappy.blockSize",
        "spark.io.compression.snappy.block.size",
    ],
    &[
        "spark.kafka.consumer.cache.capacity",
        "spark.sql.kafkaConsumerCache.capacity",
    ],
    &[
        "spark.kerberos.access.hadoopFileSystems",
        "spark.yarn.access.hadoopFileSystems",
        "spark.yarn.access.namenodes",
    ],
    &["spark.kerberos.keytab", "spark.yarn.keytab"],
    &["spark.kerberos.principal", "spark.yarn.principal"],
    &[
        "spark.kerberos.relogin.period",
        "spark.yarn.kerberos.relogin.period",
    ],
    &["spark.kryoserializer.buffer", "spark.kryoserializer.buffer.mb"],
    &[
        "spark.kryoserializer.buffer.max",
        "spark.kryoserializer.buffer.max.mb",
    ],
    &["spark.memory.offHeap.enabled", "spark.unsafe.offHeap"],
    &[
        "spark.network.maxRemoteBlockSizeFetchToMem",
        "spark.maxRemoteBlockSizeFetchToMem",
        "spark.reducer.maxReqSizeShuffleToMem",
    ],
    &["spark.reducer.maxSizeInFlight", "spark.reducer.maxMbInFlight"],
    &[
        "spark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout",
        "spark.scheduler.blacklist.unschedulableTaskSetTimeout",
    ],
    &[
        "spark.scheduler.executorTaskExcludeOnFailureTime",
        "spark.scheduler.executorTaskBlacklistTime",
    ],
    &[
        "spark.scheduler.listenerbus.eventqueue.capacity",
        "spark.scheduler.listenerbus.eventqueue.size",
    ],
    &["spark.shuffle.file.buffer", "spark.shuffle.file.buffer.kb"],
    &[
        "spark.sql.avro.datetimeRebaseModeInRead",
        "spark.sql.legacy.avro.datetimeRebaseModeInRead",
    ],
    &[
        "spark.sql.avro.datetimeRebaseModeInWrite",
        "spark.sql.legacy.avro.datetimeRebaseModeInWrite",
    ],
    &[
        "spark.sql.execution.arrow.transformWithStateInPySpark.maxStateRecordsPerBatch",
        "spark.sql.execution.arrow.transformWithStateInPandas.maxRecordsPerBatch",
    ],
    &[
        "spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan",
        "spark.databricks.sql.optimizer.pruneFiltersCanPruneStreamingSubplan",
    ],
    &[
        "spark.sql.parquet.datetimeRebaseModeInRead",
        "spark.sql.legacy.parquet.datetimeRebaseModeInRead",
    ],
    &[
        "spark.sql.parquet.datetimeRebaseModeInWrite",
        "spark.sql.legacy.parquet.datetimeRebaseModeInWrite",
    ],
    &[
        "spark.sql.parquet.int96RebaseModeInRead",
        "spark.sql.legacy.parquet.int96RebaseModeInRead",
    ],
    &[
        "spark.sql.parquet.int96RebaseModeInWrite",
        "spark.sql.legacy.parquet.int96RebaseModeInWrite",
    ],
    &[
        "spark.storage.blockManagerHeartbeatTimeoutMs",
        "spark.storage.blockManagerSlaveTimeoutMs",
    ],
    &[
        "spark.streaming.fileStream.minRememberDuration",
        "spark.streaming.minRememberDuration",
    ],
    &["spark.yarn.am.waitTime", "spark.yarn.applicationMaster.waitTries"],
    &[
        "spark.yarn.executor.launch.excludeOnFailure.enabled",
        "spark.yarn.blacklist.executor.launch.blacklisting.enabled",
    ],
    &["spark.yarn.jars", "spark.yarn.jar"],
];

/// Every name of a key, in canonical form, the one that Spark documents first; the key alone where it has no other.
pub(super) fn names(key: &str) -> Vec<String> {
    let name = canonical(key);
    let is_it = |other: &str| {
        other
            .get(PREFIX.len()..)
            .is_some_and(|rest| rest.eq_ignore_ascii_case(&name))
    };
    let group = ALIASES
        .iter()
        .find(|group| group.iter().any(|other| is_it(other)));
    match group {
        Some(group) => group.iter().map(|other| canonical(other)).collect(),
        None => vec![name],
    }
}

/// Whether a pattern names a key by any of its names.
pub(super) fn is_named(pattern: &str, key: &str) -> bool {
    let pattern = canonical(pattern);
    names(key).iter().any(|name| matches(&pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_of_a_key() {
        for key in ["spark.kerberos.keytab", "spark.yarn.keytab", "YARN.Keytab"] {
            assert!(is_named("spark.kerberos.*", key), "{key}");
            assert!(is_named("spark.yarn.keytab", key), "{key}");
            assert!(is_named("kerberos.keytab", key), "{key}");
        }
        assert!(!is_named("spark.kerberos.keytab", "spark.kerberos.keytabs"));
        assert_eq!(names("my.key"), ["my.key"]);
    }

    #[test]
    fn a_name_is_of_one_key() {
        let mut all: Vec<_> = ALIASES.iter().copied().flatten().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(ALIASES.iter().all(|group| group.len() > 1));
        assert!(all.iter().all(|name| name.starts_with(PREFIX)));
    }
}
