//! What a driver sees of its lease: variables, conf, and Spark's file of resources. Pure.

use std::collections::BTreeMap;

use serde_json::json;

use super::ask::{SPARK_AMOUNT, WHOLE, cost};
use super::book::Part;

/// What a driver is given so that it sees its GPUs and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Conf keys; those of the request win.
    pub conf: BTreeMap<String, String>,
    /// Spark's file of resources (`spark.driver.resourcesFile`); none without a GPU.
    pub resources: Option<String>,
}

impl Mask {
    /// The mask of a lease; without parts, that of one who gets none, on a host that has GPUs.
    #[must_use]
    pub fn of(parts: &[Part]) -> Self {
        // By UUID: indices change (gpu.md, 7.2).
        let uuids: Vec<&str> = parts.iter().map(|part| part.uuid.as_str()).collect();
        let mut environment = BTreeMap::from([("CUDA_VISIBLE_DEVICES".to_owned(), uuids.join(","))]);
        // Containers' word for none is `void`.
        let visible = if uuids.is_empty() {
            "void".to_owned()
        } else {
            uuids.join(",")
        };
        environment.insert("NVIDIA_VISIBLE_DEVICES".to_owned(), visible);
        let mut conf = BTreeMap::new();
        if parts.is_empty() {
            return Self {
                environment,
                conf,
                resources: None,
            };
        }
        conf.insert(SPARK_AMOUNT.to_owned(), parts.len().to_string());
        if let [part] = parts
            && part.is_share
        {
            share(part, &mut environment, &mut conf);
        }
        // Within the mask devices are counted from 0: RAPIDS takes a number only, and the same device twice mapped is another one.
        let addresses: Vec<String> = (0..parts.len()).map(|at| at.to_string()).collect();
        let resources = json!([{
            "id": {"componentName": "spark.driver", "resourceName": "gpu"},
            "addresses": addresses,
        }]);
        Self {
            environment,
            conf,
            resources: Some(resources.to_string()),
        }
    }
}

/// Memory pools of the size of the share: each library takes all of the memory otherwise.
fn share(part: &Part, environment: &mut BTreeMap<String, String>, conf: &mut BTreeMap<String, String>) {
    let thousandths = cost(part.bytes, part.memory).min(WHOLE);
    // Not more than the share: rounded down.
    let floor =
        if u128::from(thousandths) * u128::from(part.memory) > u128::from(part.bytes) * u128::from(WHOLE) {
            thousandths.saturating_sub(1).max(1)
        } else {
            thousandths
        };
    let fraction = format!("0.{floor:03}");
    // For PyTorch the agent reads it; JAX and TensorFlow know these.
    for (name, value) in [
        ("FIRESTEEL_GPU_FRACTION", fraction.as_str()),
        ("XLA_PYTHON_CLIENT_MEM_FRACTION", fraction.as_str()),
        ("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    for (key, value) in [
        ("spark.rapids.memory.gpu.allocFraction", fraction.as_str()),
        ("spark.rapids.memory.gpu.maxAllocFraction", fraction.as_str()),
        ("spark.rapids.memory.gpu.minAllocFraction", "0"),
    ] {
        conf.insert(key.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(uuid: &str, bytes: u64, is_share: bool) -> Part {
        Part {
            uuid: uuid.to_owned(),
            name: "NVIDIA H200".to_owned(),
            bytes,
            memory: 1000,
            is_share,
        }
    }

    #[test]
    fn masks() {
        let none = Mask::of(&[]);
        assert_eq!(none.environment["CUDA_VISIBLE_DEVICES"], "");
        assert_eq!(none.environment["NVIDIA_VISIBLE_DEVICES"], "void");
        assert!(none.conf.is_empty() && none.resources.is_none());
        let two = Mask::of(&[part("GPU-b", 1000, false), part("GPU-a", 1000, false)]);
        assert_eq!(two.environment["CUDA_VISIBLE_DEVICES"], "GPU-b,GPU-a");
        assert_eq!(two.conf[SPARK_AMOUNT], "2");
        let resources: serde_json::Value = serde_json::from_str(&two.resources.unwrap()).unwrap();
        assert_eq!(resources[0]["addresses"], json!(["0", "1"]));
        assert!(!two.environment.contains_key("FIRESTEEL_GPU_FRACTION"));
        let shared = Mask::of(&[part("GPU-a", 333, true)]);
        assert_eq!(shared.environment["FIRESTEEL_GPU_FRACTION"], "0.333");
        assert_eq!(shared.conf["spark.rapids.memory.gpu.maxAllocFraction"], "0.333");
    }
}
