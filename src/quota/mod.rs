//! What each user may use, and what each uses at the moment: sessions and batches that run, their cores, memory and GPUs, bytes of
//! uploads, statements a minute (docs/quotas.md).
//!
//! `limits.rs` says whose limits are which, `cost.rs` what a request costs, `usage.rs` what is in use, `rate.rs` counts statements. Nothing
//! here waits: `admission` does, and is told when something becomes free.
//!
//! Called by `turn` and `admission`, by `session` and `batch` for their costs, by `upload` for its room, and by `api`. Calls `policy` for
//! the names of conf keys, and `config`.

mod cost;
mod limits;
mod quotas;
mod rate;
mod usage;

pub use cost::{Cost, ENDLESS};
pub use limits::{Changes, Limits};
pub use quotas::{Claim, Freed, Lease, Over, Quotas, Report, TooFast};
pub use usage::{Kind, Usage};
