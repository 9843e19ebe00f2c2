//! Makes the new configuration of what Livy's sets, has it checked, and lists what has no counterpart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml::Value;

use super::keys::{How, ROWS, Row, find, nearest};
use super::read::Entry;
use super::rules::{Given, HOST, Made};
use super::values::{bytes, duration, flag, list, number, text};
use super::{Fault, ImportError};
use crate::config::{Config, ConfigError, tables};

/// In the place of a file, for what none sets.
const DEFAULT: &str = "Livy's default";

/// What comes of Livy's configuration.
#[derive(Debug)]
pub struct Imported {
    /// The new file, which Firesteel takes.
    pub toml: String,
    /// A line for each key that has no counterpart or leaves something to do, and the numbers. It shows no values.
    pub report: String,
}

/// A key of the new file.
struct Setting {
    value: Value,
    /// Where Livy's keys stand that it comes of.
    from: Vec<Entry>,
    comments: Vec<String>,
}

/// What is told of Livy's keys.
#[derive(Default)]
struct Told {
    lines: String,
    mapped: usize,
    to_do: usize,
    without: usize,
    unknown: usize,
}

impl Told {
    fn line(&mut self, entry: &Entry, words: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(
            self.lines,
            "{}: {}: {words}",
            entry.place(),
            entry.key.escape_debug()
        );
    }
}

