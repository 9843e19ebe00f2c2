//! What a session or batch costs: the cores and the memory that its conf asks for, and its GPUs. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Amount, Spark};
use crate::policy::value_of;

/// Stands for what has no bound, and for what can't be read: it is over every limit.
pub const ENDLESS: u64 = u64::MAX;

/// Spark's default of a driver's and an executor's memory.
const MEMORY: u64 = 1 << 30;
/// Executors where nothing is said, on YARN and Kubernetes.
const EXECUTORS: u64 = 2;

/// What is counted while a driver runs. Applied to all of its executors, those that it may have at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Cores of driver and executors.
    pub cores: u64,
    /// Bytes of driver and executors, with the overheads that the conf names.
    pub memory: u64,
    /// GPUs of this host, in thousandths.
    pub gpus: u64,
}

/// A request's conf over that of all sessions.
struct Conf<'a>(&'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

impl Conf<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        value_of(self.0, key).or_else(|| value_of(self.1, key))
    }

    fn is_on(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    fn number(&self, key: &str) -> Option<u64> {
        let text = self.get(key)?.trim();
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Some(text.parse().ok().filter(|_| is_whole).unwrap_or(ENDLESS))
    }

    /// Bytes; without a unit it counts `unit`s.
    fn size(&self, key: &str, unit: u64) -> Option<u64> {
        Some(match Amount::parse(self.get(key)?) {
            Some(Amount::Size(bytes)) => bytes,
            Some(Amount::Number(_)) => self.number(key).unwrap_or(ENDLESS).saturating_mul(unit),
            _ => ENDLESS,
        })
    }
}

impl Cost {
    /// What a conf asks for, over that of all sessions (`spark.conf`). `gpus`: in thousandths.
    #[must_use]
    pub fn of(conf: &BTreeMap<String, String>, spark: &Spark, gpus: u64) -> Self {
        const MIB: u64 = 1 << 20;
        let conf = Conf(conf, &spark.conf);
        let driver_memory = conf.size("spark.driver.memory", MIB).unwrap_or(MEMORY);
        if spark.is_local() {
            return Self {
                cores: local_cores(&spark.master),
                memory: driver_memory,
                gpus,
            };
        }
        let (executors, executor_cores) = executors(&conf, &spark.master);
        let more = |key| conf.size(key, MIB).unwrap_or(0);
        let off_heap = match conf.is_on("spark.memory.offHeap.enabled") {
            true => conf.size("spark.memory.offHeap.size", 1).unwrap_or(0),
            false => 0,
        };
        let executor_memory = [
            conf.size("spark.executor.memory", MIB).unwrap_or(MEMORY),
            more("spark.executor.memoryOverhead"),
            more("spark.executor.pyspark.memory"),
            off_heap,
        ]
        .into_iter()
        .fold(0, u64::saturating_add);
        Self {
            cores: executors
                .saturating_mul(executor_cores)
                .saturating_add(conf.number("spark.driver.cores").unwrap_or(1)),
            memory: executors
                .saturating_mul(executor_memory)
                .saturating_add(driver_memory)
                .saturating_add(more("spark.driver.memoryOverhead")),
            gpus,
        }
    }
}

/// The cores of a local master: `local`, `local[4]`, `local[*]`, `local[4,2]`.
fn local_cores(master: &str) -> u64 {
    let all = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let inside = master
        .strip_prefix("local[")
        .and_then(|rest| rest.strip_suffix(']'));
    let cores = inside.map(|inside| inside.split(',').next().unwrap_or_default().trim());
    match cores {
        None => 1,
        Some("*") => all(),
        Some(number) => number.parse().unwrap_or_else(|_| all()),
    }
}

