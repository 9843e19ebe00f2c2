//! Options that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::settings::{self, Flags, Settings};

/// Where the server is, and who calls.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// The server [env: FIRESTEEL_URL; default: http://127.0.0.1:8998].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The user [env: FIRESTEEL_USER]. The password comes from --password-file, from client.toml, or is asked for.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file that holds the user's password and that nobody else can read.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A bearer token. Others on this machine can read it here: prefer FIRESTEEL_TOKEN or client.toml.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["user", "password_file"])]
    token: Option<String>,
}

impl Connection {
    /// Flags over the environment over the file over the defaults.
    ///
    /// # Errors
    /// One of them makes no sense, or the file is open to others.
    pub fn settle(&self) -> Result<Settings, Failure> {
        settings::settle(Flags {
            url: self.url.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            token: self.token.clone(),
        })
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: the server's JSON.
    Json,
}

/// A format of a whole result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Arrow's stream format.
    Arrow,
    /// Text with a header line.
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The server's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// Whether a terminal can show it.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Jsonl)
    }
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Python.
    #[value(alias = "python")]
    Pyspark,
    /// Scala.
    #[value(alias = "scala")]
    Spark,
    /// SQL.
    Sql,
    /// R.
    #[value(alias = "r")]
    Sparkr,
}

impl Kind {
    /// Livy's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pyspark => "pyspark",
            Self::Spark => "spark",
            Self::Sql => "sql",
            Self::Sparkr => "sparkr",
        }
    }

    /// The language with Livy's name; none for `shared` and names that this client does not know.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pyspark, Self::Spark, Self::Sql, Self::Sparkr]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// `KEY=VALUE` of Spark's conf.
///
/// # Errors
/// There is no `=`, or nothing before it.
fn conf(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is needed, such as spark.executor.memory=2g".to_owned()),
    }
}

/// Conf of what is made.
#[derive(Args, Clone, Debug)]
pub struct Conf {
    /// A key of Spark's conf for what is made. May be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = conf)]
    conf: Vec<(String, String)>,
    /// Its GPUs, such as 1, or a part of one, such as 0.5, where the server shares them: firesteel.gpus.
    #[arg(long, value_name = "N")]
    gpus: Option<String>,
    /// A profile of the server's: firesteel.profile.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// A cluster of the server's: firesteel.cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Conf {
    /// As the server reads it.
    pub fn object(&self) -> Value {
        let named = [
            ("firesteel.gpus", &self.gpus),
            ("firesteel.profile", &self.profile),
            ("firesteel.cluster", &self.cluster),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let entries = self.conf.iter().cloned().chain(named);
        Value::Object(
            entries
                .map(|(key, value)| (key, value.into()))
                .collect::<Map<_, _>>(),
        )
    }
}
