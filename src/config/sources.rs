//! Reading the sources: the file with its lines, then the environment and `--set` over it.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Config;
use super::error::{ConfigError, Place};
use super::keys::{self, NAME};
use super::values::{Kind, flatten};

/// Variables that are not configuration: the client's, the flag's, what keeper and agent find a driver by, and its part of a GPU.
const RESERVED: [&str; 7] = [
    "URL",
    "USER",
    "TOKEN",
    "CONFIG",
    "DRIVER_ID",
    "KEEPER_PID",
    "GPU_FRACTION",
];

/// Where each key that isn't at its default was written last.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Place>);

impl Origins {
    /// Where `path` was written: the key itself, or what stands inside its value.
    pub(super) fn place(&self, path: &str) -> Place {
        let within = |key: &str| match path.strip_prefix(key) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        };
        self.0
            .iter()
            .find(|(key, _)| within(key))
            .map_or(Place::Default, |(_, place)| place.clone())
    }
}

/// All keys with what they hold, as `table.key`.
fn keys() -> impl Iterator<Item = (String, Kind)> {
    keys::all().flat_map(|table| {
        table
            .keys
            .iter()
            .map(|key| (format!("{}.{}", table.path, key.name), key.kind))
    })
}

fn kind_of(path: &str) -> Option<Kind> {
    keys()
        .find(|(key, _)| rest_after(key, path) == Some(""))
        .map(|(_, kind)| kind)
}

/// What follows in `path` after a key or a table, without its dot; none where it is another's. [`NAME`] in a table stands for any name.
fn rest_after<'path>(key: &str, path: &'path str) -> Option<&'path str> {
    let mut rest = Some(path);
    for part in key.split('.') {
        let (first, after) = match rest?.split_once('.') {
            Some((first, after)) => (first, Some(after)),
            None => (rest?, None),
        };
        if part != NAME && part != first {
            return None;
        }
        rest = after;
    }
    Some(rest.unwrap_or_default())
}

/// The valid key that looks most like `path`: the same name in another table, or few letters away.
fn nearest(path: &str) -> Option<String> {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let paths = keys::all().map(|table| table.path.to_owned());
    let all = || keys().map(|(key, _)| key).chain(paths.clone());
    let (distance, close) = all()
        .map(|key| (strsim::damerau_levenshtein(&key, path), key))
        .min_by_key(|(distance, _)| *distance)?;
    if distance <= (path.len() / 4).clamp(1, 4) {
        return Some(close);
    }
    let wanted = name(path);
    keys().map(|(key, _)| key).find(|key| name(key) == wanted)
}

/// Reads the file alone, so that what is wrong with it has a line and a column.
pub(super) fn read_file(path: &Path, origins: &mut Origins) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    read_text(path, &text, origins)
}

/// Reads what the file at `path` holds.
pub(super) fn read_text(path: &Path, text: &str, origins: &mut Origins) -> Result<toml::Table, ConfigError> {
    let place = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
        }
    };
    let syntax = |error: &toml::de::Error| ConfigError::Syntax {
        place: place(error.span().map_or(0, |span| span.start)),
        reason: one_line(error.message()),
    };
    let spanned = DeTable::parse(text).map_err(|error| syntax(&error))?;
    walk(spanned.get_ref(), "", &place, origins)?;

    let deserializer = toml::Deserializer::parse(text).map_err(|error| syntax(&error))?;
    serde_path_to_error::deserialize::<_, Config>(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let at = error
            .inner()
            .span()
            .map_or_else(|| origins.place(&key), |span| place(span.start));
        ConfigError::Value {
            place: at,
            key,
            reason: readable(error.inner().message()),
        }
    })?;
    text.parse().map_err(|error| syntax(&error))
}

