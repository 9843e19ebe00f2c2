//! Tables in the formats that clients ask for: an Arrow stream made CSV, JSON lines or Parquet as it comes, and JSON values made
//! an Arrow table.
//!
//! Owns: what each format can hold, and how much of a result is in memory at once. Called by `api`; calls nobody. It blocks for as
//! long as some hundred KiB take to convert: not on a worker.

mod convert;
mod format;
mod stored;
#[cfg(test)]
mod tests;
mod writer;

pub use convert::Converter;
pub use format::Format;
pub use stored::convert as convert_stored;

/// Why a table is not to be had in a format; a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

impl From<arrow_schema::ArrowError> for Unfit {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self(format!("The result can't be converted: {error}."))
    }
}

impl From<parquet::errors::ParquetError> for Unfit {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self(format!("The result can't be converted: {error}."))
    }
}
