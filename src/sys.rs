//! The one module with `unsafe` code, each use with the reason why it is sound. Called by `driver`; calls none.
#![expect(unsafe_code, reason = "the one place for it; each use says why it is sound")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a descriptor with the runtime's poller.
///
/// # Errors
/// The poller does not take it.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `AsyncFd` owns the descriptor from here on, and `OwnedFd` gives the same open descriptor for as long as it
    // lives; nothing else closes it.
    unsafe { Ok(AsyncFd::register(descriptor)?) }
}
