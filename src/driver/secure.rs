//! Conf that keeps other users of the host out of a driver's ports, where callers prove who they are (docs/isolation.md).
//!
//! Called by `submit`; calls `config`.

use std::collections::BTreeMap;

use crate::config::{Config, RunAsMode};

/// Keys that the server decides, unless the configuration's own `spark.conf` does.
const DECIDED: [(&str, &str); 2] = [
    // Its pages ask nobody who looks at them, and Spark 3.5 has no filter that could.
    ("spark.ui.enabled", "false"),
    ("spark.acls.enable", "true"),
];
/// Hadoop's umask, which counts in place of the process's for what Spark writes.
const UMASK: &str = "spark.hadoop.fs.permissions.umask-mode";
/// The key that has Spark's own connections prove a secret.
const AUTHENTICATE: &str = "spark.authenticate";

/// Puts it over what a request asks for. Without authentication nobody is kept out of anything, and nothing changes.
pub(super) fn conf(config: &Config, conf: &mut BTreeMap<String, String>) {
    if config.access.mode.is_open() {
        return;
    }
    if config.run_as.mode == RunAsMode::Owner {
        // A request may ask for another.
        conf.entry(UMASK.to_owned()).or_insert_with(|| "077".to_owned());
    }
    let master = config.spark.master.as_str();
    // Elsewhere all applications of a cluster have one secret, which is the administrator's to give (`spark.authenticate.secret`).
    let makes_secret = config.spark.is_local() || master == "yarn" || master.starts_with("k8s://");
    let secret = makes_secret.then_some((AUTHENTICATE, "true"));
    for (key, value) in DECIDED.into_iter().chain(secret) {
        let value = config.spark.conf.get(key).map_or(value, String::as_str);
        conf.insert(key.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessMode, Modes, TextMap};

    fn decided(master: &str, own: &[(&str, &str)], asked: &[(&str, &str)]) -> BTreeMap<String, String> {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut config = Config::default();
        config.access.mode = Modes::of(vec![AccessMode::Basic]);
        config.spark.master = master.to_owned();
        config.spark.conf = TextMap(map(own));
        let mut made = map(asked);
        conf(&config, &mut made);
        made
    }

    #[test]
    fn a_request_opens_nothing() {
        let asked = [("spark.ui.enabled", "true"), ("spark.authenticate", "false")];
        for master in ["local[*]", "yarn", "k8s://https://h:6443"] {
            let made = decided(master, &[], &asked);
            assert_eq!(made["spark.ui.enabled"], "false");
            assert_eq!(made["spark.authenticate"], "true");
        }
        let standalone = decided("spark://h:7077", &[], &[]);
        assert!(!standalone.contains_key("spark.authenticate"));
    }

    #[test]
    fn the_administrator_does() {
        let made = decided("local", &[("spark.ui.enabled", "true")], &[]);
        assert_eq!(made["spark.ui.enabled"], "true");
    }

    #[test]
    fn without_names_nothing_changes() {
        let mut made = BTreeMap::new();
        conf(&Config::default(), &mut made);
        assert!(made.is_empty());
    }
}
