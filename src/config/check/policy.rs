//! Checks of the policy's rules and of quotas. Called by `mod.rs`.

use std::collections::BTreeMap;

use super::Fail;
use crate::config::amount::Amount;
use crate::config::error::ConfigError;
use crate::config::keys::{PolicyRule, Quota};

/// Keys that the server's own configuration decides: no rule can.
const OWN: [&str; 3] = [
    "spark.master",
    "spark.submit.deployMode",
    "spark.sql.catalogImplementation",
];

pub(super) fn check_rules(rules: &BTreeMap<String, PolicyRule>, fail: &Fail<'_>) -> Result<(), ConfigError> {
    for (name, rule) in rules {
        let PolicyRule {
            users,
            groups,
            deny,
            values,
            default,
            force,
            cap,
        } = rule;
        let path = |key: &str| format!("policy.rule.{name}.{key}");
        fail.name(&format!("policy.rule.{name}"), name)?;
        check_users(&path("users"), users, fail)?;
        check_users(&path("groups"), groups, fail)?;
        fail.patterns(&path("deny"), deny)?;
        fail.patterns(&path("values"), values.keys())?;
        fail.patterns(&path("cap"), cap.keys())?;
        for (kind, given) in [("default", default), ("force", force)] {
            for (key, value) in given.iter() {
                let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '=' || c == '*';
                if key.is_empty() || key.chars().any(is_odd) {
                    let reason = format!("{key:?} is no conf key: it is empty, or has blanks, `=` or `*`");
                    return fail.because(&path(kind), reason);
                }
                if value.contains('\0') {
                    return fail.because(&path(kind), format!("the value of {key} has a NUL character"));
                }
                if OWN.contains(&key.as_str()) {
                    return fail.because(
                        &path(kind),
                        format!("{key} is the server's own: set it in [spark]"),
                    );
                }
            }
        }
        for (key, most) in cap.iter() {
            if Amount::parse(most).is_none() {
                let reason =
                    format!("the most of {key}, {most:?}, is no size such as \"8g\", number or duration");
                return fail.because(&path("cap"), reason);
            }
        }
    }
    Ok(())
}

pub(super) fn check_users(key: &str, names: &[String], fail: &Fail<'_>) -> Result<(), ConfigError> {
    match names
        .iter()
        .any(|name| name.is_empty() || name.chars().any(char::is_control))
    {
        true => fail.because(key, "a name must not be empty or have control characters"),
        false => Ok(()),
    }
}

pub(super) fn check_quotas(quotas: &BTreeMap<String, Quota>, fail: &Fail<'_>) -> Result<(), ConfigError> {
    for (name, quota) in quotas {
        let Quota {
            users,
            groups,
            together: _,
            sessions: _,
            batches: _,
            queued: _,
            cores: _,
            memory: _,
            gpus: _,
            uploads: _,
            statements_per_minute: _,
        } = quota;
        fail.name(&format!("quota.{name}"), name)?;
        check_users(&format!("quota.{name}.users"), users, fail)?;
        check_users(&format!("quota.{name}.groups"), groups, fail)?;
    }
    Ok(())
}
