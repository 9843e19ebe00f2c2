//! Why an upload is not taken.

use crate::config::Size;

/// Why an upload is not taken. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is longer than one may be.
    #[error("The upload is over {0} (upload.max_bytes).")]
    TooLarge(Size),
    /// Its owner's uploads have no room for it.
    #[error(
        "Your uploads would be over {0} together (upload.owner_bytes): delete some with DELETE /uploads/ID."
    )]
    OwnerFull(Size),
    /// Its owner's quota has no room for it.
    #[error(
        "Your uploads have {used} of {most} and there is no room for this one ({by}): delete some with DELETE /uploads/ID."
    )]
    OverQuota {
        /// Bytes that the owner's uploads count for.
        used: String,
        /// The most that they may have.
        most: String,
        /// The quota.
        by: String,
    },
    /// All uploads together have none.
    #[error("The server has no room for further uploads (upload.total_bytes). Try again later.")]
    Full,
    /// As many are being received as may be.
    #[error("{0} uploads are being received (upload.at_once). Try again later.")]
    Busy(usize),
    /// Whoever sent it left, or the server stops.
    #[error("The upload was not finished.")]
    Unfinished,
    /// The disk says no.
    #[error("The upload can't be written: {0}.")]
    Io(#[from] std::io::Error),
}
