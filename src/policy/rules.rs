//! The administrator's rules for Spark conf, `policy.rule.NAME`: which of them are for a caller, and what they make of a request
//! (docs/policy.md).
//!
//! Whatever the number of rules, a request goes through them in this order: `deny` and `values` look at what the request itself
//! says, and refuse; then `default`, `force` and `cap` settle what its driver gets. Among several rules the order of their names
//! counts, for `default` and `force` only: the first that has the key wins. Of several caps the least holds.

use std::collections::BTreeMap;

use super::aliases::{is_named, names};
use super::redaction::{REDACTED, is_secret};
use super::{Rejection, canonical, shortened};
use crate::config::{Amount, Compared, PolicyRule};

/// Sizes that Spark counts in MiB where they have no unit.
const IN_MIB: &[&str] = &[
    "spark.driver.memory",
    "spark.driver.memoryOverhead",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.executor.pyspark.memory",
    "spark.yarn.am.memory",
    "spark.yarn.am.memoryOverhead",
];

/// Sizes that Spark counts in bytes where they have no unit.
const IN_BYTES: &[&str] = &["spark.driver.maxResultSize", "spark.memory.offHeap.size"];

/// Keys whose `0` means: no limit.
const ZERO_IS_ENDLESS: &[&str] = &["spark.driver.maxResultSize"];

/// The rules for one caller, in the order of their names.
#[derive(Debug)]
pub struct Rules<'a> {
    rules: Vec<(&'a str, &'a PolicyRule)>,
}

/// What a request asks for, its named fields among its conf (`driverMemory` as `spark.driver.memory`).
#[derive(Debug)]
pub struct Asked<'a> {
    /// The conf.
    pub conf: &'a mut BTreeMap<String, String>,
    /// Fields with files, each with the conf key that it stands for.
    pub lists: Vec<(&'static str, &'a mut Vec<String>)>,
}

impl<'a> Rules<'a> {
    /// Those of `all` that are for a user of these groups.
    #[must_use]
    pub fn of(all: &'a BTreeMap<String, PolicyRule>, user: Option<&str>, groups: &[String]) -> Self {
        let is_for = |rule: &PolicyRule| {
            let everybody = rule.users.is_empty() && rule.groups.is_empty();
            let named = rule.users.iter().any(|name| Some(name.as_str()) == user);
            everybody || named || rule.groups.iter().any(|group| groups.contains(group))
        };
        let own = all.iter().filter(|(_, rule)| is_for(rule));
        Self {
            rules: own.map(|(name, rule)| (name.as_str(), rule)).collect(),
        }
    }

