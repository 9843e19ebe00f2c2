//! Values as Livy reads them, in Firesteel's words. Errors say what is needed, never what was there.

use toml::Value;

use crate::config::Span;

/// A text.
pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// `true` or `false`. Livy takes all else for `false`, which may not be what was meant.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false; a # behind a value begins no comment".to_owned()),
    }
}

/// A duration: milliseconds where it has no unit.
pub(super) fn duration(text: &str) -> Result<Value, String> {
    let text = text.to_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let milliseconds = match (number.parse::<u64>(), unit, scale) {
        (Ok(number), "us", _) => Some(number / 1000),
        (Ok(number), _, Some(scale)) => number.checked_mul(scale),
        _ => None,
    };
    let span = milliseconds.ok_or("must be a duration, such as 500ms, 30s, 10m, 1h or 7d")?;
    Ok(Value::String(Span::millis(span).to_string()))
}

/// A whole number.
pub(super) fn number(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "must be a whole number, 0 or more".to_owned())
}

/// A number of bytes.
pub(super) fn bytes(text: &str) -> Result<Value, String> {
    let bytes = number(text)?;
    let is_whole = |unit: i64| bytes > 0 && bytes % unit == 0;
    let text = match bytes {
        _ if is_whole(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if is_whole(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    };
    Ok(Value::String(text))
}

/// Entries between commas and blanks.
pub(super) fn list(text: &str) -> Value {
    let entries = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty());
    entries.collect::<Vec<_>>().into()
}
