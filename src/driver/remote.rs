//! A session's driver that runs in a cluster: its submit ends once the application is there, and from then on the cluster manager says
//! what becomes of it. What it says is told, and it is ended by its word alone.
//!
//! Called by `supervise`; calls `cluster` and `package`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::diagnosis::exception_in;
use super::event::DriverEvent;
use super::log::{self, Segments};
use super::package;
use super::pod_log::PodLog;
use super::run_dir::{Exit, RunDir};
use crate::background::Background;
use crate::cluster::{
    Application, Cluster, Ending, LATE, LOOK, Links, Outcome, Refused, Report, State, Watched,
};
use crate::config::Config;

/// The most lines of a session's log about why nothing of it runs yet.
const REASONS: usize = 20;
/// How YARN quotes what a driver's main class has thrown.
const THROWN: &str = "User class threw exception: ";
/// A driver's streams.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// What is known of a driver's application.
pub(super) struct Remote {
    id: Uuid,
    cluster: Cluster,
    watched: Watched,
    ending: Ending,
    lookup_timeout: Duration,
    /// How its submit ended, once it has.
    submit: Option<Option<Exit>>,
    /// Whether somebody wants it to end.
    pub is_to_end: bool,
    told: Option<(String, bool, Links)>,
    reasons: Vec<String>,
    /// What its pod has to be given still.
    gift: Option<Gift>,
    /// Its pod's log, while that is followed.
    pod_log: Option<PodLog>,
    pub log: RemoteLog,
}

/// The files that the driver's pod mounts, for as long as they are not known to be there.
enum Gift {
    Packed(RunDir),
    Ready(Vec<(&'static str, Vec<u8>)>),
}

/// What has been seen in one look.
#[derive(Default)]
pub(super) struct Seen {
    /// News for the session.
    pub events: Vec<DriverEvent>,
    /// Why there can be no driver: it is to end.
    pub failed: Option<String>,
    /// That it is over, and how the application was last; none where the cluster manager does not know it.
    pub over: Option<Option<Arc<Application>>>,
}

impl Remote {
    /// Begins to watch a driver's application.
    pub(super) fn new(id: Uuid, cluster: Cluster, config: &Config, run_dir: &RunDir) -> Self {
        Self {
            watched: cluster.watch(id),
            ending: Ending::default(),
            lookup_timeout: config.cluster.lookup_timeout.get(),
            submit: None,
            is_to_end: false,
            told: None,
            reasons: Vec::new(),
            gift: cluster.gives().then(|| Gift::Packed(run_dir.clone())),
            id,
            cluster,
            pod_log: None,
            log: RemoteLog::new(run_dir.clone(), config.log.max_bytes.bytes()),
        }
    }

    /// Waits until there may be news. Cancel safe.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.watched.changed() => {}
            () = sleep(LOOK) => {}
        }
    }

    /// The submit has ended.
    pub(super) fn submitted(&mut self, exit: Option<Exit>) {
        self.submit = Some(exit);
        self.ending = Ending::default();
    }

    /// Whether the submit has ended.
    pub(super) fn is_submitted(&self) -> bool {
        self.submit.is_some()
    }

    /// Looks at what the cluster manager says; an application that is to end is killed.
    pub(super) async fn look(&mut self, background: &Background) -> Seen {
        let report = self.watched.report();
        let mut seen = Seen::default();
        if !self.is_to_end {
            self.tell(&report, &mut seen.events);
            self.give(&report, background, &mut seen).await;
        }
        match &report.application {
            Some(application) if application.outcome().is_some() => {
                seen.over = Some(report.application.clone());
                return seen;
            }
            Some(application) if self.is_to_end && report.trouble.is_none() => {
                self.ending.kill(&self.cluster, application).await;
            }
            _ => {}
        }
        self.follow_log(&report, background);
        if let Some(exit) = &self.submit {
            let is_sent = exit.as_ref().is_some_and(|exit| exit.code == Some(0));
            let patience = match is_sent && !self.is_to_end {
                true => self.lookup_timeout,
                false => LATE,
            };
            if self.ending.is_gone(&report, patience) {
                seen.over = Some(None);
            }
        }
        seen
    }

    /// Follows what the driver writes, once its submit writes no more.
    fn follow_log(&mut self, report: &Report, background: &Background) {
        if let (true, None, Some(application)) = (self.is_submitted(), &self.pod_log, &report.application) {
            let RemoteLog {
                run_dir, max_bytes, ..
            } = &self.log;
            self.pod_log = PodLog::of_running(&self.cluster, application, run_dir, *max_bytes, background);
        }
    }