    /// Looks at what the request itself says: `deny`, then `values`.
    ///
    /// # Errors
    ///
    /// [`Rejection::Conf`] with all the keys that may not be set, or [`Rejection::Rule`].
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let said = asked.conf.keys().map(String::as_str);
        let given = asked.lists.iter().filter(|(_, list)| !list.is_empty());
        let denied: Vec<String> = said
            .chain(given.map(|(key, _)| *key))
            .filter(|key| {
                let mut patterns = self.rules.iter().flat_map(|(_, rule)| &rule.deny);
                patterns.any(|pattern| is_named(pattern, key))
            })
            .map(shortened)
            .collect();
        if !denied.is_empty() {
            return Err(Rejection::Conf(denied));
        }
        for (name, rule) in &self.rules {
            for (pattern, values) in rule.values.iter() {
                let conf = asked.conf.iter().map(|(key, value)| (key.as_str(), value));
                let lists = asked
                    .lists
                    .iter()
                    .flat_map(|(key, list)| list.iter().map(move |value| (*key, value)));
                let odd = conf
                    .chain(lists)
                    .find(|(key, value)| is_named(pattern, key) && !values.contains(value));
                if let Some((key, value)) = odd {
                    return Err(Rejection::Rule {
                        key: shortened(key),
                        reason: format!("{:?} is not among {}", shortened(value), values.join(", ")),
                        rule: (*name).to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Gives one key its `default`, or what `force` says, before anything is made of it.
    pub fn choose(&self, conf: &mut BTreeMap<String, String>, key: &str) {
        let of = |given: fn(&PolicyRule) -> &BTreeMap<String, String>| {
            self.rules.iter().find_map(|(_, rule)| given(rule).get(key))
        };
        if let Some(forced) = of(|rule| &rule.force) {
            conf.insert(key.to_owned(), forced.clone());
        } else if let Some(value) = of(|rule| &rule.default) {
            conf.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }

    /// Settles what the driver gets: `default`, then `force`, then `cap`. Gives a line for the log for what is not as it was asked
    /// for. `below` is the conf that every session starts from, which caps bound as well.
    ///
    /// # Errors
    ///
    /// [`Rejection::Rule`]: a value that can't be compared with its cap.
    pub fn settle(
        &self,
        asked: &mut Asked<'_>,
        below: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, Rejection> {
        for (_, key, value) in self.first(|rule| &rule.default).into_values() {
            if !asked.has(key) {
                asked.conf.insert(key.to_owned(), value.to_owned());
            }
        }
        let mut notes = Vec::new();
        for (rule, key, value) in self.first(|rule| &rule.force).into_values() {
            let was = asked.take(key);
            asked.conf.insert(key.to_owned(), value.to_owned());
            if was.is_some_and(|was| was != value) {
                let shown = shown(key, value);
                notes.push(format!(
                    "{key} is {shown}, whatever is asked for (policy.rule.{rule}.force)."
                ));
            }
        }
        // Twice: caps of one key that are written in different units are found by what the first time has made of it.
        for (rule, caps) in self.rules.iter().chain(&self.rules) {
            for (pattern, most) in caps.cap.iter() {
                cap(
                    asked.conf,
                    below,
                    (pattern.as_str(), most.as_str()),
                    rule,
                    &mut notes,
                )?;
            }
        }
        Ok(notes)
    }

    /// For each key of a kind of entry, by its first name: the first rule that has it, the key as it stands there, and its value.
    fn first(
        &self,
        given: fn(&PolicyRule) -> &BTreeMap<String, String>,
    ) -> BTreeMap<String, (&'a str, &'a str, &'a str)> {
        let mut first = BTreeMap::new();
        for &(name, rule) in &self.rules {
            for (key, value) in given(rule) {
                first
                    .entry(names(key).swap_remove(0))
                    .or_insert((name, key.as_str(), value.as_str()));
            }
        }
        first
    }
}

impl Asked<'_> {
    /// Whether a key is set, by any of its names.
    fn has(&self, key: &str) -> bool {
        let names = names(key);
        let given = self.lists.iter().filter(|(_, list)| !list.is_empty());
        let lists = given.map(|(list, _)| *list);
        let keys = self.conf.keys().map(String::as_str).chain(lists);
        keys.map(canonical).any(|other| names.contains(&other))
    }

    /// Takes a key out, by all of its names; what it held, where it was set.
    fn take(&mut self, key: &str) -> Option<String> {
        let names = names(key);
        let is_it = |other: &str| names.contains(&canonical(other));
        let mut was = None;
        self.conf.retain(|other, value| {
            let keeps = !is_it(other);
            if !keeps {
                was = Some(std::mem::take(value));
            }
            keeps
        });
        for (list, files) in &mut self.lists {
            if is_it(list) && !files.is_empty() {
                was = Some(std::mem::take(&mut **files).join(","));
            }
        }
        was
    }
}

/// Lowers what is over a cap, and says so.
fn cap(
    conf: &mut BTreeMap<String, String>,
    below: &BTreeMap<String, String>,
    (pattern, most): (&str, &str),
    rule: &str,
    notes: &mut Vec<String>,
) -> Result<(), Rejection> {
    // Checked when the configuration was read.
    let Some(amount) = Amount::parse(most) else {
        return Ok(());
    };
    let inherited = below.iter().filter(|(key, _)| {
        !names(key)
            .iter()
            .any(|name| conf.keys().any(|own| canonical(own) == *name))
    });
    let keys: Vec<(String, String)> = conf
        .iter()
        .chain(inherited)
        .filter(|(key, _)| is_named(pattern, key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in keys {
        let on = |list: &[&str]| list.iter().any(|listed| is_named(listed, &key));
        let unit = if on(IN_MIB) {
            Some(1 << 20)
        } else {
            on(IN_BYTES).then_some(1)
        };
        let compared = match amount.compare(&value, unit) {
            Compared::Within if on(ZERO_IS_ENDLESS) && value.trim().starts_with('0') => Compared::Over,
            compared => compared,
        };
        match compared {
            Compared::Within => {}
            Compared::Over => {
                notes.push(format!(
                    "{key} is {most} instead of {}: that is the most (policy.rule.{rule}.cap).",
                    shortened(&value)
                ));
                conf.insert(key, most.to_owned());
            }
            Compared::Unreadable => {
                return Err(Rejection::Rule {
                    key: shortened(&key),
                    reason: format!(
                        "{:?} can't be compared with {most}, which is the most; write it as that is written",
                        shortened(&value)
                    ),
                    rule: rule.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// A value as a log may have it.
fn shown(key: &str, value: &str) -> String {
    if is_secret(key) {
        REDACTED.to_owned()
    } else {
        shortened(value)
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
