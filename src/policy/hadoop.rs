//! What a request may not say about a secured Hadoop, and which directories of configuration a user's drivers have (docs/hadoop-security.md).

use std::collections::BTreeMap;

use super::aliases::names;
use super::{Rejection, canonical, matches, shortened};
use crate::config::{ConfDir, Config, DeployMode, RunAsMode};

/// As whom a driver is on the cluster: the server's to say, where it gives drivers tickets or has them act for their users.
const CREDENTIALS: &[&str] = &["spark.kerberos.keytab", "spark.kerberos.principal"];

/// Keys that bring code into the submit phase, or into the driver's class path. With `--proxy-user` in cluster mode that phase has the server's ticket, and
/// the user's code runs elsewhere without it (CVE-2023-22946).
const SUBMIT_PHASE: &[&str] = &[
    "spark.driver.extraClassPath",
    "spark.driver.defaultExtraClassPath",
    "spark.driver.libraryPath",
    "spark.driver.extraLibraryPath",
    "spark.driver.extraJavaOptions",
    "spark.driver.defaultJavaOptions",
    "spark.driver.userClassPathFirst",
    "spark.jars.ivySettings",
];

/// Checks a request's conf against what the server itself decides on a secured Hadoop; `policy.conf.allow` opens nothing here.
///
/// # Errors
///
/// [`Rejection::Conf`] with all the keys that may not be set, as they were written.
pub fn check_hadoop<K: AsRef<str>>(
    keys: impl IntoIterator<Item = K>,
    config: &Config,
) -> Result<(), Rejection> {
    let hadoop = &config.hadoop;
    let by_server = hadoop.acts_for_users() || !config.run_as.keytabs.is_empty();
    let acts = hadoop.acts_for_users() || config.access.impersonation;
    let is_closed =
        acts && config.run_as.mode == RunAsMode::Server && config.spark.deploy_mode == DeployMode::Cluster;
    let credentials = CREDENTIALS.iter().filter(|_| by_server);
    let denied: Vec<String> = credentials
        .chain(SUBMIT_PHASE.iter().filter(|_| is_closed))
        .map(|key| canonical(key))
        .collect();
    let is_denied = |key: &str| {
        let names = names(key);
        denied
            .iter()
            .any(|pattern| names.iter().any(|name| matches(pattern, name)))
    };
    let given = keys.into_iter();
    let offending: Vec<String> = given
        .filter(|key| is_denied(key.as_ref()))
        .map(|key| shortened(key.as_ref()))
        .collect();
    match offending.is_empty() {
        true => Ok(()),
        false => Err(Rejection::Conf(offending)),
    }
}

/// The directories of configuration for the drivers of a user in these groups: of the entry that names the user, else of one that names a group of
/// theirs; of several the first by name. None: the server's own.
#[must_use]
pub fn conf_dir<'a>(
    all: &'a BTreeMap<String, ConfDir>,
    user: Option<&str>,
    groups: &[String],
) -> Option<&'a ConfDir> {
    let by_user = |dir: &ConfDir| dir.users.iter().any(|name| Some(name.as_str()) == user);
    let by_group = |dir: &ConfDir| dir.groups.iter().any(|group| groups.contains(group));
    let first = |is_for: &dyn Fn(&ConfDir) -> bool| all.values().find(|dir| is_for(dir));
    first(&by_user).or_else(|| first(&by_group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(keys: &[&str], config: &Config) -> Vec<String> {
        match check_hadoop(keys, config) {
            Ok(()) => Vec::new(),
            Err(Rejection::Conf(keys)) => keys,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nobody_brings_a_keytab_where_the_server_says_who_drivers_are() {
        let keys = [
            "spark.kerberos.keytab",
            "SPARK.YARN.Principal",
            "kerberos.principal",
            "spark.kerberos.access.hadoopFileSystems",
        ];
        assert!(refused(&keys, &Config::default()).is_empty());
        for set in [
            |config: &mut Config| config.hadoop.proxy_user = true,
            |config: &mut Config| config.hadoop.keytab = "/k".into(),
            |config: &mut Config| config.run_as.keytabs = "/%u".into(),
        ] {
            let mut config = Config::default();
            set(&mut config);
            config.policy.conf.allow = vec!["*".to_owned()];
            assert_eq!(refused(&keys, &config), keys[..3]);
        }
    }

    #[test]
    fn no_code_in_a_submit_phase_that_acts_for_others() {
        let keys = [
            "spark.driver.extraClassPath",
            "driver.EXTRAJavaOptions",
            "spark.jars.ivySettings",
        ];
        let mut config = Config::default();
        config.policy.conf.allow = vec!["*".to_owned()];
        config.hadoop.proxy_user = true;
        assert!(refused(&keys, &config).is_empty(), "the driver runs here");
        config.spark.deploy_mode = DeployMode::Cluster;
        assert_eq!(refused(&keys, &config), keys);
        config.hadoop.proxy_user = false;
        assert!(refused(&keys, &config).is_empty(), "it acts for nobody");
        config.access.impersonation = true;
        assert_eq!(refused(&keys, &config), keys);
        config.run_as.mode = RunAsMode::Owner;
        assert!(
            refused(&keys, &config).is_empty(),
            "the submit phase is its user's"
        );
    }

    #[test]
    fn whose_directories_are_which() {
        let dir = |text: &str| -> ConfDir { toml::from_str(text).unwrap() };
        let all = BTreeMap::from([
            ("a".to_owned(), dir("groups = ['staff'] \n spark = '/a'")),
            ("b".to_owned(), dir("groups = ['staff', 'ops'] \n spark = '/b'")),
            ("z".to_owned(), dir("users = ['ada'] \n spark = '/z'")),
        ]);
        let of = |user: Option<&str>, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            conf_dir(&all, user, &groups).map(|dir| dir.spark.display().to_string())
        };
        assert_eq!(of(Some("ada"), &["staff"]).as_deref(), Some("/z"));
        assert_eq!(of(Some("bob"), &["staff"]).as_deref(), Some("/a"));
        assert_eq!(of(Some("bob"), &["ops"]).as_deref(), Some("/b"));
        assert_eq!(of(Some("Ada"), &["others"]), None);
        assert_eq!(of(None, &["staff"]).as_deref(), Some("/a"));
    }
}
