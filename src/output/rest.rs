//! What is shown of an output once its file has gone: its first lines, and one that says so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytesize::ByteSize;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// The first lines that stay.
const LINES: usize = 10;
/// The most bytes of them.
const BYTES: usize = 1024;
/// What is read of a text for them.
const READ: usize = 16 * BYTES;
/// The longest escape of a character in JSON: two of `\u1234`.
const ESCAPE: usize = 12;
const TEXT: &str = "text/plain";

/// Livy's output object, whose data stays as it came: a table of many rows would take many times its room.
#[derive(Debug, Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    execution_count: i64,
    #[serde(borrow, default)]
    data: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    ename: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    evalue: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    traceback: Option<&'a RawValue>,
}

/// What is left of an output without its file. One that is no output object, which no driver sends, is told as that.
pub(super) fn rest(output: &RawValue) -> Option<Box<RawValue>> {
    let size = ByteSize::b(output.get().len() as u64).display().iec();
    let marker =
        format!("[... {size} in all, removed to make room (output.session_bytes, output.total_bytes)]");
    let Ok(whole) = serde_json::from_str::<Whole<'_>>(output.get()) else {
        return to_raw_value(&json!({"status": "ok", "data": {TEXT: marker}})).ok();
    };
    let mut left = Map::new();
    left.insert("status".to_owned(), whole.status.into());
    left.insert("execution_count".to_owned(), whole.execution_count.into());
    if let Some(data) = whole.data {
        let text = data.get(TEXT).and_then(|text| beginning(text.get()));
        let text = match text {
            Some(text) if !text.is_empty() => format!("{}\n{marker}", head(&text)),
            _ => marker.clone(),
        };
        left.insert("data".to_owned(), json!({ TEXT: text }));
    }
    if let Some(ename) = whole.ename {
        left.insert("ename".to_owned(), head(&ename).into());
    }
    if let Some(evalue) = whole.evalue {
        left.insert("evalue".to_owned(), head(&evalue).into());
    }
    if let Some(traceback) = whole.traceback {
        let lines: Vec<String> = serde_json::from_str(traceback.get()).unwrap_or_default();
        let text = lines.concat();
        let kept: Vec<Value> = head(&text)
            .split_inclusive('\n')
            .map(Value::from)
            .chain([Value::from(marker)])
            .collect();
        left.insert("traceback".to_owned(), kept.into());
    }
    to_raw_value(&left).ok()
}

/// The beginning of a JSON string, more of it than is shown: the whole may be large.
fn beginning(string: &str) -> Option<String> {
    if string.len() <= READ {
        return serde_json::from_str(string).ok();
    }
    let mut end = string.floor_char_boundary(READ);
    // No escape is longer than two of `\u1234`, so one of these places is not inside of one.
    for _ in 0..=ESCAPE {
        let whole = format!("{}\"", &string[..end]);
        if let Ok(text) = serde_json::from_str(&whole) {
            return Some(text);
        }
        end = string.floor_char_boundary(end - 1);
    }
    None
}

/// The first lines, whole ones unless the first is too long.
fn head(text: &str) -> &str {
    let mut end = 0;
    for line in text.split_inclusive('\n').take(LINES) {
        if end + line.len() > BYTES {
            break;
        }
        end += line.len();
    }
    if end == 0 {
        end = text.floor_char_boundary(BYTES);
    }
    text[..end].trim_end_matches('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_of(output: &Value) -> Value {
        let output = to_raw_value(output).unwrap();
        serde_json::from_str(rest(&output).unwrap().get()).unwrap()
    }

    #[test]
    fn the_first_lines_stay() {
        let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        let left = rest_of(&json!({"status": "ok", "execution_count": 7, "data": {TEXT: text}}));
        assert_eq!(left["execution_count"], 7);
        let shown = left["data"][TEXT].as_str().unwrap();
        assert!(shown.starts_with("line 0\nline 1\n"), "{shown}");
        assert!(
            shown.contains("\nline 9\n[... 52.7 KiB in all, removed"),
            "{shown}"
        );
    }

    #[test]
    fn one_long_line_and_tables_are_cut_as_well() {
        let left = rest_of(&json!({"status": "ok", "execution_count": 0, "data": {TEXT: "é".repeat(9000)}}));
        assert!(left["data"][TEXT].as_str().unwrap().starts_with("éé"));
        let rows: Vec<_> = (0..9000).collect();
        let left =
            rest_of(&json!({"status": "ok", "execution_count": 0, "data": {"application/json": rows}}));
        assert!(left["data"][TEXT].as_str().unwrap().starts_with("[..."));
        assert!(left["data"].get("application/json").is_none());
    }

    #[test]
    fn an_error_stays_one() {
        let lines: Vec<_> = (0..9000).map(|number| format!("frame {number}\n")).collect();
        let left = rest_of(&json!({
            "status": "error", "execution_count": 3, "ename": "ValueError", "evalue": "no", "traceback": lines,
        }));
        assert_eq!(
            (&left["ename"], &left["evalue"]),
            (&json!("ValueError"), &json!("no"))
        );
        let traceback = left["traceback"].as_array().unwrap();
        assert_eq!(traceback[0], "frame 0\n");
        assert!(traceback.last().unwrap().as_str().unwrap().contains("removed"));
    }
}
