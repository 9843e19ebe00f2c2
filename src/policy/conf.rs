//! Which Spark conf keys a request may set.

use super::aliases::names;
use super::{Environments, PYTHON_KEYS, Rejection, canonical, matches, shortened};
use crate::config::{ConfMode, PolicyConf};

/// Keys that no request may set: Livy's own list (its spark-blacklist.conf, and what it always forbids), then what would
/// put something else in the place of the driver that Firesteel starts.
pub const ALWAYS_DENIED: &[&str] = &[
    "spark.master",
    "spark.submit.deployMode",
    "spark.submit.proxyUser.allowCustomClasspathInClusterMode",
    "spark.yarn.jar",
    "spark.yarn.jars",
    "spark.yarn.archive",
    "livy.rsc.server.idle-timeout",
    // Spark Connect: the driver's SparkSession would be one elsewhere.
    "spark.remote",
    "spark.api.mode",
    // Where the Scala interpreter's classes are served from.
    "spark.repl.class.outputDir",
    "spark.repl.class.uri",
];

/// Keys that bring code, or choose the program, in the submit phase, in the driver or in executors, before a statement
/// runs; and those by which a driver gets more of the cluster than its user has. Refused where authentication is on, unless `policy.conf.allow` names them (CVE-2023-22946). `*` stands for any
/// text.
pub const LOADS_CODE: &[&str] = &[
    "spark.driver.extraClassPath",
    "spark.driver.defaultExtraClassPath",
    "spark.driver.libraryPath",
    "spark.driver.extraJavaOptions",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraLibraryPath",
    "spark.driver.userClassPathFirst",
    "spark.executor.extraClassPath",
    "spark.executor.defaultExtraClassPath",
    "spark.executor.plugins",
    "spark.executor.uri",
    "spark.home",
    "spark.executor.extraJavaOptions",
    "spark.executor.defaultJavaOptions",
    "spark.executor.extraLibraryPath",
    "spark.executor.userClassPathFirst",
    "spark.yarn.user.classpath.first",
    "spark.yarn.am.extraJavaOptions",
    "spark.yarn.am.extraLibraryPath",
    "spark.jars.packages",
    "spark.jars.repositories",
    "spark.jars.ivy*",
    "spark.plugins*",
    "spark.extraListeners",
    "spark.streaming.extraListeners",
    "spark.connect.*",
    "spark.sql.extensions",
    "spark.sql.queryExecutionListeners",
    "spark.sql.streaming.streamingQueryListeners",
    "spark.sql.hive.metastore.jars*",
    "spark.ui.filters",
    "spark.pyspark.python",
    "spark.pyspark.driver.python",
    "spark.sql.execution.pyspark.python",
    "spark.python.daemon.module",
    "spark.python.worker.module",
    "spark.r.command",
    "spark.r.driver.command",
    "spark.r.shell.command",
    "spark.sparkr.r.command",
    "spark.*.discoveryScript",
    "spark.resources.discoveryPlugin",
    "spark.kubernetes.driver.podTemplate*",
    "spark.kubernetes.executor.podTemplate*",
    "spark.kubernetes.driver.pod.featureSteps",
    "spark.kubernetes.executor.pod.featureSteps",
    "spark.kubernetes.decommission.script",
    "spark.kubernetes.driverEnv.*",
    "spark.yarn.appMasterEnv.*",
    "spark.executorEnv.*",
    "spark.metrics.conf*",
    // Have another class, such as the one of local files, read what a URI of another scheme names.
    "spark.hadoop.fs.*.impl",
    "spark.hadoop.fs.viewfs.*",
    "spark.yarn.cache.*",
    // What a pod may see of its host and of its namespace's secrets, and who it is there.
    "spark.kubernetes.*.volumes.hostPath.*",
    "spark.kubernetes.*.volumes.nfs.*",
    "spark.kubernetes.*.secrets.*",
    "spark.kubernetes.*.secretKeyRef.*",
    "spark.kubernetes.authenticate.*",
    "spark.kubernetes.context",
    "spark.kubernetes.kerberos.tokenSecret.*",
    "spark.mesos.*",
    "log4j*",
    "spark.log4j*",
];

