//! The formats, and what each can hold.

use std::collections::HashSet;

use arrow_schema::{DataType, Schema};

use super::Unfit;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Arrow's stream format: all of Spark's types as they are.
    Arrow,
    /// Text with a header line; no nested values.
    Csv,
    /// A JSON object on each line.
    JsonLines,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The words for them.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("arrow", Self::Arrow),
        ("csv", Self::Csv),
        ("jsonl", Self::JsonLines),
        ("parquet", Self::Parquet),
    ];

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find_map(|(known, format)| (*known == name).then_some(*format))
    }

    /// Its MIME type.
    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Says what of the schema the format can't hold, before anything is written.
    pub(super) fn check(self, schema: &Schema) -> Result<(), Unfit> {
        match self {
            Self::Arrow => Ok(()),
            Self::Csv => flat(schema),
            Self::JsonLines => distinct(schema, "JSON lines"),
            Self::Parquet if schema.fields().is_empty() => Err(Unfit(
                "The result has no columns, which Parquet can't hold.".to_owned(),
            )),
            Self::Parquet => distinct(schema, "Parquet"),
        }
    }
}

fn flat(schema: &Schema) -> Result<(), Unfit> {
    let nested = schema.fields().iter().find(|field| field.data_type().is_nested());
    let Some(field) = nested else {
        return Ok(());
    };
    let what = match field.data_type() {
        DataType::Map(..) => "maps",
        DataType::Struct(_) => "structs",
        _ => "arrays",
    };
    Err(Unfit(format!(
        "The column {} has {what}, which CSV can't hold. Select to_json({0}) in its place, or ask for arrow, jsonl or parquet.",
        field.name()
    )))
}

fn distinct(schema: &Schema, what: &str) -> Result<(), Unfit> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(field) => Err(Unfit(format!(
            "The result has two columns with the name {}, which {what} can't hold. Name one of them otherwise, or ask for arrow or csv.",
            field.name()
        ))),
    }
}
