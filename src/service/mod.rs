//! The server as a service of its host: the lock on its state directory, its listening socket, what it tells systemd and how it
//! proves that it lives, the requests that must be answered before it ends, and what a container means for its drivers.
//!
//! Called by `serve`; calls `driver` (names of processes) and `config`.

mod lock;

pub use lock::{InUse, StateDir};