/// Notes where each key stands and refuses unknown ones.
fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    place: &impl Fn(usize) -> Place,
    origins: &mut Origins,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let at = place(name.span().start);
        if kind_of(&path).is_some() {
            origins.0.insert(path, at);
        } else if is_table(&path) {
            origins.0.insert(path.clone(), at);
            if let DeValue::Table(inner) = value.get_ref() {
                walk(inner, &path, place, origins)?;
                origins.0.remove(&path);
            }
        } else {
            return Err(ConfigError::Unknown {
                place: at,
                nearest: nearest(&path),
                key: path,
            });
        }
    }
    Ok(())
}

/// Whether `path` is a table or leads to one, as `policy` does.
fn is_table(path: &str) -> bool {
    keys::all().any(|table| {
        let depth = path.split('.').count();
        let parts: Vec<&str> = table.path.split('.').take(depth).collect();
        parts.len() == depth && rest_after(&parts.join("."), path) == Some("")
    })
}

/// Lays the variables that begin with `FIRESTEEL_` over `table`.
pub(super) fn overlay_environment(
    table: &mut toml::Table,
    environment: &[(String, String)],
    origins: &mut Origins,
) -> Result<(), ConfigError> {
    let mut ours: Vec<_> = environment
        .iter()
        .filter_map(|(name, raw)| Some((name, name.strip_prefix("FIRESTEEL_")?, raw)))
        .filter(|(_, rest, raw)| !reserved(rest, raw))
        .collect();
    ours.sort();
    for (name, rest, raw) in ours {
        let place = Place::Variable(name.clone());
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let entry = keys().find_map(|(key, kind)| {
            let start = key.to_ascii_uppercase().replace('.', "__") + "__";
            // Conf keys are of mixed case, which a variable's name can't say.
            let map = kind == Kind::Map && !key.ends_with(".conf");
            rest.strip_prefix(&start)
                .filter(|entry| map && !entry.is_empty())
                .map(|entry| (key, entry.to_owned()))
        });
        match (kind_of(&path), entry) {
            (Some(_), _) => put(table, &path, None, raw, place, origins)?,
            (None, Some((key, entry))) => put(table, &key, Some(&entry), raw, place, origins)?,
            (None, None) => {
                // Any `_` may have been meant as a dot.
                let spelt = |key: &str| format!("FIRESTEEL_{}", key.to_ascii_uppercase().replace('.', "__"));
                let single = keys()
                    .map(|(key, _)| key)
                    .find(|key| key.replace('.', "_") == path.replace('.', "_"));
                let nearest = single.or_else(|| nearest(&path)).map(|key| spelt(&key));
                return Err(ConfigError::Unknown {
                    place,
                    key: path,
                    nearest,
                });
            }
        }
    }
    Ok(())
}

/// Lays `--set KEY=VALUE` over `table`, in order.
pub(super) fn overlay_sets(
    table: &mut toml::Table,
    sets: &[(String, String)],
    origins: &mut Origins,
) -> Result<(), ConfigError> {
    for (path, raw) in sets {
        let place = Place::Flag(path.clone());
        let entry = keys()
            .filter(|(_, kind)| *kind == Kind::Map)
            .find_map(|(key, _)| {
                let entry = rest_after(&key, path).filter(|entry| !entry.is_empty())?;
                let key = path.strip_suffix(entry)?.trim_end_matches('.');
                Some((key.to_owned(), entry.to_owned()))
            });
        match (kind_of(path), entry) {
            (Some(_), _) => put(table, path, None, raw, place, origins)?,
            (None, Some((key, entry))) => put(table, &key, Some(&entry), raw, place, origins)?,
            (None, None) => {
                return Err(ConfigError::Unknown {
                    place,
                    key: path.clone(),
                    nearest: nearest(path),
                });
            }
        }
    }
    Ok(())
}