/// The rows of what is set, in its order: of a key that comes again in one file the last counts, in several files the first file's.
fn chosen(entries: &[Entry], told: &mut Told) -> Vec<(&'static Row, Entry)> {
    let mut rows: Vec<(&'static Row, Entry)> = Vec::new();
    for entry in entries {
        let Some(row) = find(&entry.key) else {
            told.unknown += 1;
            let near = nearest(&entry.key).map(|key| format!(": did you mean {key}?"));
            told.line(
                entry,
                &format!("unknown to Livy and here{}", near.unwrap_or_default()),
            );
            continue;
        };
        let is_one = !row.key.contains('*');
        let known = rows.iter_mut().find(|(other, _)| is_one && other.key == row.key);
        let Some((_, first)) = known else {
            rows.push((row, entry.clone()));
            continue;
        };
        let mut ignored = entry.clone();
        if first.file == entry.file {
            std::mem::swap(first, &mut ignored);
        }
        told.without += 1;
        told.line(&ignored, &format!("set again: {} counts", first.place()));
    }
    // Livy's default is another than Firesteel's, so that it is told of.
    let is_set = |key: &str| rows.iter().any(|(row, _)| row.key == key);
    if !is_set("livy.server.host") && !is_set("livy.server.port") {
        let default = Entry {
            file: DEFAULT.to_owned(),
            line: 0,
            key: "livy.server.host".to_owned(),
            value: HOST.to_owned(),
        };
        rows.extend(find(&default.key).map(|row| (row, default)));
    }
    rows
}

pub(super) fn import(entries: &[Entry]) -> Result<Imported, ImportError> {
    let mut told = Told::default();
    let rows = chosen(entries, &mut told);
    let mut settings = BTreeMap::new();
    let mut faults = Vec::new();
    for (row, entry) in &rows {
        match made(row, &entry.value, &rows) {
            Ok(made) => take(row, entry, made, &mut settings, &mut told),
            Err(reason) => faults.push(Fault {
                place: entry.place(),
                key: entry.key.clone(),
                reason,
            }),
        }
    }
    if !faults.is_empty() {
        return Err(ImportError::Values(faults));
    }
    let toml = render(&settings);
    Config::of_text(Path::new("firesteel.toml"), &toml).map_err(|error| refused(&error, &settings))?;
    let Told {
        mut lines,
        mapped,
        to_do,
        without,
        unknown,
    } = told;
    let _ = writeln!(
        lines,
        "firesteel: keys mapped: {mapped} (to do: {to_do}); without a counterpart: {without}; unknown: {unknown}"
    );
    Ok(Imported { toml, report: lines })
}

fn made(row: &Row, value: &str, all: &[(&'static Row, Entry)]) -> Result<Made, String> {
    let every = |value: Value| {
        let mut made = Made::nothing(row.about);
        made.set = row.to.iter().map(|key| (*key, value.clone())).collect();
        made
    };
    Ok(match row.how {
        How::Nothing => Made::nothing(row.about),
        How::Secret => Made::nothing(format!("a secret, which is not taken over: {}", row.about)),
        _ if value.is_empty() => Made::nothing("empty, as if it were not set"),
        How::Text => every(text(value)),
        How::Flag => every(flag(value)?.into()),
        How::Span => every(duration(value)?),
        How::Bytes => every(bytes(value)?),
        How::List => every(list(value)),
        How::Count(least) => every(number(value)?.max(least).into()),
        How::By(rule) => rule(&Given { value, all })?,
    })
}

/// Puts what a key became into the new file, or tells why it became nothing.
fn take(
    row: &Row,
    entry: &Entry,
    made: Made,
    settings: &mut BTreeMap<&'static str, Setting>,
    told: &mut Told,
) {
    let Made { set, note, is_todo } = made;
    if set.is_empty() {
        told.without += 1;
        let what = if row.to.is_empty() {
            "no counterpart"
        } else {
            "nothing to set"
        };
        told.line(entry, &format!("{what}: {note}"));
        return;
    }
    told.mapped += usize::from(entry.file != DEFAULT);
    if is_todo {
        told.to_do += 1;
        told.line(entry, &format!("to do: {note}"));
    }
    let mut comment = match (note.is_empty(), is_todo) {
        (true, _) => entry.key.clone(),
        (false, true) => format!("{}: TO DO: {note}", entry.key),
        (false, false) => format!("{}: {note}", entry.key),
    };
    for (key, value) in set {
        let setting = settings.entry(key).or_insert_with(|| Setting {
            value: value.clone(),
            from: Vec::new(),
            comments: Vec::new(),
        });
        if setting.value != value {
            let other = setting
                .from
                .first()
                .map_or("another key", |other| other.key.as_str());
            told.line(entry, &format!("{key} is what {other} makes it"));
            continue;
        }
        setting.from.push(entry.clone());
        // What there is to say is said once.
        setting
            .comments
            .push(std::mem::replace(&mut comment, entry.key.clone()));
    }
}

fn render(settings: &BTreeMap<&'static str, Setting>) -> String {
    let mut text =
        "# Made by `firesteel import` of Livy's configuration. Each key follows what it comes of.\n"
            .to_owned();
    for table in tables() {
        let mut head = format!("\n[{}]\n", table.path);
        for key in table.keys {
            let path = format!("{}.{}", table.path, key.name);
            let Some(setting) = settings.get(path.as_str()) else {
                continue;
            };
            text += &std::mem::take(&mut head);
            for comment in &setting.comments {
                let _ = writeln!(text, "# {comment}");
            }
            let _ = writeln!(text, "{} = {}", key.name, setting.value);
        }
    }
    text
}

/// What Firesteel's own check found, at the key of Livy's that it comes of.
fn refused(error: &ConfigError, settings: &BTreeMap<&'static str, Setting>) -> ImportError {
    let (key, reason) = match error {
        ConfigError::Value { key, reason, .. } => (key.as_str(), reason.as_str()),
        other => ("", &*other.to_string()),
    };
    let name = key.split('[').next().unwrap_or_default();
    let fault = |place: &str, livy: &str| Fault {
        place: place.to_owned(),
        key: livy.to_owned(),
        reason: format!("{key}: {reason}"),
    };
    let from = settings.get(name).map_or(&[][..], |setting| &setting.from);
    let missing = ROWS.iter().find(|row| row.to.contains(&name));
    ImportError::Values(match (from, missing) {
        ([], Some(row)) => vec![fault("not set", row.key)],
        ([], None) => vec![fault("no valid configuration", name)],
        (from, _) => from
            .iter()
            .map(|entry| fault(&entry.place(), &entry.key))
            .collect(),
    })
}
