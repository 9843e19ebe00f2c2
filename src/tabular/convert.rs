//! An Arrow stream made another format, some hundred KiB at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use bytes::Bytes;

use super::writer::Writer;
use super::{Format, Unfit};

/// About how much of a batch is written at once.
const STEP_BYTES: usize = 256 * 1024;
/// The largest message of a stream. Spark makes batches of 10,000 rows.
const MESSAGE_BYTES: usize = 128 << 20;

/// A conversion on its way. Nothing of the stream is trusted.
pub struct Converter {
    format: Format,
    decoder: StreamDecoder,
    input: Buffer,
    /// Bytes that have come since the last batch.
    held: usize,
    writer: Option<Writer>,
    /// A batch, and its first row that is not written.
    batch: Option<(RecordBatch, usize)>,
}

impl Converter {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            decoder: StreamDecoder::new(),
            input: Buffer::from(Bytes::new()),
            held: 0,
            writer: None,
            batch: None,
        }
    }

    /// Takes the stream's next bytes; call it once [`Converter::step`] gives nothing.
    pub fn feed(&mut self, bytes: Bytes) {
        self.held += bytes.len();
        self.input = Buffer::from(bytes);
    }

    /// What there is next of the other format; none: the next bytes are needed.
    ///
    /// # Errors
    /// The format can't hold the table, or the stream is damaged; nothing more comes then.
    pub fn step(&mut self) -> Result<Option<Vec<u8>>, Unfit> {
        sound(|| self.convert())
    }

    fn convert(&mut self) -> Result<Option<Vec<u8>>, Unfit> {
        let mut out = Vec::new();
        loop {
            if let Some((batch, from)) = self.batch.take() {
                self.write_some(batch, from, &mut out)?;
            } else if let Some(batch) = self.decode()? {
                self.held = self.input.len();
                self.batch = Some((batch, 0));
            } else {
                return Ok((!out.is_empty()).then_some(out));
            }
            if out.len() >= STEP_BYTES {
                return Ok(Some(out));
            }
        }
    }

    /// The end of the table, once the stream has ended.
    ///
    /// # Errors
    /// As for [`Converter::step`].
    pub fn finish(mut self) -> Result<Vec<u8>, Unfit> {
        sound(|| {
            self.decoder.finish()?;
            let mut out = Vec::new();
            if let (Some(writer), Some(schema)) = (self.writer, self.decoder.schema()) {
                writer.finish(&schema, &mut out)?;
            }
            Ok(out)
        })
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, Unfit> {
        let batch = self.decoder.decode(&mut self.input)?;
        if self.writer.is_none()
            && let Some(schema) = self.decoder.schema()
        {
            self.writer = Some(Writer::begin(self.format, &schema)?);
        }
        if batch.is_none() && self.held > MESSAGE_BYTES {
            return Err(Unfit(format!(
                "A batch of the result has over {} MiB: set spark.sql.execution.arrow.maxRecordsPerBatch to less than 10000 rows.",
                MESSAGE_BYTES >> 20
            )));
        }
        Ok(batch)
    }

    fn write_some(&mut self, batch: RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let all = batch.num_rows();
        let bytes = batch.get_array_memory_size().max(1);
        let rows = all
            .saturating_mul(STEP_BYTES)
            .div_ceil(bytes)
            .clamp(1, all.max(1));
        let upto = all.min(from + rows);
        writer.write(&batch.slice(from, upto - from), out)?;
        if upto < all {
            self.batch = Some((batch, upto));
        }
        Ok(())
    }
}

/// Arrow's decoder panics over some of what no Spark sends, such as buffers that lie beyond their message.
fn sound<T>(work: impl FnOnce() -> Result<T, Unfit>) -> Result<T, Unfit> {
    let damaged = || Unfit("The result can't be converted: the driver's stream is damaged.".to_owned());
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged()))
}
