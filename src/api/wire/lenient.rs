//! Leniency that clients need (clients.md, W12): numbers written as strings, conf values that are numbers or flags.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

/// A whole number, also written as a string; null and missing are none.
pub fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let value = Value::deserialize(from)?;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if (0..=i64::from(i32::MAX)).contains(&number) => Ok(Some(number)),
        _ => Err(D::Error::custom(format!(
            "a whole number from 0 to {} is needed, not {}",
            i32::MAX,
            short(&value)
        ))),
    }
}

/// A text; numbers are taken as their digits. Null and missing are none.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        value => Err(D::Error::custom(format!(
            "a text is needed, not {}",
            short(&value)
        ))),
    }
}

/// A list of texts. Null and missing are empty.
pub fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let items = match Value::deserialize(from)? {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        value => {
            return Err(D::Error::custom(format!(
                "a list of texts is needed, not {}",
                short(&value)
            )));
        }
    };
    let text = |item| match item {
        Value::String(text) => Ok(text),
        value => Err(D::Error::custom(format!(
            "a list of texts is needed; it has {}",
            short(&value)
        ))),
    };
    items.into_iter().map(text).collect()
}

/// A map whose values become texts, in its own order. Null values are left out; null and missing are empty.
pub fn conf<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let entries = match Value::deserialize(from)? {
        Value::Null => return Ok(Map::new()),
        Value::Object(entries) => entries,
        value => {
            return Err(D::Error::custom(format!(
                "an object of texts is needed, not {}",
                short(&value)
            )));
        }
    };
    let mut conf = Map::new();
    for (key, value) in entries {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            value => {
                return Err(D::Error::custom(format!(
                    "{key} needs a text, not {}",
                    short(&value)
                )));
            }
        };
        conf.insert(key, text.into());
    }
    Ok(conf)
}

fn short(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        value => value.to_string().chars().take(60).collect(),
    }
}
