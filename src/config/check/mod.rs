//! Checks of the configuration as a whole. Each table is taken apart completely, so that a new key can't be forgotten here.

mod access;
mod callers;
mod clusters;
mod driver;
mod hadoop;
mod logins;
mod policy;
mod provider;
mod server;
mod session;
mod spark;

use std::path::PathBuf;

use access::{check_access, check_audit};
use clusters::check_clusters;
use driver::{check_driver, check_gpu, check_pool, check_profiles, check_run_as};
use hadoop::{check_conf_dirs, check_hadoop};
use policy::{check_quotas, check_rules};
use server::{check_kept, check_server, check_traces};
use session::{check_limits, check_result, check_session, check_sizes, check_upload};
use spark::{check_cluster, check_spark, check_submits};

use super::error::ConfigError;
use super::keys::{Events, Files, Job, Metrics, PolicyConf, Shutdown};
use super::sources::Origins;
use super::values::{Size, Span};
use super::{Config, Policy};

pub use access::Exposed;
pub(super) use access::may_listen;

pub(super) struct Fail<'a>(&'a Origins);

impl Fail<'_> {
    pub(super) fn because<T>(&self, key: &str, reason: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            place: self.0.place(key),
            key: key.to_owned(),
            reason: reason.into(),
        })
    }

    pub(super) fn positive(&self, spans: &[(&str, Span)]) -> Result<(), ConfigError> {
        match spans.iter().find(|(_, span)| span.positive().is_none()) {
            Some((key, _)) => self.because(key, "must be longer than 0s"),
            None => Ok(()),
        }
    }

    pub(super) fn at_least_one(&self, numbers: &[(&str, usize)]) -> Result<(), ConfigError> {
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((key, _)) => self.because(key, "must be at least 1"),
            None => Ok(()),
        }
    }

    pub(super) fn at_least(&self, key: &str, size: Size, least: Size) -> Result<(), ConfigError> {
        if size < least {
            self.because(key, format!("must be at least {least}"))
        } else {
            Ok(())
        }
    }

    pub(super) fn plain(&self, texts: &[(&str, &str)]) -> Result<(), ConfigError> {
        match texts.iter().find(|(_, text)| text.chars().any(char::is_control)) {
            Some((key, _)) => self.because(key, "must not have control characters"),
            None => Ok(()),
        }
    }

    pub(super) fn patterns<'p>(
        &self,
        key: &str,
        patterns: impl IntoIterator<Item = &'p String>,
    ) -> Result<(), ConfigError> {
        let odd = |pattern: &&String| {
            let start = pattern.strip_suffix('*').unwrap_or(pattern);
            start.chars().any(|c| c == '*' || c.is_whitespace())
        };
        match patterns.into_iter().find(odd) {
            Some(_) => self.because(key, "a `*` may stand at the end only, and keys have no blanks"),
            None => Ok(()),
        }
    }

    /// A name of the administrator's, of a table.
    pub(super) fn name(&self, key: &str, name: &str) -> Result<(), ConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_plain) {
            return self.because(key, "a name has letters, digits, - and _ only");
        }
        Ok(())
    }

    pub(super) fn absolute(&self, key: &str, paths: &[PathBuf]) -> Result<(), ConfigError> {
        match paths.iter().find(|path| !path.is_absolute()) {
            Some(path) => self.because(key, format!("{path:?} is not an absolute path")),
            None => Ok(()),
        }
    }
}

pub(super) fn resolve(
    config: &mut Config,
    environment: &[(String, String)],
    origins: &Origins,
) -> Result<(), ConfigError> {
    let fail = Fail(origins);
    let absolute = |name: &str| {
        let (_, value) = environment.iter().find(|(key, _)| key == name)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    let state_dir = &mut config.server.state_dir;
    if state_dir.as_os_str().is_empty() {
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        match base {
            Some(base) => *state_dir = base.join("firesteel"),
            None => {
                return fail.because(
                    "server.state_dir",
                    "is empty, and neither XDG_STATE_HOME nor HOME is set",
                );
            }
        }
    }
    match std::path::absolute(state_dir.as_path()) {
        Ok(path) => *state_dir = path,
        Err(error) => return fail.because("server.state_dir", format!("cannot be made absolute: {error}")),
    }
    Ok(())
}

pub(super) fn check(config: &Config, origins: &Origins) -> Result<(), ConfigError> {
    let Config {
        server,
        store,
        retention,
        spark,
        hadoop,
        conf_dir,
        driver,
        run_as,
        session,
        batch,
        cluster,
        clusters: _,
        upload,
        statement,
        job: Job { kept, kept_bytes: _ },
        output,
        events: Events {
            replay_bytes,
            clients,
        },
        result,
        gpu,
        profile,
        pool,
        sql,
        log,
        metrics: Metrics { access: _ },
        traces,
        limits,
        link,
        files: Files { allow },
        policy: Policy { conf, rule },
        quota,
        access,
        audit,
        shutdown: Shutdown { sessions: _ },
    } = config;
    let fail = Fail(origins);
    check_server(server, &fail)?;
    check_spark("spark", spark, &fail)?;
    check_clusters(config, &fail)?;
    check_hadoop(config, hadoop, &fail)?;
    check_conf_dirs(conf_dir, &fail)?;
    check_driver(driver, &fail)?;
    check_run_as(run_as, access, &fail)?;
    check_session(session, statement, &fail)?;
    fail.positive(&[("batch.ended_shown", batch.ended_shown)])?;
    fail.at_least_one(&[("job.kept", *kept)])?;
    check_cluster(cluster, &fail)?;
    check_submits(config, &fail)?;
    check_upload(upload, &fail)?;
    check_kept(store, retention, &fail)?;
    check_sizes(output, log, link, limits, &fail)?;
    fail.at_least("events.replay_bytes", *replay_bytes, Size::kib(4))?;
    fail.at_least_one(&[("events.clients", *clients)])?;
    check_traces(traces, &fail)?;
    check_limits(sql, limits, &fail)?;
    check_result(result, &fail)?;
    check_gpu(gpu, &fail)?;
    check_profiles(profile, &fail)?;
    check_pool(pool, profile, spark, &fail)?;
    fail.at_least_one(&[("batch.ended_kept", batch.ended_kept)])?;
    fail.absolute("files.allow", allow)?;
    let PolicyConf { mode: _, deny, allow } = conf;
    for (key, patterns) in [("policy.conf.deny", deny), ("policy.conf.allow", allow)] {
        fail.patterns(key, patterns)?;
    }
    check_audit(audit, &fail)?;
    check_rules(rule, &fail)?;
    check_quotas(quota, &fail)?;
    check_access(access, server, &fail)
}
