//! Batches: an application each, run once by a driver of its own.
//!
//! Owns: the states, one task for each batch that leads it from the queue to its end, the snapshots that readers see, and the
//! registry. Called by `api`; calls `driver`, `cluster`, `store`, `admission`, `idempotency` and `config`. Sessions have the same driver, keeper and
//! queue, and more to do with them.
//!
//! Read in this order: `state`, `life` (what happens when), `remote` (what, when the driver runs in a cluster), `registry`.

mod life;
mod recovery;
mod registry;
mod remote;
mod request;
mod shares;
mod snapshot;
mod state;

pub use crate::driver::{Application, DriverMark, DriverSpec, Resources};
pub use registry::{Batch, Batches, CreateError};
pub use request::NewBatch;
pub use snapshot::Snapshot;
pub use state::BatchState;