/// Checks the conf of a request.
///
/// Keys are compared without regard to case, with and without `spark.`, and by all names that Spark knows them by. A key that has blanks, control characters or
/// `=`, or is empty, is refused, since what reads it next may take it for another; so is a value with a NUL.
///
/// `authenticated`: whether callers prove who they are (`access.mode` is not `none`). A Python of `environments` may be chosen all
/// the same.
///
/// # Errors
///
/// [`Rejection::ConfKey`], [`Rejection::ConfValue`], or [`Rejection::Conf`] with all the keys that may not be set, as
/// they were written and in the conf's order (livy-spec 4.2).
pub fn check_conf<K, V>(
    conf: impl IntoIterator<Item = (K, V)>,
    policy: &PolicyConf,
    authenticated: bool,
    environments: &Environments,
) -> Result<(), Rejection>
where
    K: AsRef<str>,
    V: AsRef<str>,
{
    let PolicyConf { mode, deny, allow } = policy;
    let always = ALWAYS_DENIED.iter().map(|key| canonical(key));
    let denied: Vec<_> = always.chain(deny.iter().map(|key| canonical(key))).collect();
    let code: Vec<_> = LOADS_CODE.iter().map(|key| canonical(key)).collect();
    let allowed: Vec<_> = allow.iter().map(|key| canonical(key)).collect();
    let on = |list: &[String], names: &[String]| {
        let mut patterns = list.iter();
        patterns.any(|pattern| names.iter().any(|name| matches(pattern, name)))
    };

    let mut offending = Vec::new();
    for (key, value) in conf {
        let key = key.as_ref();
        if key.is_empty()
            || key
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || is_invisible(c) || c == '=')
        {
            return Err(Rejection::ConfKey(format!("{:?}", shortened(key))));
        }
        if value.as_ref().contains('\0') {
            return Err(Rejection::ConfValue(shortened(key)));
        }
        let names = names(key);
        let chosen = PYTHON_KEYS
            .iter()
            .any(|python| names.contains(&canonical(python)));
        let own_python = chosen && environments.has(value.as_ref());
        let refused = on(&denied, &names)
            || match mode {
                ConfMode::Allow => !on(&allowed, &names),
                ConfMode::Deny => authenticated && on(&code, &names) && !own_python && !on(&allowed, &names),
            };
        if refused {
            offending.push(shortened(key));
        }
    }
    if offending.is_empty() {
        Ok(())
    } else {
        Err(Rejection::Conf(offending))
    }
}

