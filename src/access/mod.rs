//! What callers may do: rights on sessions (`rights.rs`), acting as somebody else (`impersonation.rs`), and which names and
//! origins requests may come by (`host.rs`, `origin.rs`). Who calls is found out by `authentication`.
//!
//! Pure functions, no types of the HTTP server: `api` has the extractors that call this. May be called by `api`,
//! `authentication` and `main.rs`; calls `config` only.

mod host;
mod impersonation;
mod origin;
mod rights;

pub use host::host_allowed;
pub use impersonation::{Refused, effective, target_user, valid_user};
pub use origin::origin_allowed;
pub use rights::{Action, Caller, Verdict, may};
