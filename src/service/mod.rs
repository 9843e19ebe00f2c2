//! The server as a service of its host: the lock on its state directory, its listening sockets and TLS, what it tells systemd and how it
//! proves that it lives, whom its files are closed to, the connections of clients, how many there may be and which must be answered before it ends, and what a container means for its drivers.
//!
//! Called by `serve` and `main`; calls `driver` (names of processes) and `config`.

mod connections;
mod container;
mod drain;
mod http;
mod lock;
pub mod notify;
mod socket;
mod tls;
mod traffic;
mod umask;
mod watchdog;
mod workers;

pub use connections::{Bounds, Connections};
pub use container::notice;
pub use drain::drain;
pub use http::{Doors, serve};
pub use lock::{InUse, StateDir};
pub use socket::{Listening, NoSocket, handed_in, listen};
pub use tls::{Tls, TlsError};
pub use traffic::Traffic;
pub use umask::keep_files_private;
pub use watchdog::watch;
pub use workers::Workers;
