//! What systemd is told (`Type=notify`). Without NOTIFY_SOCKET in the environment all of it is nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The server has begun with `what`, for which it may take `bound` more.
pub fn starting(what: &str, bound: Duration) {
    tell(&[
        NotifyState::Status(what),
        NotifyState::ExtendTimeoutUsec(micros(bound)),
    ]);
}

/// Requests are answered.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The server ends, within `bound`.
pub fn stopping(bound: Duration) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: open requests are answered"),
        NotifyState::ExtendTimeoutUsec(micros(bound)),
    ]);
}

/// The server lives.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn micros(bound: Duration) -> u32 {
    u32::try_from(bound.as_micros()).unwrap_or(u32::MAX)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd could not be told (NOTIFY_SOCKET)");
    }
}
