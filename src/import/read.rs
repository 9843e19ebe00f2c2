//! Reads Livy's files: properties, the list of keys that requests may not set, and which there are in a directory.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use java_properties::{LineContent, PropertiesIter};

use super::{Fault, ImportError};

/// The most bytes of a file: Livy's own template has some 10 KB.
const MOST_BYTES: u64 = 1 << 20;
/// Of a directory, what is read, in the order in which the files count where two set one key.
const PROPERTIES: [&str; 2] = ["livy.conf", "livy-client.conf"];
/// A key a line, which requests may not set.
pub(super) const DENIED: &str = "spark-blacklist.conf";
/// Files beside these whose settings are told of and not read.
const OTHERS: [&str; 4] = [
    "livy-env.sh",
    "log4j.properties",
    "log4j2.properties",
    "log4j2.xml",
];

/// A key that is set, and where.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub file: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    pub key: String,
    pub value: String,
}

impl Entry {
    pub(super) fn place(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}", self.file),
        }
    }
}

/// What files and directories set, in their order.
pub(super) fn entries(paths: &[PathBuf]) -> Result<Vec<Entry>, ImportError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            of_directory(path, &mut found)?;
        } else {
            of_file(path, &mut found)?;
        }
    }
    Ok(found)
}

fn of_directory(directory: &Path, found: &mut Vec<Entry>) -> Result<(), ImportError> {
    let known = [PROPERTIES.as_slice(), &[DENIED], &OTHERS].concat();
    let there: Vec<PathBuf> = known
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| path.exists())
        .collect();
    if there.is_empty() {
        let names = [PROPERTIES.as_slice(), &[DENIED]].concat().join(", ");
        let why = std::io::Error::other(format!(
            "has none of {names}; files that end in .template set nothing"
        ));
        return Err(ImportError::file(directory, why));
    }
    there.iter().try_for_each(|path| of_file(path, found))
}

fn of_file(path: &Path, found: &mut Vec<Entry>) -> Result<(), ImportError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let entry = |value: String| Entry {
        file: path.display().to_string(),
        line: 0,
        key: name.to_owned(),
        value,
    };
    if OTHERS.contains(&name) {
        found.push(entry(String::new()));
        return Ok(());
    }
    let text = text(path).map_err(|why| ImportError::file(path, why))?;
    if name == DENIED {
        let keys = text.lines().map(str::trim);
        let keys: Vec<_> = keys.filter(|line| !line.starts_with('#')).collect();
        found.push(entry(keys.join("\n").trim().to_owned()));
        return Ok(());
    }
    for line in PropertiesIter::new_with_encoding(text.as_bytes(), encoding_rs::UTF_8) {
        let line = line.map_err(|error| not_properties(path, &text, &error))?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            found.push(Entry {
                file: path.display().to_string(),
                line: number,
                key,
                value: value.trim().to_owned(),
            });
        }
    }
    Ok(())
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text)?;
    match u64::try_from(read) {
        Ok(read) if read <= MOST_BYTES => Ok(text),
        _ => Err(std::io::Error::other(
            "is over 1 MiB, so it is none of Livy's files",
        )),
    }
}

fn not_properties(path: &Path, text: &str, error: &java_properties::PropertiesError) -> ImportError {
    let number = error.line_number().unwrap_or(1);
    let line = text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    let key = line.trim_start().split(['=', ':', ' ', '\t']).next();
    let said = error.to_string();
    let why = said.split(" (line_number").next().unwrap_or_default();
    ImportError::Values(vec![Fault {
        place: format!("{}:{number}", path.display()),
        key: key.unwrap_or_default().to_owned(),
        reason: format!("not a properties file: {why} A backslash is written as two"),
    }])
}
