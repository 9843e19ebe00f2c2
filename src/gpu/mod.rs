//! GPUs: which there are, who holds them, who waits.
//!
//! Owns: the inventory, what a request may ask for, the lease book, what is seen of the use. Called by `profile`, `turn`, `driver`, `session`,
//! `batch`, `api` and `serve`; calls `config`.

mod ask;
mod book;
#[cfg(test)]
mod book_tests;
mod device;
mod gpus;
mod inventory;
mod mask;
mod nvml;
mod spark;
mod usage;
mod watch;

pub use ask::{Ask, GPUS, MEMORY, Refused, Rules, SPARK_AMOUNT, WHOLE};
pub use book::{Holder, Part, listed, stored};
pub use device::Device;
pub use gpus::{Gpus, Lease, Place, Waiting, Wanted, Watched};
pub use inventory::{Probe, Process, Seen};
pub use mask::Mask;
pub use spark::settle;
pub use usage::{Summary, Usage};
pub use watch::{probe, watch};
