//! What the server's own files are closed to.

use nix::sys::stat::{Mode, umask};

/// Has whatever this process makes from now on be its user's alone. Gives the umask that it was started with, which drivers get unless they have users of
/// their own.
#[must_use]
pub fn keep_files_private() -> u32 {
    umask(Mode::S_IRWXG | Mode::S_IRWXO).bits()
}