    /// Sees to it that the driver's pod has what it mounts. One that runs has it.
    async fn give(&mut self, report: &Report, background: &Background, seen: &mut Seen) {
        let begins = |application: &Arc<Application>| application.state == State::Starting;
        if !report.application.as_ref().is_none_or(begins) {
            self.gift = None;
        }
        let files = match self.gift.take() {
            None => return,
            Some(Gift::Ready(files)) => files,
            Some(Gift::Packed(run_dir)) => {
                let read = background.blocking(move || package::secret_files(&run_dir)).await;
                match read
                    .map_err(|panicked| panicked.to_string())
                    .and_then(|read| read.map_err(|error| error.to_string()))
                {
                    Ok(files) => files,
                    Err(why) => {
                        seen.failed = Some(format!("The agent's archive can't be read: {why}."));
                        return;
                    }
                }
            }
        };
        match self.cluster.give(self.id, &files).await {
            Ok(()) => {}
            Err(Refused { why, is_final: true }) => {
                seen.failed = Some(format!("The driver can't be given its agent: {why}."));
            }
            Err(Refused { why, .. }) => {
                self.gift = Some(Gift::Ready(files));
                let text = format!("The driver waits for its agent: {why}.");
                self.reason(text, &mut seen.events);
            }
        }
    }

    fn tell(&mut self, report: &Report, events: &mut Vec<DriverEvent>) {
        if let Some(why) = &report.trouble {
            self.reason(
                format!("What has become of the application is not known: {why}."),
                events,
            );
        }
        let Some(application) = &report.application else {
            return;
        };
        let is_running = application.state != State::Starting;
        let known = (application.id.clone(), is_running, application.links.clone());
        if self.told.as_ref() != Some(&known) {
            let (id, is_running, links) = known.clone();
            self.told = Some(known);
            events.push(DriverEvent::Application {
                id,
                is_running,
                links,
            });
        }
        if application.state == State::Starting
            && let Some(said) = application.reason()
        {
            self.reason(said, events);
        }
    }

    /// A line about why nothing happens, once.
    fn reason(&mut self, text: String, events: &mut Vec<DriverEvent>) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&text) {
            self.reasons.push(text.clone());
            events.push(DriverEvent::Notice { text });
        }
    }

    /// Why the driver has ended, and last of all that it has. `knows_why`: it has told itself.
    pub(super) async fn ended(
        mut self,
        application: Option<Arc<Application>>,
        knows_why: bool,
        background: &Background,
    ) -> Vec<DriverEvent> {
        self.cluster.take_back(self.id).await;
        let exit = self.submit.clone().flatten();
        let is_known = self.is_to_end || knows_why;
        let Some(application) = application else {
            // Of a submit that has failed the log tells more.
            let is_lost = exit.as_ref().is_some_and(|exit| exit.code == Some(0)) && !is_known;
            let lost = is_lost.then(|| DriverEvent::Failed {
                reason: match self.told.is_some() {
                    true => "The cluster manager does not know the application any more.".to_owned(),
                    false => {
                        "The cluster manager does not know the application that was submitted.".to_owned()
                    }
                },
            });
            return lost.into_iter().chain([DriverEvent::Exited { exit }]).collect();
        };
        let outcome = application.outcome();
        // A server that is ending waits for no node, and a driver that was asked to end has said all.
        let has_more = outcome != Some(Outcome::Success) || self.pod_log.is_some();
        let wants_log = has_more && !background.draining().is_cancelled();
        let mut events = Vec::new();
        let exception = match wants_log {
            true => self.fetch_log(&application, background, &mut events).await,
            false => None,
        };
        if !is_known {
            // Of some ends the driver's own words know nothing.
            let exception = exception.filter(|_| !application.is_decisive);
            events.push(why(&application, exception));
        }
        self.cluster.release(&application).await;
        events.push(DriverEvent::Exited { exit: None });
        events
    }

    /// Puts the end of what the driver wrote into the session's log; gives the last exception in it.
    async fn fetch_log(
        &mut self,
        application: &Application,
        background: &Background,
        events: &mut Vec<DriverEvent>,
    ) -> Option<String> {
        let pod_log = self.pod_log.take();
        let RemoteLog {
            run_dir, max_bytes, ..
        } = &self.log;
        let kept = fetch_log(
            &self.cluster,
            application,
            pod_log,
            run_dir.clone(),
            *max_bytes,
            background,
        )
        .await;
        kept.unwrap_or_else(|why| {
            let text = format!("The end of the driver's log is not here: {why}");
            events.push(DriverEvent::Notice { text });
            None
        })
    }
}