/// How many executors there may be at most, and the cores of each.
fn executors(conf: &Conf<'_>, master: &str) -> (u64, u64) {
    let cores = conf.number("spark.executor.cores");
    let most = match conf.is_on("spark.dynamicAllocation.enabled") {
        true => Some(
            conf.number("spark.dynamicAllocation.maxExecutors")
                .unwrap_or(ENDLESS),
        ),
        false => conf.number("spark.executor.instances"),
    };
    if !master.starts_with("spark://") {
        return (most.unwrap_or(EXECUTORS), cores.unwrap_or(1));
    }
    // There an executor has all cores of its worker, and an application all of the cluster, where nothing else is said.
    match (conf.number("spark.cores.max"), cores) {
        (Some(max), Some(cores)) => (most.unwrap_or(ENDLESS).min(max / cores.max(1)), cores),
        (Some(max), None) => (max, 1),
        (None, cores) => (most.unwrap_or(ENDLESS), cores.unwrap_or(ENDLESS)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn cost(master: &str, entries: &[(&str, &str)]) -> (u64, u64) {
        let conf = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let spark = Spark {
            master: master.to_owned(),
            ..Spark::default()
        };
        let Cost { cores, memory, .. } = Cost::of(&conf, &spark, 0);
        (cores, memory)
    }

    #[test]
    fn local() {
        assert_eq!(cost("local[4]", &[("spark.driver.memory", "2g")]), (4, 2 * GIB));
        assert_eq!(cost("local", &[]), (1, GIB));
        assert_eq!(cost("local[2,3]", &[("spark.executor.instances", "9")]), (2, GIB));
        assert_eq!(cost("local", &[("spark.driver.memory", "512")]), (1, GIB / 2));
        assert!(cost("local[*]", &[]).0 >= 1);
    }

    #[test]
    fn clusters() {
        assert_eq!(cost("yarn", &[]), (3, 3 * GIB));
        let asked = [
            ("spark.executor.instances", "4"),
            ("spark.executor.cores", "2"),
            ("spark.executor.memory", "3g"),
            ("spark.yarn.executor.memoryOverhead", "1024"),
            ("spark.driver.cores", "2"),
        ];
        assert_eq!(cost("yarn", &asked), (10, 17 * GIB));
        let dynamic = [("spark.dynamicAllocation.enabled", "TRUE")];
        assert_eq!(cost("k8s://x", &dynamic), (ENDLESS, ENDLESS));
        let dynamic = [dynamic[0], ("spark.dynamicAllocation.maxExecutors", "3")];
        assert_eq!(cost("k8s://x", &dynamic), (4, 4 * GIB));
        assert_eq!(cost("yarn", &[("spark.executor.instances", "many")]).0, ENDLESS);
        assert_eq!(
            cost("yarn", &[("spark.executor.memory", "${spark.x}")]).1,
            ENDLESS
        );
        let off_heap = [
            ("spark.memory.offHeap.enabled", "true"),
            ("spark.memory.offHeap.size", "1g"),
        ];
        assert_eq!(cost("yarn", &off_heap), (3, 5 * GIB));
    }

    #[test]
    fn standalone() {
        assert_eq!(cost("spark://m:7077", &[]), (ENDLESS, ENDLESS));
        assert_eq!(cost("spark://m:7077", &[("spark.cores.max", "4")]), (5, 5 * GIB));
        let asked = [("spark.cores.max", "8"), ("spark.executor.cores", "4")];
        assert_eq!(cost("spark://m:7077", &asked), (9, 3 * GIB));
        let asked = [("spark.executor.instances", "2"), ("spark.executor.cores", "4")];
        assert_eq!(cost("spark://m:7077", &asked), (9, 3 * GIB));
    }

    proptest! {
        #[test]
        fn nothing_panics(master in "(local.*|yarn|spark://.*|.*)", values in prop::collection::vec(".*", 10)) {
            let keys = ["spark.driver.memory", "spark.driver.cores", "spark.executor.memory", "spark.executor.cores",
                "spark.executor.instances", "spark.cores.max", "spark.dynamicAllocation.enabled",
                "spark.dynamicAllocation.maxExecutors", "spark.memory.offHeap.enabled", "spark.memory.offHeap.size"];
            let entries: Vec<(&str, &str)> = keys.into_iter().zip(values.iter().map(String::as_str)).collect();
            let _ = cost(&master, &entries);
        }
    }
}
