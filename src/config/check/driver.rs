//! Checks of drivers, of their GPUs and profiles, and of those that wait. Called by `mod.rs`.

use std::collections::BTreeMap;

use super::Fail;
use super::hadoop::check_keytabs;
use crate::config::error::ConfigError;
use crate::config::keys::{Access, DeployMode, Driver, Gpu, Pool, Profile, RunAs, RunAsMode, Spark};
use crate::config::values::Size;

const MEMORY_LEAST: Size = Size::mib(256);
const PIDS_LEAST: u64 = 128;

pub(super) fn check_driver(driver: &Driver, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Driver {
        orphan_grace,
        stop_grace: _,
        kill_grace: _,
        oom_score_adj,
        background_nice,
        max_result_percent,
        class_archive: _,
        class_archive_delay: _,
        class_archive_bytes: _,
        quick_jvm: _,
        warm_up: _,
        memory_max,
        cpu_percent: _,
        pids_max,
        disk_max: _,
        watch_interval,
        cgroups: _,
        env,
        env_pass,
    } = driver;
    fail.positive(&[
        ("driver.orphan_grace", *orphan_grace),
        ("driver.watch_interval", *watch_interval),
    ])?;
    if !memory_max.is_empty() {
        fail.at_least("driver.memory_max", *memory_max, MEMORY_LEAST)?;
    }
    if *pids_max != 0 && *pids_max < PIDS_LEAST {
        return fail.because(
            "driver.pids_max",
            format!("must be at least {PIDS_LEAST}, which a driver needs to start, or 0"),
        );
    }
    if !(-1000..=1000).contains(oom_score_adj) {
        return fail.because("driver.oom_score_adj", "must be from -1000 to 1000");
    }
    if *background_nice > 19 {
        return fail.because("driver.background_nice", "must be from 0 to 19");
    }
    if *max_result_percent > 100 {
        return fail.because("driver.max_result_percent", "must be from 0 to 100");
    }
    let odd = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    for (key, names) in [
        ("driver.env", env.keys().collect::<Vec<_>>()),
        ("driver.env_pass", env_pass.iter().collect()),
    ] {
        if let Some(name) = names.into_iter().find(odd) {
            return fail.because(key, format!("{name:?} is no name of a variable"));
        }
    }
    match env.values().any(|value| value.contains('\0')) {
        true => fail.because("driver.env", "a value must not have NUL characters"),
        false => Ok(()),
    }
}

pub(super) fn check_run_as(run_as: &RunAs, access: &Access, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let RunAs {
        mode,
        min_uid: _,
        users,
        keytabs,
        principal,
    } = run_as;
    let is_name =
        |name: &str| !name.is_empty() && !name.contains([':', '/']) && !name.chars().any(char::is_control);
    if let Some((user, unix)) = users
        .iter()
        .find(|(user, unix)| user.is_empty() || !is_name(unix))
    {
        return fail.because("run_as.users", format!("{user:?} = {unix:?} names no user"));
    }
    check_keytabs(*mode, keytabs, principal, fail)?;
    if *mode == RunAsMode::Owner && access.mode.is_open() {
        return fail.because(
            "run_as.mode",
            "drivers can run as their users only where callers prove who they are: set access.mode",
        );
    }
    Ok(())
}

pub(super) fn check_gpu(gpu: &Gpu, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Gpu {
        devices: _,
        sharing: _,
        owner_limit: _,
        limit: _,
        wait,
        look_interval,
        idle_timeout,
        idle_warning,
        idle_action: _,
        rapids,
    } = gpu;
    fail.positive(&[("gpu.wait", *wait), ("gpu.look_interval", *look_interval)])?;
    if idle_timeout.positive().is_some() && idle_warning >= idle_timeout {
        return fail.because("gpu.idle_warning", "must be shorter than gpu.idle_timeout");
    }
    fail.plain(&[("gpu.rapids", rapids)])?;
    let is_coordinate = rapids.split(':').filter(|part| !part.is_empty()).count() == 3;
    if !rapids.is_empty() && !rapids.starts_with('/') && !is_coordinate {
        return fail.because(
            "gpu.rapids",
            "is neither the absolute path of a jar nor a Maven coordinate, such as com.nvidia:rapids-4-spark_2.13:26.06.0",
        );
    }
    Ok(())
}

pub(super) fn check_profiles(
    profiles: &BTreeMap<String, Profile>,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    for (name, profile) in profiles {
        let Profile {
            about,
            conf,
            cluster: _,
            pool: _,
        } = profile;
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() || !is_name {
            return fail.because(
                &format!("profile.{name}"),
                "a profile's name has letters, digits, - and _ only",
            );
        }
        fail.plain(&[(&format!("profile.{name}.about"), about)])?;
        let key_of_conf = format!("profile.{name}.conf");
        let bad = conf.keys().find(|key| {
            key.is_empty()
                || key
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '=')
        });
        if let Some(key) = bad {
            return fail.because(
                &key_of_conf,
                format!("{key:?} is no conf key: it is empty, or has blanks or `=`"),
            );
        }
        if let Some((key, _)) = conf.iter().find(|(_, value)| value.contains('\0')) {
            return fail.because(&key_of_conf, format!("the value of {key} has a NUL character"));
        }
        if conf.contains_key("firesteel.profile") {
            return fail.because(
                &key_of_conf,
                "a profile can't choose another one (firesteel.profile)",
            );
        }
    }
    Ok(())
}

pub(super) fn check_pool(
    pool: &Pool,
    profiles: &BTreeMap<String, Profile>,
    spark: &Spark,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Pool {
        size,
        owners,
        owner_idle,
        imports,
        first_job: _,
        refill_delay: _,
        max_age: _,
        memory_available: _,
    } = pool;
    let is_name = |part: &str| {
        let mut characters = part.chars();
        let first = characters.next();
        first.is_some_and(|c| c.is_alphabetic() || c == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_')
    };
    if let Some(import) = imports.iter().find(|import| !import.split('.').all(is_name)) {
        return fail.because("pool.imports", format!("{import:?} is no module's name"));
    }
    fail.at_least_one(&[("pool.owners", *owners)])?;
    fail.positive(&[("pool.owner_idle", *owner_idle)])?;
    if spark.deploy_mode == DeployMode::Cluster {
        let profiles = profiles.iter();
        // Those of another cluster are looked at with that.
        let here = profiles.filter(|(_, profile)| profile.cluster.is_empty());
        let mut sizes = vec![("pool.size".to_owned(), *size)];
        sizes.extend(here.map(|(name, profile)| (format!("profile.{name}.pool"), profile.pool)));
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size > 0) {
            return fail.because(
                key,
                "warm drivers run on this host: not with spark.deploy_mode = \"cluster\"",
            );
        }
    }
    Ok(())
}
