//! Streams and values made other formats.

use std::sync::Arc;

use arrow_array::{Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn batch(from: i64, rows: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(from..from + rows);
    let texts =
        StringArray::from_iter((from..from + rows).map(|id| (id % 3 > 0).then(|| format!("a,\"{id}\"\n"))));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as _, false),
        ("text", Arc::new(texts) as _, true),
    ])
    .unwrap()
}

fn stream(batches: &[RecordBatch], schema: &Schema) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn converted(stream: &[u8], format: Format, piece: usize) -> Result<Vec<u8>, Unfit> {
    let mut converter = Converter::new(format);
    let mut out = Vec::new();
    for piece in stream.chunks(piece) {
        converter.feed(Bytes::copy_from_slice(piece));
        while let Some(mut more) = converter.step()? {
            out.append(&mut more);
        }
    }
    out.append(&mut converter.finish()?);
    Ok(out)
}

#[test]
fn csv_and_json_lines_have_all_rows_however_the_stream_is_cut() {
    let batches = [batch(0, 40_000), batch(40_000, 1), batch(40_001, 0)];
    let stream = stream(&batches, &batches[0].schema());
    let csv = converted(&stream, Format::Csv, 100_000).unwrap();
    assert!(csv.starts_with(b"id,text\n0,\n1,\"a,\"\"1\"\"\n\"\n"));
    for piece in [7_777, usize::MAX] {
        assert_eq!(converted(&stream, Format::Csv, piece).unwrap(), csv);
    }
    let json = String::from_utf8(converted(&stream, Format::JsonLines, 64 * 1024).unwrap()).unwrap();
    assert_eq!(json.lines().count(), 40_001);
    assert_eq!(json.lines().next(), Some(r#"{"id":0,"text":null}"#));
}

#[test]
fn no_rows_are_a_header() {
    let schema = batch(0, 1).schema();
    let stream = stream(&[], &schema);
    assert_eq!(converted(&stream, Format::Csv, 10).unwrap(), b"id,text\n");
    assert_eq!(converted(&stream, Format::JsonLines, 10).unwrap(), b"");
    assert!(
        converted(&stream, Format::Parquet, 10)
            .unwrap()
            .ends_with(b"PAR1")
    );
}

#[test]
fn what_a_format_can_not_hold_is_told() {
    let list = ListArray::new_null(Arc::new(Field::new_list_field(DataType::Int64, true)), 1);
    let nested = RecordBatch::try_from_iter([("list", Arc::new(list) as _)]).unwrap();
    let told = converted(
        &stream(std::slice::from_ref(&nested), &nested.schema()),
        Format::Csv,
        100,
    )
    .unwrap_err();
    assert!(told.0.contains("The column list has arrays"), "{told}");
    let one = Arc::new(Float64Array::from(vec![1.0]));
    let schema = Schema::new(vec![
        Field::new("a", DataType::Float64, true),
        Field::new("a", DataType::Float64, true),
    ]);
    let twice = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&one) as _, one as _]).unwrap();
    let bytes = stream(std::slice::from_ref(&twice), &twice.schema());
    for format in [Format::JsonLines, Format::Parquet] {
        let told = converted(&bytes, format, 100).unwrap_err();
        assert!(told.0.contains("two columns with the name a"), "{told}");
    }
    assert_eq!(converted(&bytes, Format::Csv, 100).unwrap(), b"a,a\n1.0,1.0\n");
}

#[test]
fn a_stream_that_was_cut_is_no_result() {
    let batch = batch(0, 100);
    let stream = stream(std::slice::from_ref(&batch), &batch.schema());
    assert!(converted(&stream[..stream.len() - 20], Format::Csv, 1000).is_err());
}

proptest! {
    /// The driver is not trusted.
    #[test]
    fn a_damaged_stream_is_an_error_or_another_table(at: prop::sample::Index, byte: u8) {
        let batch = batch(0, 50);
        let mut stream = stream(std::slice::from_ref(&batch), &batch.schema());
        let at = at.index(stream.len());
        stream[at] = byte;
        for format in [Format::Csv, Format::JsonLines] {
            // Neither reads for ever nor takes the memory that a length claims.
            let _ = converted(&stream, format, 64);
        }
    }
}

fn stored(output: &str, format: Format) -> Result<String, Unfit> {
    convert_stored(output, format, None).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn values_are_tables() {
    let table = r#"{"status":"ok","data":{"application/vnd.livy.table.v1+json":
        {"headers":[{"name":"b","type":"BIGINT_TYPE"},{"name":"a","type":"STRING_TYPE"}],"data":[[1,"x"],[2,null]]}}}"#;
    assert_eq!(stored(table, Format::Csv).unwrap(), "b,a\n1,x\n2,\n");
    let json = r#"{"data":{"application/json":[{"z":1,"a":[1.5]},{"a":[],"m":true}]}}"#;
    let lines = stored(json, Format::JsonLines).unwrap();
    assert_eq!(
        lines,
        "{\"z\":1,\"a\":[1.5],\"m\":null}\n{\"z\":null,\"a\":[],\"m\":true}\n"
    );
    let mixed = r#"{"data":{"application/json":[[1,"x"],["y",2]]}}"#;
    assert_eq!(stored(mixed, Format::Csv).unwrap(), "0,1\n1,x\ny,2\n");
    let limited = convert_stored(mixed, Format::Csv, Some(1)).unwrap();
    assert_eq!(limited, b"0,1\n1,x\n");
    for none in [
        r#"{"data":{"text/plain":"1"}}"#,
        r#"{"data":{"application/json":{"a":1}}}"#,
        "{}",
    ] {
        assert!(stored(none, Format::Csv).unwrap_err().0.contains("no table"));
    }
}
