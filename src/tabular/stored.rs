//! Tables in the outputs of statements: `%table` and `%json` values, which are JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_json::ReaderBuilder;
use arrow_json::reader::infer_json_schema_from_iterator;
use arrow_schema::{ArrowError, Schema};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::writer::Writer;
use super::{Format, Unfit};

/// Rows that are converted at once.
const ROWS: usize = 1024;
const TABLE: &str = "application/vnd.livy.table.v1+json";
const JSON: &str = "application/json";

/// Livy's output object.
#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, default)]
    data: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[derive(Deserialize)]
struct Table<'a> {
    headers: Vec<Header>,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
}

/// The table in an output, or its first `limit` rows, in a format. The columns' types are those of the values: whole numbers, numbers, true and false, strings,
/// arrays and structs of them.
///
/// # Errors
/// There is no table in the output, or the format can't hold it.
pub fn convert(output: &str, format: Format, limit: Option<usize>) -> Result<Vec<u8>, Unfit> {
    let output: Output<'_> = serde_json::from_str(output).map_err(|_| none())?;
    if let Some(table) = output.data.get(TABLE) {
        let table: Table<'_> = serde_json::from_str(table.get()).map_err(|_| none())?;
        let names = table.headers.into_iter().map(|header| header.name).collect();
        return write(first(&table.data, limit), Some(names), format);
    }
    let value = output.data.get(JSON).ok_or_else(none)?;
    let rows: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| none())?;
    write(first(&rows, limit), None, format)
}

fn first<T>(rows: &[T], limit: Option<usize>) -> &[T] {
    &rows[..limit.unwrap_or(usize::MAX).min(rows.len())]
}

fn none() -> Unfit {
    Unfit(
        "The statement has no table. SQL statements have one, and values of %table and of %json where those are lists of objects \
         or of lists."
            .to_owned(),
    )
}

fn write(rows: &[&RawValue], names: Option<Vec<String>>, format: Format) -> Result<Vec<u8>, Unfit> {
    let mut order = Order::default();
    let seen = rows.iter().map(|row| {
        let object = object(row).map_err(|unfit| ArrowError::JsonError(unfit.0))?;
        order.see(&object);
        Ok::<_, ArrowError>(Value::Object(object))
    });
    let found = infer_json_schema_from_iterator(seen).map_err(|error| match error {
        ArrowError::JsonError(reason) => Unfit(reason),
        error => error.into(),
    })?;
    let schema = Arc::new(order.of(&found, names.as_ref().map(Vec::len)));
    let shown = match &names {
        Some(names) => Arc::new(renamed(&schema, names)),
        None => Arc::clone(&schema),
    };
    let mut out = Vec::new();
    let mut writer = Writer::begin(format, &shown)?;
    // Where values of a column differ in type they are strings.
    let reader = ReaderBuilder::new(schema).with_coerce_primitive(true);
    let mut decoder = reader.with_batch_size(ROWS).build_decoder()?;
    for some in rows.chunks(ROWS) {
        let objects = some
            .iter()
            .map(|row| object(row))
            .collect::<Result<Vec<_>, _>>()?;
        // As text: the decoder knows nothing of numbers that keep all their digits.
        let mut text = Vec::new();
        for object in &objects {
            serde_json::to_writer(&mut text, object).map_err(|error| Unfit(error.to_string()))?;
            text.push(b'\n');
        }
        decoder.decode(&text)?;
        if let Some(batch) = decoder.flush()? {
            let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            let named = RecordBatch::try_new_with_options(Arc::clone(&shown), columns, &rows)?;
            writer.write(&named, &mut out)?;
        }
    }
    writer.finish(&shown, &mut out)?;
    Ok(out)
}

/// A row as an object; a list's fields are named by their positions.
fn object(row: &RawValue) -> Result<Map<String, Value>, Unfit> {
    match serde_json::from_str(row.get()) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Array(items)) => {
            let named = items.into_iter().enumerate();
            Ok(named.map(|(at, item)| (at.to_string(), item)).collect())
        }
        _ => Err(none()),
    }
}

/// Columns in the order in which they came first.
#[derive(Default)]
struct Order {
    names: Vec<String>,
    known: std::collections::HashSet<String>,
}

impl Order {
    fn see(&mut self, row: &Map<String, Value>) {
        for name in row.keys() {
            if self.known.insert(name.clone()) {
                self.names.push(name.clone());
            }
        }
    }

    /// The schema with its columns in order; of a table with headers exactly as many.
    fn of(&self, found: &Schema, columns: Option<usize>) -> Schema {
        let positions = columns.map(|count| (0..count).map(|at| at.to_string()).collect());
        let names: &Vec<String> = positions.as_ref().unwrap_or(&self.names);
        let field = |name: &String| match found.field_with_name(name) {
            Ok(field) => field.clone(),
            Err(_) => arrow_schema::Field::new(name, arrow_schema::DataType::Null, true),
        };
        Schema::new(names.iter().map(field).collect::<Vec<_>>())
    }
}

fn renamed(schema: &Schema, names: &[String]) -> Schema {
    let fields = schema.fields().iter().zip(names);
    Schema::new(
        fields
            .map(|(field, name)| field.as_ref().clone().with_name(name))
            .collect::<Vec<_>>(),
    )
}
