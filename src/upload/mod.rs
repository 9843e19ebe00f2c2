//! Uploads: files that clients send, kept until no live session or batch refers to them.
//!
//! Owns `STATE_DIR/uploads`, who may use what lies there, how much room it may take, and when it goes. Called by `api` and
//! `serve`; calls `config`, `background` and `clock`. It knows nothing of HTTP, nor what sessions and batches are: `serve`
//! tells it which uploads they refer to.
//!
//! Read in this order: `directory` (what lies on the disk), `room` (how much), `receiving` (how one comes), `registry`
//! (which there are, and when they go).

mod directory;
mod error;
mod receiving;
mod registry;
mod room;

pub use directory::Upload;
pub use error::UploadError;
pub use receiving::Receiving;
pub use registry::{Claim, InUse, Uploads};
