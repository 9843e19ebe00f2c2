//! One batch's life, from the queue to the day on which it is shown no longer. It is one task that does one thing after another;
//! whoever wants the batch to end says so through [`Ask`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::registry::Shared;
use super::request::NewBatch;
use super::snapshot::Snapshot;
use super::state::BatchState;
use crate::clock::now_ms;
use crate::cluster::{Report, Watched};
use crate::driver::{self, Driver, DriverEvent, Events, Exit, PodLog, diagnose_application};
use crate::gpu::{Usage, Waiting, listed, stored};
use crate::metrics;
use crate::store::{DriverRow, Op};
use crate::turn::{Held, Turn};

/// What others ask of a batch's task.
#[derive(Debug)]
pub(super) enum Ask {
    /// End, for a reason that its log will tell.
    End(String),
    /// It was deleted: its row is gone, and so must be all else.
    Delete,
    /// Add a line to its log, and have what readers are sent of it made anew.
    Note(String),
}

/// What has come of a driver.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// How its process ended; none when its keeper was killed.
    pub exit: Option<Exit>,
    /// Why it was ended on purpose.
    pub why: Option<String>,
    /// What became of its process, where only a submit is lost with it.
    pub lost: Option<String>,
    /// Its batch was deleted.
    pub deleted: bool,
}

impl Fate {
    /// The exit code of its process, where it has one.
    pub(super) fn code(&self) -> Option<i32> {
        self.exit.as_ref().and_then(|exit| exit.code)
    }
}

/// How a batch's task begins.
#[derive(Debug)]
pub(super) enum Begin {
    /// A driver is launched when it is the batch's turn.
    Queued(Turn),
    /// An earlier server launched a driver, which is taken back.
    Adopted {
        driver: Driver,
        events: Events,
        held: Held,
    },
    /// It ended so long ago.
    Ended(Duration),
}

/// Where a part of the life led.
enum Next<T> {
    /// On.
    On(T),
    /// It is over, for a reason that is known without its log.
    Over(String),
    /// Somebody deleted it.
    Deleted,
    /// The server stops, and the next one takes it from here.
    Left,
}

pub(super) struct Life {
    pub id: i64,
    pub request: NewBatch,
    pub shared: Arc<Shared>,
    pub asks: mpsc::Receiver<Ask>,
    pub publish: watch::Sender<Arc<Snapshot>>,
    pub snapshot: Snapshot,
    /// Lines of its log about why nothing happens.
    pub reasons: usize,
    /// The log of its driver's pod, while that is followed.
    pub pod_log: Option<PodLog>,
}

impl Life {
    /// Runs until the batch is deleted or has been shown long enough after its end, or the server stops.
    pub(super) async fn run(mut self, begin: Begin) {
        let ended_ago = match begin {
            Begin::Ended(ago) => ago,
            begin => {
                let started = match begin {
                    Begin::Queued(turn) => self.start(turn).await,
                    Begin::Adopted { driver, events, held } => {
                        self.snapshot.run_dir = Some(driver.run_dir.clone());
                        self.holds(&held);
                        self.note("The server was restarted and takes this batch back.".to_owned());
                        Next::On((driver, events, held))
                    }
                    Begin::Ended(_) => return,
                };
                match started {
                    Next::On((driver, events, held)) => {
                        let Some(deleted) = self.last(driver, events, held).await else {
                            return;
                        };
                        if deleted {
                            return;
                        }
                    }
                    Next::Over(why) => self.end(BatchState::Killed, None, Some(why)).await,
                    Next::Deleted => return self.remove().await,
                    Next::Left => return,
                }
                Duration::ZERO
            }
        };
        self.show(ended_ago).await;
    }

