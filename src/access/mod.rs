//! Who calls, and what callers may do: rights on sessions (`rights.rs`), acting as somebody else (`impersonation.rs`), the
//! file of users (`basic.rs`, `passwd.rs`), and which names and origins requests may come by (`host.rs`, `origin.rs`).
//!
//! No types of the HTTP server: `api` has the extractors that call this. May be called by `api` and `main.rs`; calls
//! `config` only.

mod basic;
mod host;
mod impersonation;
mod origin;
mod passwd;
mod rights;

pub use basic::{BasicFile, BasicFileError};
pub use host::host_allowed;
pub use impersonation::{Refused, effective, target_user, valid_user};
pub use origin::origin_allowed;
pub use passwd::set_password;
pub use rights::{Action, Caller, Verdict, may};
