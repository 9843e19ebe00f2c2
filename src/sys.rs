//! The one module with `unsafe` code, each use with the reason why it is sound. `gssapi.rs` is a library that is
//! loaded at run time. Called by `authentication`, `driver`, `serve` and `service`; calls none.
#![expect(unsafe_code, reason = "the one place for it; each use says why it is sound")]

pub mod gssapi;

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

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

/// Has memory of 1 MiB or more mapped for itself, so that it goes back to the system when it is freed. Left to itself, glibc takes
/// large blocks from its heaps once it has seen one freed, and keeps them.
pub fn return_large_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator's, which may be set at any time.
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Takes the descriptors that a service manager has handed in (LISTEN_PID, LISTEN_FDS), and those variables out of the
/// environment. Close-on-exec is set on each. The second call gives none.
///
/// # Errors
/// The variables can't be read, name a descriptor that is not open, or there is a second thread already.
pub fn take_listen_fds() -> io::Result<Vec<OwnedFd>> {
    if std::fs::read_dir("/proc/self/task")?.count() > 1 {
        return Err(io::Error::other("there are threads already"));
    }
    // SAFETY: no other thread reads or changes the environment, because there is none.
    let descriptors = unsafe { sd_notify::listen_fds_with_names_and_unset_env()? };
    let owned = descriptors.map(|(descriptor, _)| {
        // SAFETY: it is open, which setting close-on-exec has shown, and it was handed to this very process (LISTEN_PID), which
        // has opened nothing else under its number. The variables are gone, so nobody takes it twice.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    });
    Ok(owned.collect())
}