    /// Waits for the batch's turn and launches its driver.
    async fn start(&mut self, turn: Turn) -> Next<(Driver, Events, Held)> {
        let waiting = turn.waiting();
        let held = match self.wait(turn.come(), waiting.as_ref()).await {
            Next::On(Ok(held)) => held,
            Next::On(Err(why)) | Next::Over(why) => return Next::Over(why),
            Next::Deleted => return Next::Deleted,
            Next::Left => return Next::Left,
        };
        let waits = self.shared.starts.batch(self.request.owner.as_deref());
        if !waits.has_come() {
            self.tell(waits.notice());
        }
        let mut held = match self.wait(waits.come(), None).await {
            Next::On(start) => held.with_start(start),
            Next::Over(why) => return Next::Over(why),
            Next::Deleted => return Next::Deleted,
            Next::Left => return Next::Left,
        };
        match self.launch(&mut held).await {
            Ok((driver, events)) => {
                crate::kill_point!("batch.launched");
                self.snapshot.run_dir = Some(driver.run_dir.clone());
                self.write_notes();
                if !self.is_remote() {
                    self.become_(BatchState::Running).await;
                }
                Next::On((driver, events, held))
            }
            Err(error) => {
                let why = format!("The driver could not be started: {error}");
                self.end(BatchState::Dead, None, Some(why)).await;
                self.show(Duration::ZERO).await;
                Next::Left
            }
        }
    }

    /// Waits for what has to come before the launch, unless the batch is to end.
    async fn wait<T>(&mut self, coming: impl Future<Output = T>, waiting: Option<&Waiting>) -> Next<T> {
        let stopping = self.shared.background.stopping().clone();
        let mut looks = tokio::time::interval(self.shared.config.gpu.look_interval.get());
        tokio::pin!(coming);
        loop {
            tokio::select! {
                come = &mut coming => return Next::On(come),
                Some(ask) = self.asks.recv() => match ask {
                    Ask::End(why) => return Next::Over(why),
                    Ask::Delete => return Next::Deleted,
                    Ask::Note(line) => self.tell(line),
                },
                _ = looks.tick(), if waiting.is_some() => self.watch_line(waiting),
                () = stopping.cancelled() => return Next::Left,
            }
        }
    }

    async fn launch(&mut self, held: &mut Held) -> std::io::Result<(Driver, Events)> {
        let shared = Arc::clone(&self.shared);
        let (id, mut spec) = (Uuid::new_v4(), self.request.driver.clone());
        spec.user = self.request.user().map(str::to_owned);
        shared.drivers.check_cluster(&spec)?;
        held.launched(id, &shared.gpus);
        self.holds(held);
        spec.gpus = shared.gpus.mask(held.gpus());
        // Stored first: a server that dies between the two leaves a row without a driver, never a driver without a row.
        let row = DriverRow {
            id: id.to_string(),
            session_id: None,
            batch_id: Some(self.id),
            epoch: shared.store.epoch(),
            created: now_ms(),
            gpus: stored(held.gpus()),
            cluster: spec.cluster.clone(),
            remote: self.is_remote(),
        };
        shared.store.insist(Op::InsertDriver(Box::new(row))).await;
        crate::kill_point!("batch.named");
        let drivers = Arc::clone(&shared.drivers);
        let launched = shared
            .background
            .blocking(move || drivers.launch(id, &spec))
            .await;
        launched.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
    }

