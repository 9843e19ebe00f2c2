//! What is left of drivers: those of an earlier server that nobody needs any more, and the directories of those that have ended.

use std::time::Duration;

use tracing::warn;

use super::run_dir::RunDir;
use crate::background::Background;

/// How long such a driver may take to end before its directory is left for the next start.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LEFTOVER_POLL: Duration = Duration::from_millis(100);

/// Ends a driver by its keeper, whose name can't be another process's, and clears its directory. False where it does not end.
pub async fn end_leftover(run_dir: &RunDir, deleted: bool, background: &Background) -> bool {
    if !run_dir.withdraw_launch()
        && let Some(keeper) = run_dir.keeper()
    {
        keeper.terminate();
        let gone = async {
            while keeper.exists() {
                tokio::time::sleep(LEFTOVER_POLL).await;
            }
        };
        let gone = tokio::select! {
            gone = tokio::time::timeout(LEFTOVER_TIMEOUT, gone) => gone.is_ok(),
            () = background.stopping().cancelled() => false,
        };
        if !gone {
            warn!(run_dir = %run_dir.path().display(), "an earlier server's driver does not end");
            return false;
        }
    }
    clear(run_dir.clone(), deleted, background).await
}

/// Removes what a driver that has ended has on disk; its log stays unless it was `deleted`. False where it can't be removed.
pub async fn clear(run_dir: RunDir, deleted: bool, background: &Background) -> bool {
    let remove = move || {
        let removed = if deleted {
            run_dir.remove()
        } else {
            run_dir.keep_log()
        };
        removed
            .inspect_err(|error| {
                warn!(%error, run_dir = %run_dir.path().display(), "a run directory could not be cleared");
            })
            .is_ok()
    };
    background.blocking(remove).await.unwrap_or(false)
}
