//! What a statement gave, as text.

use serde_json::Value;

use super::failure::Failure;
use super::screen::Screen;
use super::table::table;

/// Prints Livy's output object: a result on standard output, an error on standard error. True for a result.
///
/// # Errors
/// Standard output can't be written.
pub fn print(output: &Value, truncated: Option<&str>, screen: &Screen) -> Result<bool, Failure> {
    if output.get("status").and_then(Value::as_str) == Some("error") {
        screen.error_line(&error(output));
        return Ok(false);
    }
    let data = output.get("data").unwrap_or(&Value::Null);
    if let Some(found) = data
        .get("application/json")
        .and_then(|json| rows(json, screen.width()))
    {
        for line in found {
            screen.line(&line)?;
        }
    } else if let Some(text) = text(data).filter(|text| !text.is_empty()) {
        screen.line(&text)?;
    }
    if let Some(limit) = truncated {
        screen.note(&format!("there are more rows: the result was cut ({limit})."));
    }
    Ok(true)
}

/// The text of a result; what else there is, by its type.
fn text(data: &Value) -> Option<String> {
    let text = match data.get("text/plain") {
        Some(Value::String(text)) => Some(text.trim_end_matches('\n').to_owned()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    text.or_else(|| match data.get("application/json") {
        Some(json) => Some(format!("{json:#}")),
        None => {
            let types: Vec<&str> = data.as_object()?.keys().map(String::as_str).collect();
            Some(format!("[{}]", types.join(", "))).filter(|_| !types.is_empty())
        }
    })
}

/// The traceback, and what it does not say itself.
fn error(output: &Value) -> String {
    let field = |name: &str| output.get(name).and_then(Value::as_str).unwrap_or_default();
    let frames = output.get("traceback").and_then(Value::as_array);
    let mut text: String = frames
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|frame| match frame.ends_with('\n') {
            true => frame.to_owned(),
            false => format!("{frame}\n"),
        })
        .collect();
    let (name, value) = (field("ename"), field("evalue"));
    if value.is_empty() || !text.contains(value) {
        text = format!("{name}: {value}\n{text}");
    }
    text.trim_end().to_owned()
}

/// SQL's rows as a table; none for other JSON.
fn rows(json: &Value, width: Option<usize>) -> Option<Vec<String>> {
    let fields = json.get("schema")?.get("fields")?.as_array()?;
    let headings: Option<Vec<&str>> = fields.iter().map(|field| field.get("name")?.as_str()).collect();
    let cell = |cell: &Value| match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |row: &Value| Some(row.as_array()?.iter().map(cell).collect());
    let rows: Option<Vec<Vec<String>>> = json.get("data")?.as_array()?.iter().map(row).collect();
    Some(table(&headings?, &rows?, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_a_table() {
        let sql = json!({
            "schema": {"type": "struct", "fields": [{"name": "id", "type": "long"}, {"name": "s", "type": "string"}]},
            "data": [[1, "one"], [20, null]],
        });
        assert_eq!(rows(&sql, None).unwrap(), ["id  s", "1   one", "20  null"]);
        assert_eq!(rows(&json!({"a": 1}), None), None);
    }

    #[test]
    fn results_have_a_text() {
        assert_eq!(text(&json!({"text/plain": "2\n"})).unwrap(), "2");
        assert_eq!(text(&json!({"text/plain": 2})).unwrap(), "2");
        assert_eq!(text(&json!({"image/png": "x"})).unwrap(), "[image/png]");
        assert_eq!(text(&json!({})), None);
    }

    #[test]
    fn an_error_is_told_once() {
        let python =
            json!({"ename": "E", "evalue": "no", "traceback": ["Traceback:\n", "  here\n", "E: no\n"]});
        assert_eq!(error(&python), "Traceback:\n  here\nE: no");
        let scala = json!({"ename": "Error", "evalue": "no", "traceback": ["at x"]});
        assert_eq!(error(&scala), "Error: no\nat x");
    }
}
