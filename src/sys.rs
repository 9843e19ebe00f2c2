//! The one module with `unsafe` code, each use with the reason why it is sound. Called by `driver`; calls none.
#![expect(unsafe_code, reason = "the one place for it; each use says why it is sound")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

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

/// Lets a child be reached by every signal, though its parent takes some of them from a descriptor and so blocks them.
pub fn unblock_signals(command: &mut Command) {
    // SAFETY: between fork and exec only one async-signal-safe call is made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            Ok(sigprocmask(
                SigmaskHow::SIG_SETMASK,
                Some(&SigSet::empty()),
                None,
            )?)
        });
    }
}