/// Puts the end of what an application's driver wrote into the log of a directory; gives the last exception in it. `pod_log` has followed it so far.
///
/// # Errors
/// Why it is not here, and where it may be.
pub async fn fetch_log(
    cluster: &Cluster,
    application: &Application,
    pod_log: Option<PodLog>,
    run_dir: RunDir,
    max_bytes: u64,
    background: &Background,
) -> Result<Option<String>, String> {
    let live = match pod_log {
        None => cluster
            .live_log(application)
            .map(|live| PodLog::follow(live, &run_dir, max_bytes, background))
            .transpose()
            .map_err(|error| error.to_string())?,
        followed => followed,
    };
    let kept = match live {
        Some(live) => match live.finish().await {
            Ok(()) => background
                .blocking(move || exception_in(&log::lines(Some(&run_dir), &[], None, max_bytes)))
                .await
                .map_err(|panicked| panicked.to_string()),
            Err(why) => Err(why),
        },
        None => fetch_end(cluster, application, run_dir, max_bytes, background).await,
    };
    kept.map_err(|why| {
        let place = application.links.driver_log.as_deref();
        let place = place.map_or(String::new(), |url| format!(" It may be at {url}"));
        format!("{why}.{place}")
    })
}

/// As [`fetch_log`], where the log could not be followed.
async fn fetch_end(
    cluster: &Cluster,
    application: &Application,
    run_dir: RunDir,
    max_bytes: u64,
    background: &Background,
) -> Result<Option<String>, String> {
    let most = log::segment_bytes(max_bytes);
    match cluster.driver_log(application, most).await {
        Ok([stdout, stderr]) => {
            let keep = move || -> io::Result<Option<String>> {
                log::append(&run_dir, "stdout", &stdout, max_bytes)?;
                log::append(&run_dir, "stderr", &stderr, max_bytes)?;
                // What Python says comes with the rest of its output; Spark's own words, of its end too, are in the other.
                Ok(last_exception(&stdout).or_else(|| last_exception(&stderr)))
            };
            let kept = background.blocking(keep).await;
            kept.map_err(|panicked| panicked.to_string())
                .and_then(|kept| kept.map_err(|error| error.to_string()))
        }
        Err(why) => Err(why),
    }
}

/// Why a driver has ended that nobody has asked to.
fn why(application: &Application, exception: Option<String>) -> DriverEvent {
    let said = application.sentence();
    let quoted = said.as_deref().map_or(String::new(), |said| format!(": {said}"));
    let quoted = quoted.trim_end_matches('.');
    // What the main class of a driver has thrown; of its Python its own output says more.
    let thrown = said.as_deref().and_then(|said| said.strip_prefix(THROWN));
    let exception = thrown.map(str::to_owned).or(exception);
    let reason = match (application.outcome(), exception) {
        (Some(Outcome::Killed), _) => format!("The application was killed in the cluster{quoted}."),
        (Some(Outcome::Success), _) => "The driver has ended by itself.".to_owned(),
        (_, Some(exception)) => format!("The application failed: {exception}"),
        (_, None) => format!("The application failed{quoted}."),
    };
    DriverEvent::Failed { reason }
}

/// The last exception in what a driver wrote.
fn last_exception(text: &[u8]) -> Option<String> {
    let lines: Vec<String> = String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
    exception_in(&lines)
}

/// What a driver writes in the cluster, as its agent sends it: each stream goes on in segments of its own behind those of the submit, so that
/// the files themselves tell how much has come.
pub(super) struct RemoteLog {
    run_dir: RunDir,
    max_bytes: u64,
    streams: Option<[(Segments, u64); 2]>,
}

impl RemoteLog {
    fn new(run_dir: RunDir, max_bytes: u64) -> Self {
        Self {
            run_dir,
            max_bytes,
            streams: None,
        }
    }

    /// From which bytes on the agent is to send: opens the segments where it has not been done. Writes files.
    pub(super) fn open(&mut self) -> io::Result<[u64; 2]> {
        if self.streams.is_none() {
            let first = self
                .run_dir
                .driver_log(|| STREAMS.map(|stream| log::next_segment(&self.run_dir, stream)))?;
            let [out, err] = STREAMS;
            let resume = |stream, first| Segments::resume(&self.run_dir, stream, self.max_bytes, first);
            self.streams = Some([resume(out, first[0])?, resume(err, first[1])?]);
        }
        let at = |index: usize| self.streams.as_ref().map_or(0, |streams| streams[index].1);
        Ok([at(0), at(1)])
    }

    /// Takes a piece; one that does not go on where the last one ended was sent to another server, or twice. Writes files.
    pub(super) fn take(&mut self, stream: &str, from: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(index) = STREAMS.iter().position(|name| *name == stream) else {
            return Ok(());
        };
        if let Some((segments, at)) = self.streams.as_mut().map(|streams| &mut streams[index])
            && *at == from
        {
            segments.write(bytes)?;
            *at += bytes.len() as u64;
        }
        Ok(())
    }
}
