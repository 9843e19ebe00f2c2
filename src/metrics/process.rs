//! The server's own process, as the kernel sees it.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;

use super::table::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};

/// Notes that the server begins.
pub fn begin() {
    started();
}

fn started() -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    };
    *STARTED.get_or_init(now)
}

/// Sets what is told of the process. Reads `/proc`; what can't be read stays as it was.
pub fn look_at_process() {
    PROCESS_START.set(started());
    if let Ok(used) = getrusage(UsageWho::RUSAGE_SELF) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "microseconds, of which it takes centuries to lose one"
        )]
        let seconds = (used.user_time() + used.system_time()).num_microseconds() as f64 / 1e6;
        PROCESS_CPU.inc_by((seconds - PROCESS_CPU.get()).max(0.0));
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<i64>().ok()
        };
        // The kernel's kB are KiB.
        PROCESS_RESIDENT.set(number("VmRSS:").unwrap_or(0) * 1024);
        PROCESS_VIRTUAL.set(number("VmSize:").unwrap_or(0) * 1024);
        PROCESS_THREADS.set(number("Threads:").unwrap_or(0));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the one that reads the directory.
        PROCESS_FDS.set(i64::try_from(open.count()).unwrap_or(i64::MAX) - 1);
    }
    if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        PROCESS_MAX_FDS.set(i64::try_from(most).unwrap_or(i64::MAX));
    }
}
