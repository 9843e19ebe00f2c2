//! What a request may ask for: Spark conf (`conf.rs`), the administrator's rules for it (`rules.rs`, with `aliases.rs`), Python environments (`environment.rs`), files of the server (`files.rs`), what is decided on a secured Hadoop and where its configuration is (`hadoop.rs`), names (`names.rs`), how long its texts may be (`lengths.rs`), which of them may be secrets (`redaction.rs`), and the
//! durations in Livy's notation (`durations.rs`).
//!
//! Pure functions of the request and the configuration: no HTTP, and no input or output beyond resolving paths. May be
//! called by `api`, `quota`, `session` and `batch`; calls `config` only.

mod aliases;
mod conf;
mod durations;
mod environment;
mod files;
mod hadoop;
mod lengths;
mod names;
mod redaction;
mod rules;

use std::collections::BTreeMap;

pub use conf::{ALWAYS_DENIED, LOADS_CODE, check_conf};
pub use durations::{LONGEST, parse_duration};
pub use environment::{Environments, PYTHON_KEYS, python_of};
pub use files::{FILE_KEYS, FileKey, file_key, resolve_conf, resolve_files, split_list};
pub use hadoop::{check_hadoop, conf_dir};
pub use lengths::{check_args, check_conf_lengths, check_length};
pub use names::{check_count, check_file_name, check_name};
pub use redaction::{is_secret, redact, without_secrets};
pub use rules::{Asked, Rules};

/// Why a request is refused. Its text is what stands after `Rejected, Reason: ` in Livy's 400, where Livy has one
/// (livy-spec 1.3, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The name is empty or all digits.
    #[error("Invalid session name: {0}")]
    Name(String),
    /// The name is unfit for another reason, a sentence.
    #[error("Invalid session name: {0}")]
    NameUnfit(String),
    /// The conf has keys that requests may not set.
    #[error("Blacklisted configuration values in session config: {}", .0.join(", "))]
    Conf(Vec<String>),
    /// A value that a rule does not let through.
    #[error("{key}: {reason} (policy.rule.{rule}).")]
    Rule {
        /// The conf key.
        key: String,
        /// What is wrong with its value.
        reason: String,
        /// The rule's name.
        rule: String,
    },
    /// A conf key that is no key at all, quoted.
    #[error("Invalid configuration key: {0} is empty, or has blanks, control characters or `=`")]
    ConfKey(String),
    /// The value of this conf key has a NUL character.
    #[error("Invalid configuration value: {0} has a NUL character")]
    ConfValue(String),
    /// A path without scheme that doesn't start with `/`.
    #[error("requirement failed: Path '{0}' is not absolute.")]
    NotAbsolute(String),
    /// A file of the server that is not below `files.allow`.
    #[error("requirement failed: Local path {0} cannot be added to user sessions.")]
    NotAllowed(String),
    /// A file below `files.allow` that isn't there.
    #[error("requirement failed: Local path {0} does not exist.")]
    Missing(String),
    /// An upload that isn't there, or is another's.
    #[error("There is no upload {0:?}.")]
    NoUpload(String),
    /// No name for a file.
    #[error("Invalid file name {name:?}: {reason}.")]
    FileName {
        /// What the request has, shortened.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// Something that no URI of a file may have.
    #[error("Invalid path {path:?}: {reason}")]
    Path {
        /// What the request has, shortened.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// No duration in Livy's notation.
    #[error("Invalid time string: {0}")]
    Time(String),
    /// A duration with an unknown unit.
    #[error("Invalid suffix: \"{0}\"")]
    TimeSuffix(String),
    /// A duration below 0.
    #[error("Invalid value: {0}")]
    TimeValue(String),
    /// More entries than the limits allow.
    #[error("{what} has {count} entries, and {most} is the most")]
    TooMany {
        /// The field.
        what: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        most: usize,
    },
    /// A text that is longer than the limits allow.
    #[error("{what} has {bytes} bytes, and {most} is the most ({limit})")]
    TooLong {
        /// The field, and which of its texts.
        what: String,
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
        /// The key of the limit, or whose limit it is.
        limit: &'static str,
    },
}

/// At most 100 characters of what a request sent, for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The form in which conf keys are compared: lower case, without `spark.`, so that neither case nor a missing prefix gets
/// a key past a list.
fn canonical(key: &str) -> String {
    let key = key.to_lowercase();
    key.strip_prefix("spark.").map(str::to_owned).unwrap_or(key)
}

/// Whether `key` is what `pattern` names; a `*` stands for any text, also none. Both in canonical form.
fn matches(pattern: &str, key: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == key;
    };
    let Some(mut key) = key.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // Each part at its first place: what follows has the more room for it.
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some((_, after)) = key.split_once(part) else {
            return false;
        };
        key = after;
    }
    key.ends_with(end)
}

/// What a conf gives a key, by whichever of its names; Spark's order of the names counts.
#[must_use]
pub fn value_of<'a>(conf: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    let names = aliases::names(key);
    names.iter().find_map(|name| {
        let mut entries = conf.iter();
        let (_, value) = entries.find(|(other, _)| canonical(other) == *name)?;
        Some(value.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, key, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("k8s.*.secrets.*", "k8s.driver.secrets.x", true),
            ("k8s.*.secrets.*", "k8s.driver.secrets", false),
            ("k8s.*.secrets.*", "k8s.a.b.secrets.", true),
            ("*.b*.c", "a.b.c", true),
            ("a**b", "ab", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn a_value_is_found_by_any_name() {
        let conf = BTreeMap::from([("spark.yarn.keytab".to_owned(), "/k".to_owned())]);
        assert_eq!(value_of(&conf, "spark.kerberos.keytab"), Some("/k"));
        assert_eq!(value_of(&conf, "spark.keytab"), None);
    }
}
