//! systemd's watchdog: told at half of its time that the server lives, as long as that has just been seen.
//!
//! What must answer within that half: the main runtime, by running a task that is new to it; every HTTP worker; and the store's
//! writer. A store that answers with an error is in trouble that a restart does not end, such as a full disk, so it counts as an
//! answer. When one is silent, nothing is told and the log says which; where it stays silent, systemd ends the server and starts
//! the next one, which takes the drivers back.

use std::future::Future;
use std::time::Duration;

use tokio::time::{interval, timeout};
use tracing::{error, info};

use super::notify;
use super::workers::Workers;
use crate::background::Background;

/// Tells systemd until the server begins to stop; does nothing where no watchdog is set (WATCHDOG_USEC). `store` waits until the store's
/// writer has answered.
pub fn watch<F, S>(background: &Background, workers: Workers, store: F)
where
    F: Fn() -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send,
{
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    info!(
        watchdog.limit_ms = limit.as_millis(),
        "systemd watches this server (WatchdogSec=)"
    );
    let tasks = background.clone();
    background.spawn(async move {
        let half = limit / 2;
        let mut ticks = interval(half);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // From here on systemd counts the time of the stop, and workers end one by one.
                () = tasks.draining().cancelled() => return,
            }
            // One that answers late must not make the next round late.
            match silent(&tasks, &workers, &store, half.mul_f32(0.8)).await {
                _ if tasks.draining().is_cancelled() => return,
                None => drop(tasks.blocking(notify::alive).await),
                Some(what) => {
                    error!("{what} does not answer; systemd's watchdog is not told that the server lives")
                }
            }
        }
    });
}

/// What does not answer in time.
async fn silent<F, S>(
    background: &Background,
    workers: &Workers,
    store: &F,
    limit: Duration,
) -> Option<&'static str>
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    let task = background.spawn(async {});
    let (runtime, workers, store) = tokio::join!(
        timeout(limit, task),
        timeout(limit, workers.answer()),
        timeout(limit, store()),
    );
    if !matches!(runtime, Ok(Ok(()))) {
        Some("the main runtime")
    } else if !matches!(workers, Ok(true)) {
        Some("an HTTP worker")
    } else if store.is_err() {
        Some("the store's writer")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_silent_is_named() {
        let background = Background::new();
        let limit = Duration::from_millis(50);
        let workers = Workers::default();
        let answers = || std::future::ready(());
        assert_eq!(
            silent(&background, &workers, &answers, limit).await,
            Some("an HTTP worker"),
            "there is none"
        );
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                workers.join();
                assert_eq!(silent(&background, &workers, &answers, limit).await, None);
                assert_eq!(
                    silent(&background, &workers, &std::future::pending::<()>, limit).await,
                    Some("the store's writer")
                );
            })
            .await;
        drop(local);
        assert_eq!(
            silent(&background, &workers, &answers, limit).await,
            Some("an HTTP worker"),
            "it has ended"
        );
    }
}
