//! Checks of what drivers are on a secured Hadoop, and of directories of configuration. Called by `mod.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Fail;
use super::policy::check_users;
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::keys::{ConfDir, Hadoop, RunAsMode};

pub(super) fn check_hadoop(config: &Config, hadoop: &Hadoop, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Hadoop {
        keytab,
        principal,
        proxy_user,
        renew_interval,
        retry_interval,
        kinit_timeout,
    } = hadoop;
    fail.positive(&[
        ("hadoop.renew_interval", *renew_interval),
        ("hadoop.retry_interval", *retry_interval),
        ("hadoop.kinit_timeout", *kinit_timeout),
    ])?;
    if hadoop.has_keytab() {
        fail.absolute("hadoop.keytab", std::slice::from_ref(keytab))?;
        let is_whole = principal
            .split_once('@')
            .is_some_and(|(name, realm)| ![name, realm].contains(&"") && !realm.contains('@'));
        if !is_whole || !is_principal(principal) {
            let reason =
                "must be the server's name on the cluster with its realm, such as firesteel@EXAMPLE.COM";
            return fail.because("hadoop.principal", reason);
        }
    } else if !principal.is_empty() {
        return fail.because(
            "hadoop.principal",
            "is of use only with its keytab: set hadoop.keytab",
        );
    }
    if !hadoop.acts_for_users() {
        return Ok(());
    }
    if config.run_as.mode == RunAsMode::Owner {
        let key = if *proxy_user {
            "hadoop.proxy_user"
        } else {
            "hadoop.keytab"
        };
        return fail.because(
            key,
            "with run_as.mode = \"owner\" each driver is its user on the cluster too, and the server's ticket is no tenant's: run_as.keytabs gives \
             drivers their users' own",
        );
    }
    let profiles = config.profile.iter();
    let mut warm = profiles
        .map(|(name, profile)| (format!("profile.{name}.pool"), profile.pool))
        .chain([("pool.size".to_owned(), config.pool.size)]);
    match warm.find(|(_, size)| *size > 0) {
        Some((key, _)) if !config.access.mode.is_open() => fail.because(
            &key,
            "a warm driver is nobody's, and each session's driver acts for its user (hadoop.keytab, hadoop.proxy_user)",
        ),
        _ => Ok(()),
    }
}

/// `run_as.keytabs` and `run_as.principal`.
pub(super) fn check_keytabs(
    mode: RunAsMode,
    keytabs: &str,
    principal: &str,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    if !is_principal(principal) || !principal.contains("%u") {
        return fail.because(
            "run_as.principal",
            "must be a principal with %u for the Unix user's name, such as %u@EXAMPLE.COM",
        );
    }
    if keytabs.is_empty() {
        return Ok(());
    }
    if mode == RunAsMode::Server {
        return fail.because(
            "run_as.keytabs",
            "users' own keytabs are for drivers that run as their users: set run_as.mode = \"owner\"",
        );
    }
    fail.plain(&[("run_as.keytabs", keytabs)])?;
    if !keytabs.contains("%u") {
        return fail.because("run_as.keytabs", "has no %u, and one keytab would be everybody's");
    }
    fail.absolute("run_as.keytabs", &[PathBuf::from(keytabs)])
}

fn is_principal(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

pub(super) fn check_conf_dirs(dirs: &BTreeMap<String, ConfDir>, fail: &Fail<'_>) -> Result<(), ConfigError> {
    for (name, dir) in dirs {
        let ConfDir {
            users,
            groups,
            spark,
            hadoop,
        } = dir;
        let path = |key: &str| format!("conf_dir.{name}.{key}");
        fail.name(&format!("conf_dir.{name}"), name)?;
        check_users(&path("users"), users, fail)?;
        check_users(&path("groups"), groups, fail)?;
        for (key, given) in [("spark", spark), ("hadoop", hadoop)] {
            if given != Path::new("") {
                fail.absolute(&path(key), std::slice::from_ref(given))?;
            }
        }
        if users.is_empty() && groups.is_empty() {
            return fail.because(
                &path("users"),
                "is empty, and so is groups: what is for everybody's drivers is set by SPARK_CONF_DIR and HADOOP_CONF_DIR in the server's own environment",
            );
        }
        if [spark, hadoop].iter().all(|given| *given == Path::new("")) {
            return fail.because(
                &path("spark"),
                "is empty, and so is hadoop: name a directory for one of them",
            );
        }
    }
    Ok(())
}
