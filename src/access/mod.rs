//! What callers may do: who they are to the configuration (`caller.rs`, `names.rs`), their rights on sessions (`rights.rs`), acting as somebody
//! else (`impersonation.rs`), who may use which cluster (`clusters.rs`), and which names and origins requests may come by (`host.rs`, `origin.rs`). Who calls is found out by
//! `authentication`.
//!
//! Pure functions, no types of the HTTP server: `api` has the extractors that call this. May be called by `api`,
//! `authentication` and `main.rs`; calls `ownership` and `config` only.

mod caller;
mod clusters;
mod host;
mod impersonation;
mod names;
mod origin;
mod rights;

pub use caller::Caller;
pub use clusters::{NotInCluster, may_use_cluster};
pub use host::host_allowed;
pub use impersonation::{Refused, effective, target_user};
pub use names::{user_name, valid_group, valid_user};
pub use origin::{cors_allowed, origin_allowed};
pub use rights::{Action, Reach, Verdict, may};
