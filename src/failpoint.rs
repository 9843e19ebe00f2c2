//! Points at which the fault tests kill the server (`tests/faults/README.md` lists them). Without the feature `failpoints`
//! they are nothing. Called by every module; calls none.

/// Ends this process as `kill -9` does: nothing is flushed, dropped or told.
pub fn die() -> ! {
    // It can't fail for this very process; where it could, ending at once is the next best.
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    std::process::abort()
}

/// A point of this name. With the feature `failpoints` and `FAILPOINTS="NAME=3*off->return"` in the environment, the
/// fourth to come here dies.
#[macro_export]
macro_rules! kill_point {
    ($name:expr) => {
        fail::fail_point!($name, |_| $crate::failpoint::die())
    };
}
