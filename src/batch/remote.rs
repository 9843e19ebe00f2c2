//! A batch whose driver runs in a cluster: its submit ends once the application is there, and from then on the cluster manager says what
//! becomes of it. What it says is followed, shown, and ended by its word alone.

use std::sync::Arc;

use tokio::time::sleep;
use uuid::Uuid;

use super::life::{Ask, Fate, Life};
use super::snapshot::Shown;
use super::state::BatchState;
use crate::cluster::{Application, Cluster, Ending, LATE, LOOK, Outcome, Report, State, Watched};
use crate::driver::{PodLog, fetch_log};

/// The most lines of a batch's log about why nothing of it runs yet.
const REASONS: usize = 20;

impl Life {
    /// Whether the application goes on when its submit has ended.
    pub(super) fn is_remote(&self) -> bool {
        self.request.is_remote(&self.shared.drivers)
    }

    /// Whom to ask about the application, where somebody is.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.shared.drivers.cluster(&self.request.driver)
    }

    /// Has the driver's application watched, where somebody can be asked about it.
    pub(super) fn watch_application(&self, driver: Uuid) -> Option<Watched> {
        Some(self.cluster()?.watch(driver))
    }

    /// Whether the application is in a cluster that is not configured any more: nobody can be asked about it, or have it ended.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let is_configured = self.shared.drivers.check_cluster(&self.request.driver).is_ok();
        self.is_remote() && !is_configured
    }

    /// Waits until the batch is to end or the server stops. What becomes of it then is left to a server that has its cluster again.
    pub(super) async fn wait_out_of_reach(&mut self, fate: &Fate) {
        let cluster = self.request.driver.cluster.clone().unwrap_or_default();
        self.reason(format!(
            "What has become of the application is not known: its cluster {cluster:?} is not configured any more (clusters.{cluster})."
        ));
        let stopping = self.shared.background.stopping().clone();
        while !fate.deleted && fate.why.is_none() {
            tokio::select! {
                Some(ask) = self.asks.recv() => match ask {
                    Ask::Note(line) => self.tell(line),
                    Ask::End(_) | Ask::Delete => break,
                },
                () = stopping.cancelled() => break,
            }
        }
    }

    /// The cluster manager's name.
    fn manager_name(&self) -> &'static str {
        self.cluster().map_or("the cluster", Cluster::name)
    }

    /// Shows what the cluster manager says.
    pub(super) async fn see(&mut self, report: &Report) {
        if let Some(why) = &report.trouble {
            self.reason(format!("What has become of the application is not known: {why}."));
        }
        let Some(application) = &report.application else {
            return;
        };
        let shown = Shown {
            id: application.id.clone(),
            user: application.user.clone(),
            links: application.links.clone(),
        };
        if self.snapshot.application.as_deref() != Some(&shown) {
            self.snapshot.application = Some(Arc::new(shown));
            self.note_application();
            self.publish();
        }
        if !self.is_remote() {
            return;
        }
        match application.state {
            State::Starting => {
                if let Some(said) = application.reason() {
                    self.reason(said);
                }
            }
            State::Running if self.snapshot.state == BatchState::Starting => {
                self.become_(BatchState::Running).await;
            }
            State::Running | State::Ended(_) => {}
        }
    }

    /// A line about why nothing happens, once.
    fn reason(&mut self, line: String) {
        if self.reasons < REASONS && !self.snapshot.notes.contains(&line) {
            self.reasons += 1;
            self.tell(line);
        }
    }

    /// Follows what the driver writes, where that can be read while it runs.
    fn follow_log(&mut self, report: &Report) {
        if let (None, Some(application), Some(cluster), Some(run_dir)) = (
            &self.pod_log,
            &report.application,
            self.cluster(),
            &self.snapshot.run_dir,
        ) {
            let max_bytes = self.shared.config.log.max_bytes.bytes();
            let background = &self.shared.background;
            self.pod_log = PodLog::of_running(cluster, application, run_dir, max_bytes, background);
        }
    }

    /// Follows the application from the end of its submit to its own; it is killed once it is to end. None: the server stops, and it
    /// goes on; else as it was last, none where the cluster manager does not know it.
    pub(super) async fn follow(
        &mut self,
        watched: &mut Watched,
        fate: &mut Fate,
    ) -> Option<Option<Arc<Application>>> {
        let stopping = self.shared.background.stopping().clone();
        let cluster = self.cluster().cloned();
        let mut ending = Ending::default();
        loop {
            let report = watched.report();
            if !fate.deleted {
                self.see(&report).await;
            }
            self.follow_log(&report);
            let is_to_end = fate.deleted || fate.why.is_some();
            let patience = match fate.code() == Some(0) && !is_to_end {
                true => self.shared.config.cluster.lookup_timeout.get(),
                false => LATE,
            };
            match (&report.application, &cluster) {
                (Some(application), _) if application.outcome().is_some() => {
                    return Some(report.application);
                }
                _ if ending.is_gone(&report, patience) => return Some(None),
                (Some(application), Some(cluster)) if is_to_end && report.trouble.is_none() => {
                    ending.kill(cluster, application).await;
                }
                _ => {}
            }
            tokio::select! {
                () = watched.changed() => {}
                () = sleep(LOOK) => {}
                Some(ask) = self.asks.recv() => match ask {
                    Ask::Note(line) => self.tell(line),
                    Ask::End(reason) => fate.why = fate.why.take().or(Some(reason)),
                    Ask::Delete => fate.deleted = true,
                },
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// Tells how an application ended, by its cluster manager's word.
    pub(super) async fn ended_remotely(&mut self, fate: Fate, application: Option<Arc<Application>>) {
        let name = self.manager_name();
        let Some(application) = application else {
            return match fate.why {
                Some(why) => self.end(BatchState::Killed, None, Some(why)).await,
                None if fate.code() == Some(0) => {
                    let lost = self.cluster().map_or("it is lost", Cluster::lost);
                    let why = match self.snapshot.application.is_some() {
                        true => format!("{name} does not know the application any more: {lost}."),
                        false => format!("{name} does not know the application that was submitted."),
                    };
                    self.end(BatchState::Dead, None, Some(why)).await;
                }
                None => self.ended(fate).await,
            };
        };
        // A submit to Kubernetes that fails halfway deletes the pod that it has made.
        let submit_failed = fate.code().is_some_and(|code| code != 0);
        if submit_failed && application.place.is_some() && application.outcome() == Some(Outcome::Killed) {
            return self.ended(fate).await;
        }
        // A server that is ending waits for no node.
        let exception = match self.shared.background.draining().is_cancelled() {
            true => None,
            false => self.fetch_log(&application).await,
        };
        let said = application.sentence();
        let quoted = said.as_deref().map_or(String::new(), |said| format!(": {said}"));
        let quoted = quoted.trim_end_matches('.');
        let code = application.exit_code;
        match (fate.why, application.outcome()) {
            (_, Some(Outcome::Success)) => self.end(BatchState::Success, code, None).await,
            (Some(why), _) => self.end(BatchState::Killed, code, Some(why)).await,
            (None, Some(Outcome::Killed)) => {
                let why = format!("The application was killed in {name}{quoted}.");
                self.end(BatchState::Killed, code, Some(why)).await;
            }
            (None, _) => {
                let why = match exception.filter(|_| !application.is_decisive) {
                    Some(exception) => format!("The application failed: {exception}"),
                    None => format!("The application failed{quoted}."),
                };
                self.end(BatchState::Dead, code, Some(why)).await;
            }
        }
    }

    /// Puts what the driver wrote into the batch's log, or where it is; gives the last exception in it.
    async fn fetch_log(&mut self, application: &Application) -> Option<String> {
        let (cluster, run_dir) = (self.cluster().cloned()?, self.snapshot.run_dir.clone()?);
        let max_bytes = self.shared.config.log.max_bytes.bytes();
        let pod_log = self.pod_log.take();
        let background = &self.shared.background;
        let kept = fetch_log(&cluster, application, pod_log, run_dir, max_bytes, background).await;
        kept.unwrap_or_else(|why| {
            self.tell(format!("The driver's log is not here: {why}"));
            None
        })
    }
}
