//! The wall clock in the unit of Livy's wire: milliseconds since 1970. Called by every module; calls none.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in epoch milliseconds; 0 for a clock before 1970.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}