    /// From a launched driver to its end. None: the server stops, and the driver goes on; else whether the batch was deleted.
    async fn last(&mut self, driver: Driver, mut events: Events, held: Held) -> Option<bool> {
        let mut looks = tokio::time::interval(self.shared.config.gpu.look_interval.get());
        let stopping = self.shared.background.stopping().clone();
        let mut fate = Fate::default();
        let mut watched = self.watch_application(driver.id);
        fate.exit = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some((_, DriverEvent::Exited { exit })) => break exit,
                    // The application may be there all the same.
                    Some((_, DriverEvent::Failed { reason })) if self.is_remote() => fate.lost = Some(reason),
                    Some((_, DriverEvent::Failed { reason })) => fate.why = Some(reason),
                    Some(_) => {}
                    // The driver's task ends with the server as well: that is no end of the driver.
                    None if stopping.is_cancelled() => return None,
                    None => break None,
                },
                Some(ask) = self.asks.recv() => {
                    match ask {
                        Ask::Note(line) => {
                            self.tell(line);
                            continue;
                        }
                        Ask::End(reason) => fate.why = fate.why.take().or(Some(reason)),
                        Ask::Delete => fate.deleted = true,
                    }
                    driver.kill().await;
                }
                report = news(&mut watched) => if !fate.deleted {
                    self.see(&report).await;
                },
                _ = looks.tick(), if held.usage().is_some() => self.watch_gpus(&held),
                () = stopping.cancelled() => return None,
            }
        };
        self.shared.drivers.forget(&driver);
        if self.is_out_of_reach() {
            self.wait_out_of_reach(&fate).await;
            return None;
        }
        let application = match watched.as_mut().filter(|_| self.is_remote()) {
            Some(watched) => Some(self.follow(watched, &mut fate).await?),
            None => None,
        };
        if let Some(application) = &application {
            let known = self.snapshot.application.as_ref();
            let known = known.map(|shown| (&*shown.id, &*shown.user));
            let drivers = &self.shared.drivers;
            let cluster = self.request.driver.cluster.as_deref();
            let staging = drivers.staging(&driver.run_dir);
            drivers.clear_staging(cluster, staging, application.as_deref(), known);
        }
        let deleted = fate.deleted;
        let ended = application.clone().flatten();
        if !deleted {
            crate::kill_point!("batch.exited");
            match application {
                Some(application) => self.ended_remotely(fate, application).await,
                None => self.ended(fate).await,
            }
            crate::kill_point!("batch.end_stored");
        }
        if let (Some(application), Some(cluster)) = (ended, self.cluster()) {
            cluster.release(&application).await;
        }
        driver::clear(driver.run_dir, deleted, &self.shared.background).await;
        crate::kill_point!("batch.cleared");
        let id = driver.id.to_string();
        let op = match deleted {
            true => Op::ForgetDriver { id },
            false => Op::EndDriver { id, at: now_ms() },
        };
        self.shared.store.insist(op).await;
        // Its GPUs are free now that the store knows that nothing of it is left.
        drop(held);
        Some(deleted)
    }

    /// What the driver holds while it lives.
    fn holds(&mut self, held: &Held) {
        self.snapshot.gpu_usage = held.usage().cloned();
        if !held.gpus().is_empty() {
            let gpus = listed(held.gpus());
            self.snapshot.gpus = Some(gpus.as_str().into());
            self.note(format!("GPUs: {gpus}."));
        }
    }

    /// Tells how the line for GPUs moves.
    fn watch_line(&mut self, waiting: Option<&Waiting>) {
        let notice = waiting.and_then(Waiting::notice);
        if let Some(notice) = notice.filter(|notice| !self.snapshot.notes.contains(notice)) {
            self.note(notice);
            self.publish();
        }
    }

    /// Tells which GPUs the application uses that it does not hold.
    fn watch_gpus(&mut self, held: &Held) {
        let strays = held.usage().map(Usage::strays).unwrap_or_default();
        for uuid in &strays {
            self.note(format!(
                "A process of this batch uses {uuid}, which the batch does not hold."
            ));
        }
        if !strays.is_empty() {
            self.publish();
        }
    }

    pub(super) async fn ended(&mut self, fate: Fate) {
        let code = fate.code();
        let Fate { exit, why, lost, .. } = fate;
        if let Some(why) = why.or(lost) {
            return self.end(BatchState::Killed, code, Some(why)).await;
        }
        if code == Some(0) {
            return self.end(BatchState::Success, code, None).await;
        }
        let (snapshot, max_bytes) = (self.snapshot.clone(), self.shared.config.log.max_bytes.bytes());
        let read = move || diagnose_application(exit.as_ref(), &snapshot.log(max_bytes));
        let sentence = self.shared.background.blocking(read).await;
        let sentence = sentence.unwrap_or_else(|_| "The application ended.".to_owned());
        self.end(BatchState::Dead, code, Some(sentence)).await;
    }

    pub(super) async fn end(&mut self, state: BatchState, exit_code: Option<i32>, diagnosis: Option<String>) {
        if let Some(why) = &diagnosis {
            self.note(format!("The batch has ended: {why}"));
        }
        self.link_history();
        self.snapshot.exit_code = exit_code;
        self.snapshot.diagnosis = diagnosis.map(Into::into);
        self.become_(state).await;
    }

    /// Has the link to Spark's UI lead to the history server, where that shows the application.
    fn link_history(&mut self) {
        let Some(shown) = &mut self.snapshot.application else {
            return;
        };
        let url = self.shared.drivers.history_url(&self.request.driver, &shown.id);
        if let Some(url) = url {
            let shown = Arc::make_mut(shown);
            shown.links.ui = Some(url);
            self.note_application();
        }
    }

    /// Writes what is known of the application, for a later server.
    pub(super) fn note_application(&self) {
        if let (Some(run_dir), Some(shown)) = (&self.snapshot.run_dir, &self.snapshot.application)
            && let Err(error) = run_dir.note_application(&**shown)
        {
            warn!(batch.id = self.id, %error, "the application's id could not be written");
        }
    }

    /// Keeps a batch that has ended where clients find it, for as long as `batch.ended_shown` and `batch.ended_kept` say.
    async fn show(&mut self, ended_ago: Duration) {
        self.shared.retire(self.id).await;
        let shown = self
            .shared
            .config
            .batch
            .ended_shown
            .get()
            .saturating_sub(ended_ago);
        let stopping = self.shared.background.stopping().clone();
        let over = tokio::time::sleep(shown);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                Some(ask) = self.asks.recv() => match ask {
                    Ask::Delete => break,
                    Ask::Note(line) => self.tell(line),
                    Ask::End(_) => {}
                },
                () = stopping.cancelled() => return,
            }
        }
        self.remove().await;
    }

    /// Removes all that is left of a batch without a driver.
    async fn remove(&mut self) {
        let shared = &self.shared;
        shared.table.forget(self.id);
        shared.store.insist(Op::DeleteBatch { id: self.id }).await;
        if let Some(run_dir) = self.snapshot.run_dir.take() {
            let driver = run_dir
                .path()
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            driver::clear(run_dir, true, &shared.background).await;
            if let Some(id) = driver {
                shared.store.insist(Op::ForgetDriver { id }).await;
            }
        }
    }

    /// The one place where the state changes: logged, published, stored.
    pub(super) async fn become_(&mut self, state: BatchState) {
        info!(batch.id = self.id, old = %self.snapshot.state, new = %state, "the batch's state changed");
        if state.is_final() {
            metrics::BATCHES_ENDED.with_label_values(&[state.as_str()]).inc();
        }
        self.snapshot.state = state;
        self.publish();
        let op = Op::UpdateBatch {
            id: self.id,
            epoch: self.shared.store.epoch(),
            state: state.as_str().to_owned(),
            exit_code: self.snapshot.exit_code.map(i64::from),
            diagnosis: self.snapshot.diagnosis.as_deref().map(str::to_owned),
            ended: state.is_final().then(now_ms),
            request: state.is_final().then(|| self.request.without_secrets()).flatten(),
        };
        self.shared.store.insist(op).await;
    }

    pub(super) fn publish(&self) {
        self.publish.send_replace(Arc::new(self.snapshot.clone()));
    }

    pub(super) fn tell(&mut self, line: String) {
        self.note(line);
        self.publish();
    }

    fn note(&mut self, line: String) {
        Arc::make_mut(&mut self.snapshot.notes).push(line);
        self.write_notes();
    }

    /// Writes what the server adds to the log beside the application's own, for a later server. A few short lines at most.
    fn write_notes(&self) {
        let Some(run_dir) = &self.snapshot.run_dir else {
            return;
        };
        let text = self.snapshot.notes.join("\n");
        if let Err(error) = run_dir.replace("notes", text.as_bytes()) {
            warn!(batch.id = self.id, %error, "a line of the log could not be written");
        }
    }
}

/// The next report about an application; never where nobody can be asked. Cancel safe.
async fn news(watched: &mut Option<Watched>) -> Report {
    match watched {
        Some(watched) => {
            watched.changed().await;
            watched.report()
        }
        None => std::future::pending().await,
    }
}