/// Whether a variable is no configuration: reserved names, and those that Kubernetes sets in each pod for a service that is
/// called `firesteel` (`FIRESTEEL_SERVICE_HOST`, `FIRESTEEL_PORT=tcp://...`, `FIRESTEEL_PORT_8998_TCP_ADDR`).
fn reserved(rest: &str, raw: &str) -> bool {
    let service = !rest.contains("__")
        && (rest.ends_with("SERVICE_HOST")
            || rest.ends_with("SERVICE_PORT")
            || rest.contains("SERVICE_PORT_")
            || ["_TCP", "_UDP", "_SCTP"]
                .iter()
                .any(|protocol| rest.contains("PORT_") && rest.contains(protocol))
            || (rest.ends_with("PORT") && raw.contains("://")));
    RESERVED.contains(&rest) || rest.starts_with("TEST_") || service
}

/// Puts one value from the environment or `--set` into the table. What is no TOML value is a text; a text where a list
/// belongs is split at commas.
fn put(
    table: &mut toml::Table,
    key: &str,
    entry: Option<&str>,
    raw: &str,
    place: Place,
    origins: &mut Origins,
) -> Result<(), ConfigError> {
    let wrong = |reason: String| ConfigError::Value {
        place: place.clone(),
        key: key.to_owned(),
        reason,
    };
    let Some(kind) = kind_of(key) else {
        return Err(ConfigError::Unknown {
            place,
            key: key.to_owned(),
            nearest: nearest(key),
        });
    };
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut inner = table;
    for part in path.split('.') {
        let next = inner
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        inner = next
            .as_table_mut()
            .ok_or_else(|| wrong(format!("{part} is not a table")))?;
    }
    match entry {
        Some(entry) => {
            let before = inner
                .get(name)
                .and_then(toml::Value::as_table)
                .cloned()
                .unwrap_or_default();
            let mut texts = flatten(&before).map_err(wrong)?;
            texts.insert(entry.to_owned(), text(raw));
            let texts = texts
                .into_iter()
                .map(|(key, text)| (key, toml::Value::String(text)));
            inner.insert(name.to_owned(), toml::Value::Table(texts.collect()));
            // The table's other entries were read well before: an error is this entry's.
        }
        None => {
            inner.insert(name.to_owned(), value(kind, raw));
        }
    }
    origins.0.insert(key.to_owned(), place);
    Ok(())
}

fn parsed(raw: &str) -> Option<toml::Value> {
    use serde::Deserialize as _;
    toml::Value::deserialize(toml::de::ValueDeserializer::parse(raw.trim()).ok()?).ok()
}

/// A text as it is, or unquoted where it is a quoted TOML text.
fn text(raw: &str) -> String {
    match parsed(raw) {
        Some(toml::Value::String(text)) => text,
        _ => raw.to_owned(),
    }
}

fn value(kind: Kind, raw: &str) -> toml::Value {
    match kind {
        Kind::Text | Kind::Duration | Kind::Size | Kind::Choice(_) => toml::Value::String(text(raw)),
        Kind::Flag | Kind::Integer | Kind::Number | Kind::Map | Kind::ListMap => {
            parsed(raw).unwrap_or_else(|| toml::Value::String(raw.to_owned()))
        }
        Kind::List => match parsed(raw) {
            Some(list @ toml::Value::Array(_)) => list,
            _ => {
                let raw = text(raw);
                let entries = raw.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                toml::Value::Array(
                    entries
                        .map(|entry| toml::Value::String(entry.to_owned()))
                        .collect(),
                )
            }
        },
    }
}

/// Makes the configuration of the table that file, environment and flags gave.
pub(super) fn deserialize(table: toml::Table, origins: &Origins) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        ConfigError::Value {
            place: origins.place(&key),
            key,
            reason: readable(error.inner().message()),
        }
    })
}

/// serde's words for a type, as an administrator knows them.
fn readable(message: &str) -> String {
    let mut message = one_line(message);
    for (rust, plain) in [
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected i32", "expected a whole number"),
        ("expected a boolean", "expected `true` or `false`"),
        ("expected a sequence", "expected a list"),
        ("expected path string", "expected a path in quotes"),
        ("expected a map", "expected a table"),
    ] {
        message = message.replace(rust, plain);
    }
    message
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', "; ")
}
