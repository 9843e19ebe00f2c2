//! Writes batches of one schema in a format.

use std::mem::take;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{Format, Unfit};

/// A Parquet row group is closed at so many bytes in memory: they are all held until then.
const ROW_GROUP_BYTES: usize = 8 << 20;

/// One table being written.
pub(super) enum Writer {
    Arrow(Box<StreamWriter<Vec<u8>>>),
    /// True until the header has been written.
    Csv(bool),
    JsonLines,
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Writer {
    /// Begins a table.
    pub fn begin(format: Format, schema: &SchemaRef) -> Result<Self, Unfit> {
        format.check(schema)?;
        Ok(match format {
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
            Format::Csv => Self::Csv(true),
            Format::JsonLines => Self::JsonLines,
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
        })
    }

    /// Adds a batch to `out`, or keeps it for later.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Self::Arrow(writer) => {
                writer.write(batch)?;
                out.append(writer.get_mut());
            }
            Self::Csv(with_header) => {
                let builder = arrow_csv::WriterBuilder::new().with_header(take(with_header));
                builder.build(out).write(batch)?;
            }
            Self::JsonLines => {
                let builder = JsonBuilder::new().with_explicit_nulls(true);
                builder.build::<_, LineDelimited>(out).write(batch)?;
            }
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush()?;
                }
                writer.sync().map_err(|error| Unfit(error.to_string()))?;
                out.append(writer.inner_mut());
            }
        }
        Ok(())
    }

    /// Ends the table; `schema` is the one that it began with.
    pub fn finish(mut self, schema: &SchemaRef, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Self::Arrow(mut writer) => {
                writer.finish()?;
                out.append(writer.get_mut());
            }
            Self::Csv(true) => self.write(&RecordBatch::new_empty(SchemaRef::clone(schema)), out)?,
            Self::Csv(false) | Self::JsonLines => {}
            Self::Parquet(writer) => out.append(&mut writer.into_inner()?),
        }
        Ok(())
    }
}
