//! The end of applications: asked for until the cluster manager says that it has come.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Application, Cluster, Report};

/// How long after its submit was ended an application may still turn up.
pub const LATE: Duration = Duration::from_secs(5);
/// How long one that was to be killed may go on before that is asked for again.
const KILL_AGAIN: Duration = Duration::from_secs(5);
/// How often is looked without news.
pub const LOOK: Duration = Duration::from_secs(1);

/// What a cluster manager has made of an application that must end or has ended.
#[derive(Debug)]
pub struct Ending {
    since: Instant,
    absent: Option<Instant>,
    killed: Option<Instant>,
}

impl Default for Ending {
    /// Begins now.
    fn default() -> Self {
        Self {
            since: Instant::now(),
            absent: None,
            killed: None,
        }
    }
}

impl Ending {
    /// Whether the cluster manager has not known it for so long, since this was begun and since it was seen last.
    pub fn is_gone(&mut self, report: &Report, patience: Duration) -> bool {
        let Some(asked) = report.absent else {
            self.absent = None;
            return false;
        };
        let since = *self.absent.get_or_insert(match report.application {
            Some(_) => asked,
            None => self.since,
        });
        asked >= since.max(self.since) + patience
    }

    /// Has it killed, now and then again.
    pub async fn kill(&mut self, cluster: &Cluster, application: &Application) {
        if self.killed.is_none_or(|at| at.elapsed() >= KILL_AGAIN) {
            self.killed = Some(Instant::now());
            match cluster.kill(application).await {
                Ok(()) => info!(application.id, "an application is being killed"),
                Err(why) => warn!(application.id, "an application could not be killed: {why}"),
            }
        }
    }
}

impl Cluster {
    /// Sees to it that a driver's application ends, wherever it has got to, and gives it as it was seen last, where it was. None: `stopping` came
    /// before that is sure. Cancel safe.
    pub async fn end(&self, driver: Uuid, stopping: &CancellationToken) -> Option<Option<Arc<Application>>> {
        let mut watched = self.watch(driver);
        let mut ending = Ending::default();
        loop {
            let report = watched.report();
            match &report.application {
                Some(application) if application.outcome().is_some() => return Some(report.application),
                _ if ending.is_gone(&report, LATE) => return Some(report.application),
                Some(application) if report.trouble.is_none() => ending.kill(self, application).await,
                _ => {}
            }
            tokio::select! {
                () = watched.changed() => {}
                () = sleep(LOOK) => {}
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// Ends the applications of an earlier server that nobody has: told by their tag, and watched by nobody. Before all drivers are taken back nobody
    /// knows which they are.
    pub async fn end_strays(&self, stopping: &CancellationToken) {
        let strays = tokio::select! {
            strays = self.strays() => strays,
            () = stopping.cancelled() => return,
        };
        for (driver, application) in strays {
            warn!(application.id, "an application that nobody has is ended");
            self.end(driver, stopping).await;
        }
        tokio::select! {
            () = self.clear_strays() => {}
            () = stopping.cancelled() => {}
        }
    }
}
