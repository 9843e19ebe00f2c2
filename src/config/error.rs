//! What is wrong with a configuration: where it was written, which key, and why.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the configuration file; line and column count from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In this variable of the environment.
    Variable(String),
    /// In `--set` with this key, or in the key's own flag.
    Flag(String),
    /// Nowhere: the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) if key == "server.listen" => f.write_str("--listen"),
            Self::Flag(key) if key == "server.state_dir" => f.write_str("--state-dir"),
            Self::Flag(key) => write!(f, "--set {key}"),
            Self::Default => f.write_str("configuration"),
        }
    }
}

/// Why there is no configuration. Its text is complete: place, key and reason in one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        reason: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`{}", near(nearest.as_deref()))]
    Unknown {
        /// Where.
        place: Place,
        /// The key as it was written.
        key: String,
        /// The valid key, or for the environment the variable, that looks most like it.
        nearest: Option<String>,
    },
    /// The value is not of the key's type, or doesn't fit the others.
    #[error("{place}: {key}: {reason}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// Why it can't be.
        reason: String,
    },
}

fn near(nearest: Option<&str>) -> String {
    nearest
        .map(|key| format!(", did you mean `{key}`?"))
        .unwrap_or_default()
}
