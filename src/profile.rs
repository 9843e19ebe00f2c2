//! Profiles: conf of the administrator's that a request chooses by name, and the one for RAPIDS; and which cluster a request or its profile names. Called by
//! `api` and `pool`; calls `gpu` for its keys, and `config`.

use std::collections::BTreeMap;

use crate::config::{Config, DEFAULT_CLUSTER, Profile};
use crate::gpu::{GPUS, MEMORY, SPARK_AMOUNT};

/// The conf key that chooses a profile: Airflow and sparkmagic can send conf, but no new field.
pub const PROFILE: &str = "firesteel.profile";

/// The conf key that chooses a cluster.
pub const CLUSTER: &str = "firesteel.cluster";

/// The profile that `gpu.rapids` makes.
const RAPIDS: &str = "rapids";

/// Conf keys with lists: a profile's entries come before the request's.
const LISTS: &[&str] = &[
    "spark.archives",
    "spark.extraListeners",
    "spark.files",
    "spark.jars",
    "spark.jars.packages",
    "spark.plugins",
    "spark.sql.extensions",
    "spark.submit.pyFiles",
];

/// There is no such profile, or no such cluster: a sentence that says which there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: there is no {what} {name:?}; {there_are}")]
pub struct Unknown {
    key: &'static str,
    what: &'static str,
    name: String,
    there_are: String,
}

impl Unknown {
    fn new<'a>(
        key: &'static str,
        what: &'static str,
        name: &str,
        all: impl Iterator<Item = &'a String>,
    ) -> Self {
        let names: Vec<&str> = all.map(String::as_str).collect();
        let there_are = match names.is_empty() {
            true => "this server has none".to_owned(),
            false => format!("there are {}", names.join(", ")),
        };
        let name = name.chars().take(100).collect();
        Self {
            key,
            what,
            name,
            there_are,
        }
    }
}

/// The cluster that a conf chooses, itself or by its profile; none: the default one.
///
/// # Errors
/// There is no such cluster, or no such profile.
pub fn cluster(config: &Config, conf: &BTreeMap<String, String>) -> Result<Option<String>, Unknown> {
    let of_profile = match conf.get(PROFILE) {
        None => None,
        Some(name) => Some(chosen(config, name)?.cluster),
    };
    let named = conf.get(CLUSTER).cloned().or(of_profile).unwrap_or_default();
    if named.is_empty() || named == DEFAULT_CLUSTER {
        return Ok(None);
    }
    match config.clusters.contains_key(&named) {
        true => Ok(Some(named)),
        false => Err(Unknown::new(CLUSTER, "cluster", &named, config.clusters.keys())),
    }
}

/// The profile with this name.
fn chosen(config: &Config, name: &str) -> Result<Profile, Unknown> {
    let mut all = profiles(config);
    all.remove(name)
        .ok_or_else(|| Unknown::new(PROFILE, "profile", name, all.keys()))
}