/// Characters that show nothing, or turn the text around: zero-width ones, marks of direction, the byte-order mark.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(keys: &[&str], policy: &PolicyConf, authenticated: bool) -> Result<(), String> {
        let conf = keys.iter().map(|key| (*key, "x"));
        check_conf(conf, policy, authenticated, &Environments::default())
            .map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn livys_list_is_always_refused() {
        let policy = PolicyConf {
            allow: vec!["*".to_owned()],
            ..PolicyConf::default()
        };
        let error = check(
            &["spark.yarn.jars", "spark.ui.enabled", "spark.master"],
            &policy,
            false,
        )
        .unwrap_err();
        assert_eq!(
            error,
            "Blacklisted configuration values in session config: spark.yarn.jars, spark.master"
        );
        for key in ALWAYS_DENIED {
            assert!(check(&[key], &policy, false).is_err(), "{key}");
        }
    }

    #[test]
    fn tricks_with_keys_are_refused() {
        for key in [
            "SPARK.MASTER",
            "Spark.Submit.DeployMode",
            "master",
            "yarn.jars",
            "spark.master ",
            " spark.master",
            "spark.master\n",
            "spark.\u{200b}master",
            "spark.x=spark.master",
            "spark.master\0",
            "",
            "spark .master",
            "spark.master\u{a0}",
            "spark.master\t",
            "\u{feff}spark.master",
        ] {
            assert!(check(&[key], &PolicyConf::default(), false).is_err(), "{key:?}");
        }
    }

    #[test]
    fn code_is_refused_where_authentication_is_on() {
        let policy = PolicyConf::default();
        for key in [
            "spark.driver.extraClassPath",
            "spark.executor.extraJavaOptions",
            "driver.defaultjavaoptions",
            "spark.jars.ivy",
            "spark.jars.ivySettings",
            "spark.jars.packages",
            "spark.plugins",
            "spark.sql.extensions",
            "spark.pyspark.python",
            "spark.kubernetes.driver.podTemplateFile",
            "spark.executorEnv.LD_PRELOAD",
            "spark.extraListeners",
            "spark.driver.resource.gpu.discoveryScript",
            "log4j.configuration",
            "spark.metrics.conf.driver.sink.x.class",
            "spark.hadoop.fs.hdfs.impl",
            "spark.hadoop.fs.AbstractFileSystem.x.impl",
            "spark.kubernetes.driver.volumes.hostPath.x.mount.path",
            "spark.kubernetes.executor.secrets.x",
            "spark.files.userClassPathFirst",
        ] {
            assert!(check(&[key], &policy, true).is_err(), "{key}");
            assert!(check(&[key], &policy, false).is_ok(), "{key}");
        }
        let policy = PolicyConf {
            allow: vec!["spark.jars.*".to_owned()],
            ..policy
        };
        assert!(check(&["spark.jars.packages", "spark.jars.ivy"], &policy, true).is_ok());
        assert!(check(&["spark.plugins"], &policy, true).is_err());
        for key in [
            "spark.executor.memory",
            "spark.jars",
            "spark.sql.shuffle.partitions",
            "livy.rsc.sql.num-rows",
            "my.key",
        ] {
            assert!(check(&[key], &policy, true).is_ok(), "{key}");
        }
    }

    #[test]
    fn own_lists() {
        let policy = PolicyConf {
            deny: vec!["spark.hadoop.*".to_owned(), "x".to_owned()],
            ..PolicyConf::default()
        };
        assert!(check(&["spark.hadoop.fs.s3a.access.key"], &policy, false).is_err());
        assert!(check(&["x"], &policy, false).is_err());
        assert!(check(&["xy"], &policy, false).is_ok());

        let allow = vec![
            "spark.executor.*".to_owned(),
            "spark.master".to_owned(),
            "spark.plugins".to_owned(),
        ];
        let policy = PolicyConf {
            mode: ConfMode::Allow,
            allow,
            deny: vec!["spark.executor.cores".to_owned()],
        };
        assert!(check(&["spark.executor.memory", "spark.plugins"], &policy, true).is_ok());
        for key in [
            "spark.master",
            "spark.executor.cores",
            "spark.ui.enabled",
            "firesteel.profile",
        ] {
            assert!(check(&[key], &policy, true).is_err(), "{key}");
        }
    }

    #[test]
    fn values_have_no_nul() {
        let conf = [("spark.x", "a\0b")];
        assert!(check_conf(conf, &PolicyConf::default(), false, &Environments::default()).is_err());
        assert!(
            check_conf(
                [("spark.x", "a\nb")],
                &PolicyConf::default(),
                false,
                &Environments::default()
            )
            .is_ok()
        );
    }

    proptest! {
        #[test]
        fn any_case_of_a_denied_key_is_refused(index in 0..ALWAYS_DENIED.len(), flips in any::<u64>(), prefix in any::<bool>()) {
            let key: String = ALWAYS_DENIED[index].chars().enumerate()
                .map(|(at, c)| if flips >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
            let key = if prefix && key.len() > 6 && key.to_lowercase().starts_with("spark.") { &key[6..] } else { &key };
            prop_assert!(check(&[key], &PolicyConf::default(), false).is_err());
        }

        #[test]
        fn no_key_panics(key in ".*", value in ".*") {
            let _ = check_conf([(key, value)], &PolicyConf::default(), true, &Environments::default());
        }
    }
}
