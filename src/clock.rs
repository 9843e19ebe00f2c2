//! The wall clock in the unit of Livy's wire: milliseconds since 1970. It only dates things: what is measured or waited for goes by
//! the monotonic clock (`Instant`), so a wall clock that jumps ends no session. Called by every module; calls none.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in epoch milliseconds; 0 for a clock before 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    });
    now.saturating_add(jump()).max(0)
}

/// How far the fault tests have moved the clock: the milliseconds in the file that FIRESTEEL_TEST_CLOCK names.
#[cfg(feature = "failpoints")]
fn jump() -> i64 {
    let file = std::env::var_os("FIRESTEEL_TEST_CLOCK");
    file.and_then(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(not(feature = "failpoints"))]
fn jump() -> i64 {
    0
}