/// Lays a request's conf over that of the profile that it chooses. `config` is what holds in the request's cluster.
///
/// # Errors
/// There is no such profile.
pub fn applied(config: &Config, conf: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Unknown> {
    let Some(name) = conf.get(PROFILE) else {
        return Ok(conf);
    };
    let mut whole = chosen(config, name)?.conf.0;
    // GPUs are asked for in one place: a request that says how many is not added to.
    if [GPUS, MEMORY, SPARK_AMOUNT]
        .iter()
        .any(|key| conf.contains_key(*key))
    {
        for key in [GPUS, MEMORY, SPARK_AMOUNT] {
            whole.remove(key);
        }
    }
    for (key, value) in conf {
        let first = whole
            .get(&key)
            .filter(|first| LISTS.contains(&key.as_str()) && !first.is_empty());
        let value = match first {
            Some(first) if !value.is_empty() => format!("{first},{value}"),
            Some(first) => first.clone(),
            None => value,
        };
        whole.insert(key, value);
    }
    Ok(whole)
}

/// Spark's conf of a request, with what is not Spark's taken out: `firesteel.*` is for this server, `livy.*` for Livy.
#[must_use]
pub fn spark_conf(conf: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    conf.iter()
        .filter(|(key, _)| !key.starts_with("firesteel.") && !key.starts_with("livy."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// All profiles by name: those of the configuration, and RAPIDS where it is set up, under what the configuration says of it.
#[must_use]
pub fn profiles(config: &Config) -> BTreeMap<String, Profile> {
    let mut all = config.profile.clone();
    if !config.gpu.rapids.is_empty() {
        let profile = all.entry(RAPIDS.to_owned()).or_default();
        if profile.about.is_empty() {
            "SQL and DataFrames on a GPU, by NVIDIA's RAPIDS Accelerator".clone_into(&mut profile.about);
        }
        for (key, value) in rapids(config) {
            profile.conf.0.entry(key).or_insert(value);
        }
    }
    all
}

/// What the RAPIDS Accelerator needs, on whole GPUs and slices alike; its memory on a GPU that is shared is bounded by the mask of the lease.
fn rapids(config: &Config) -> Vec<(String, String)> {
    let jar = &config.gpu.rapids;
    let from = if jar.starts_with('/') {
        "spark.jars"
    } else {
        "spark.jars.packages"
    };
    // It takes exactly one GPU for each executor; within the driver, that is the driver's.
    let gpus = if config.spark.is_local() {
        GPUS
    } else {
        "spark.executor.resource.gpu.amount"
    };
    [
        (from, jar.as_str()),
        ("spark.plugins", "com.nvidia.spark.SQLPlugin"),
        (gpus, "1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextMap;

    fn conf(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn config(entries: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        let profile = Profile {
            conf: TextMap(conf(entries)),
            ..Profile::default()
        };
        config.profile.insert("big".to_owned(), profile);
        config
    }

    #[test]
    fn a_request_lies_over_its_profile() {
        let config = config(&[
            ("spark.driver.memory", "8g"),
            ("spark.x", "1"),
            ("spark.jars", "/a.jar"),
            (GPUS, "1"),
        ]);
        let own = conf(&[(PROFILE, "big"), ("spark.x", "2"), ("spark.jars", "/b.jar")]);
        let whole = applied(&config, own).unwrap();
        assert_eq!(whole["spark.driver.memory"], "8g");
        assert_eq!(whole["spark.x"], "2");
        assert_eq!(whole["spark.jars"], "/a.jar,/b.jar");
        assert_eq!(whole[GPUS], "1");
        let own = conf(&[(PROFILE, "big"), (MEMORY, "20g")]);
        assert!(!applied(&config, own).unwrap().contains_key(GPUS));
        let none = conf(&[("spark.x", "2")]);
        assert_eq!(applied(&config, none.clone()), Ok(none));
    }

    #[test]
    fn an_unknown_profile_is_refused() {
        let refused = applied(&config(&[]), conf(&[(PROFILE, "huge")])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "firesteel.profile: there is no profile \"huge\"; there are big"
        );
        let refused = applied(&Config::default(), conf(&[(PROFILE, RAPIDS)])).unwrap_err();
        assert!(refused.to_string().ends_with("this server has none"));
    }

    #[test]
    fn a_request_s_cluster() {
        let mut config = config(&[]);
        let text = "[clusters.yarn]\nmaster = 'yarn'\n[clusters.spark-4]\nmaster = 'local[2]'\n";
        config.clusters = toml::from_str::<Config>(text).unwrap().clusters;
        let of = |entries: &[(&str, &str)]| cluster(&config, &conf(entries));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(PROFILE, "big")]), Ok(None));
        assert_eq!(of(&[(CLUSTER, "yarn")]), Ok(Some("yarn".to_owned())));
        assert_eq!(of(&[(CLUSTER, DEFAULT_CLUSTER)]), Ok(None));
        assert_eq!(
            of(&[(CLUSTER, "yarns")]).unwrap_err().to_string(),
            "firesteel.cluster: there is no cluster \"yarns\"; there are spark-4, yarn"
        );
        assert!(of(&[(PROFILE, "huge")]).is_err());
        config.profile.get_mut("big").unwrap().cluster = "spark-4".to_owned();
        let of = |entries: &[(&str, &str)]| cluster(&config, &conf(entries)).unwrap();
        assert_eq!(of(&[(PROFILE, "big")]).as_deref(), Some("spark-4"));
        assert_eq!(
            of(&[(PROFILE, "big"), (CLUSTER, "yarn")]).as_deref(),
            Some("yarn")
        );
        assert_eq!(of(&[(PROFILE, "big"), (CLUSTER, DEFAULT_CLUSTER)]), None);
    }

    #[test]
    fn rapids_by_path_or_coordinate() {
        let mut config = config(&[]);
        config.gpu.rapids = "/opt/rapids.jar".to_owned();
        let conf_of = |config: &Config| profiles(config).remove(RAPIDS).unwrap().conf;
        let local = conf_of(&config);
        assert_eq!(local["spark.jars"], "/opt/rapids.jar");
        assert_eq!(local[GPUS], "1");
        config.gpu.rapids = "com.nvidia:rapids-4-spark_2.13:26.06.0".to_owned();
        config.spark.master = "spark://h:7077".to_owned();
        let own = Profile {
            conf: TextMap(conf(&[
                ("spark.rapids.sql.explain", "NONE"),
                ("spark.plugins", "a.B,com.nvidia.spark.SQLPlugin"),
            ])),
            ..Profile::default()
        };
        config.profile.insert(RAPIDS.to_owned(), own);
        let cluster = conf_of(&config);
        assert_eq!(cluster["spark.jars.packages"], config.gpu.rapids);
        assert_eq!(cluster["spark.executor.resource.gpu.amount"], "1");
        assert_eq!(cluster["spark.plugins"], "a.B,com.nvidia.spark.SQLPlugin");
        assert!(!cluster.contains_key(GPUS));
    }
}
