//! The driver's side: statements handed to it, its news taken in, its results stored before they are acknowledged.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info};

use super::{Actor, Done, Running, one_line};
use crate::clock::now_ms;
use crate::cluster::Links;
use crate::counters::Cap;
use crate::driver::{DriverEvent, Exit, StatementResult, diagnose};
use crate::metrics;
use crate::ready::Kept;
use crate::session::snapshot::{RECENT, RECENT_BYTES};
use crate::session::state::{SessionEvent, SessionState, StatementState};
use crate::session::statement::Statement;
use crate::store::Op;

impl Actor {
    /// Hands the next statement to the driver, if it has none; without a next one the session is idle.
    pub(super) async fn dispatch(&mut self) {
        let mut published = false;
        let ready = matches!(self.snapshot.state, SessionState::Idle | SessionState::Busy);
        if ready && self.running.is_none() {
            if let (Some(driver), Some(statement)) = (self.driver.clone(), self.queue.pop_front()) {
                let code = Arc::clone(&statement.code);
                let waited = u32::try_from(now_ms() - statement.accepted).unwrap_or(0);
                metrics::STATEMENT_WAIT.observe(f64::from(waited) / 1e3);
                let sent = Some(Instant::now());
                self.spans.event(statement.id, "sent");
                let trace = self.spans.for_spark(statement.id);
                driver
                    .run(statement.id, statement.kind.as_str(), code, trace)
                    .await;
                let statement = Arc::new(statement.sent());
                self.feed.statement(&statement);
                self.running = Some(Running {
                    statement,
                    sent,
                    cancel_asked: false,
                    answered: false,
                });
                published = self.apply(SessionEvent::StatementSent);
            } else {
                published = self.apply(SessionEvent::QueueEmpty);
            }
        }
        if !published {
            self.publish();
        }
    }

    pub(super) async fn driver_event(&mut self, event: Option<(u64, DriverEvent)>) {
        let (seq, event) = event.unwrap_or((0, DriverEvent::Exited { exit: None }));
        match event {
            DriverEvent::Ready {
                app_id,
                ui_url,
                spark_version,
                last_run,
                last_job,
                running,
            } => {
                info!(session.id = self.id, app_id, spark_version, "the driver is ready");
                self.snapshot.app_id = app_id;
                // A cluster manager's own page leads to it from anywhere.
                if self.snapshot.driver_log_url.is_none() || self.snapshot.ui_url.is_none() {
                    self.snapshot.ui_url = ui_url;
                }
                self.was_ready = true;
                self.ready_by = None;
                self.start_step("interpreter");
                self.held.started();
                self.contacts.active();
                self.catch_up(last_run, last_job, running).await;
            }
            DriverEvent::Called => self.start_step("jvm"),
            DriverEvent::ContextMade => self.start_step("context"),
            // It is nobody's then, and no session takes its news.
            DriverEvent::Warm { .. } => {}
            DriverEvent::Failed { reason } => self.reason = Some(one_line(&reason)),
            DriverEvent::Started { id, at } => {
                self.driver_has(id);
                self.spans.event(id, "started");
                let running = self.running.as_mut().filter(|running| running.statement.id == id);
                if let Some(sent) = running.and_then(|running| running.sent.take()) {
                    overhead("send", sent);
                }
                self.update_running(id, |statement| statement.started = at);
                crate::kill_point!("statement.started");
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share of tasks, shown with a few digits"
            )]
            DriverEvent::Progress { id, done, total } => {
                self.update_running(id, |statement| {
                    statement.progress = done as f64 / total.max(1) as f64;
                });
                if let Some(running) = self.running.as_ref().filter(|running| running.statement.id == id) {
                    self.feed.progress(&running.statement);
                }
            }
            DriverEvent::Output { id, from, bytes } => {
                self.driver_has(id);
                if self
                    .running
                    .as_ref()
                    .is_some_and(|running| running.statement.id == id)
                {
                    self.feed.output(id, from, bytes);
                }
            }
            DriverEvent::Context { app_id, ui_url } => {
                info!(
                    session.id = self.id,
                    app_id, "the driver has another SparkContext"
                );
                self.snapshot.app_id = app_id;
                self.snapshot.ui_url = ui_url;
                self.store_application();
                self.publish();
            }
            DriverEvent::Application {
                id,
                is_running,
                links,
            } => self.has_application(id, is_running, links),
            DriverEvent::Notice { text } => {
                if self.running.as_ref().is_some_and(|running| running.cancel_asked) {
                    // Its interpreter was replaced.
                    crate::kill_point!("cancel.escalated");
                }
                self.note(one_line(&text));
                self.publish();
            }
            DriverEvent::Result(result) => self.result(*result),
            DriverEvent::Exited { exit } => self.exited(exit),
        }
        self.taken = self.taken.max(seq);
        self.acknowledge().await;
    }

    /// Its cluster manager has told of the driver's application.
    fn has_application(&mut self, id: String, is_running: bool, links: Links) {
        info!(session.id = self.id, app_id = %id, is_running, "the driver has an application");
        self.snapshot.app_id = Some(id);
        self.snapshot.driver_log_url = links.driver_log;
        if links.ui.is_some() {
            self.snapshot.ui_url = links.ui;
        }
        if !self.was_ready {
            // It may wait in the cluster's queue for as long as it must.
            self.ready_by = is_running.then(|| self.start_limit());
        }
        self.publish();
    }

    /// Tells the driver which of its frames it may forget: none while a result is being stored, since that would be one of them.
    async fn acknowledge(&mut self) {
        if let Some(driver) = self.driver.as_ref().filter(|_| !self.storing) {
            driver.stored(self.taken).await;
        }
    }

    /// The driver and all its processes are gone. Unless it is known why, its log is read for the reason first.
    fn exited(&mut self, exit: Option<Exit>) {
        self.events = None;
        // Whatever else went wrong then comes from that.
        let limit = exit.as_ref().and_then(|exit| exit.limit.as_deref());
        match limit.map(one_line).or_else(|| self.reason.clone()) {
            _ if self.deleted => self.driver_gone(String::new()),
            Some(reason) => self.driver_gone(reason),
            None => {
                let (snapshot, was_ready) = (self.snapshot.clone(), self.was_ready);
                let background = self.shared.background.clone();
                let max_bytes = self.shared.config.log.max_bytes.bytes();
                self.work.push(Box::pin(async move {
                    let read = move || diagnose(exit.as_ref(), &snapshot.log(max_bytes), was_ready);
                    let sentence = background.blocking(read).await;
                    Done::Diagnosed(sentence.unwrap_or_else(|_| "The driver ended.".to_owned()))
                }));
            }
        }
    }

    /// Takes note that the driver has a statement that an earlier server handed to it.
    fn driver_has(&mut self, id: i64) {
        let is_next = self.queue.front().is_some_and(|statement| statement.id == id);
        if is_next && self.running.is_none() {
            self.running = self.queue.pop_front().map(|statement| Running {
                cancel_asked: statement.state == StatementState::Cancelling,
                statement: Arc::new(statement.sent()),
                sent: None,
                answered: false,
            });
            if let Some(running) = &self.running {
                self.feed.statement(&running.statement);
            }
        }
    }

    /// The driver is ready: for the first time, or for this server. What it was handed before goes on; the rest is handed to it.
    async fn catch_up(&mut self, last_run: Option<i64>, last_job: Option<i64>, runs: Option<i64>) {
        self.is_unsure = false;
        let first = self.queue.front().map(|statement| statement.id);
        let was_taken = |id: &i64| {
            if *id < 0 {
                last_job.is_some_and(|last| *id >= last)
            } else {
                last_run.is_some_and(|last| *id <= last)
            }
        };
        if let Some(id) = first.filter(was_taken) {
            self.driver_has(id);
        }
        if let Some(running) = self.running.take_if(|running| !running.answered) {
            if runs == Some(running.statement.id) {
                if let Some(driver) = self.driver.as_ref().filter(|_| running.cancel_asked) {
                    driver.cancel(running.statement.id).await;
                }
                self.running = Some(running);
            } else {
                const WHY: &str = "The statement was handed to the driver, and what became of it was lost when the server \
                                   was restarted. It is not run again.";
                self.finish(&running.statement.unknown("ResultLost", WHY));
            }
        }
        // One whose cancel was answered and that never reached the driver must not run.
        while let Some(first) = self
            .queue
            .pop_front_if(|first| first.state == StatementState::Cancelling)
        {
            self.finish(&first.cancelled());
        }
        if self.running.is_none() {
            self.apply(SessionEvent::DriverReady);
            self.dispatch().await;
        } else if !self.apply(SessionEvent::StatementSent) {
            self.apply(SessionEvent::DriverReady);
            self.apply(SessionEvent::StatementSent);
        }
    }

    fn update_running(&mut self, id: i64, change: impl FnOnce(&mut Statement)) {
        if let Some(running) = self.running.as_mut().filter(|running| running.statement.id == id) {
            let statement = Arc::make_mut(&mut running.statement);
            statement.body = Kept::default();
            change(statement);
            self.publish();
        }
    }

    /// Stores the running statement's result. One of another statement is nobody's.
    fn result(&mut self, mut result: StatementResult) {
        self.driver_has(result.id);
        let Some(running) = self
            .running
            .as_mut()
            .filter(|running| running.statement.id == result.id && !running.answered)
        else {
            info!(
                session.id = self.id,
                statement.id = result.id,
                "a result came that was not waited for"
            );
            return;
        };
        running.answered = true;
        self.storing = true;
        count_cuts(self.id, &result);
        let output = result.output.take();
        let statement = running.statement.ended(&result);
        let (shared, session) = (Arc::clone(&self.shared), self.id);
        let came = Instant::now();
        self.work.push(Box::pin(async move {
            // The file first: a row that names one that is not there would hide the output.
            let statement = Arc::new(statement.with_output(output, session, &shared.outputs).await);
            shared.store.insist(statement.end(session)).await;
            overhead("store", came);
            crate::kill_point!("statement.result_stored");
            Done::ResultStored(statement)
        }));
    }

    pub(super) async fn result_stored(&mut self, statement: Arc<Statement>) {
        self.storing = false;
        self.acknowledge().await;
        if statement.state == StatementState::Cancelled {
            crate::kill_point!("cancel.confirmed");
        }
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.statement.id == statement.id)
        {
            self.running = None;
            self.contacts.active();
            let is_job = statement.is_job();
            self.has_ended(&statement, statement.outcome());
            count_time(&statement);
            self.remember(statement);
            self.drop_old(is_job);
            self.dispatch().await;
        }
    }

    /// A statement that ends without the driver's word.
    pub(super) fn finish(&mut self, statement: &Statement) {
        // What else ends without the driver's word was lost.
        let is_cancelled = statement.state == StatementState::Cancelled;
        self.has_ended(statement, if is_cancelled { "cancelled" } else { "lost" });
        self.store_later(statement.end(self.id));
        self.remember(Arc::new(statement.clone()));
    }

    /// Counts and logs an end, and ends its span.
    pub(super) fn has_ended(&mut self, statement: &Statement, outcome: &'static str) {
        let trace = self.spans.end(statement.id, statement.state.as_str(), outcome);
        debug!(
            session.id = self.id,
            statement.id = statement.id,
            outcome,
            trace = trace.map(|trace| trace.trace_id()),
            "a statement has ended"
        );
        metrics::STATEMENTS_ENDED
            .with_label_values(&[outcome, statement.kind.as_str()])
            .inc();
    }

    pub(super) fn remember(&mut self, statement: Arc<Statement>) {
        self.feed.statement(&statement);
        if statement.output.as_ref().map_or(0, |output| output.get().len()) > RECENT_BYTES {
            return;
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(statement);
        self.snapshot.recent = Arc::new(self.recent.iter().cloned().collect());
    }

    fn drop_old(&self, is_job: bool) {
        let most = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        if is_job {
            let limits = &self.shared.config.job;
            self.store_later(Op::DropJobs {
                session_id: self.id,
                kept: most(limits.kept),
                bytes: most(limits.kept_bytes.len()),
            });
            return;
        }
        let kept = most(self.shared.config.statement.kept);
        let below = self.next_statement.saturating_sub(kept);
        let mut waiting = self.queue.iter().filter(|statement| !statement.is_job());
        let first_live = waiting.next().map_or(i64::MAX, |statement| statement.id);
        if below > 0 {
            let below = below.min(first_live);
            self.store_later(Op::DropStatements {
                session_id: self.id,
                below,
            });
            self.shared.outputs.drop_below(self.id, below);
        }
    }
}

/// Counts what a statement took in its driver.
fn count_time(statement: &Statement) {
    let took = u32::try_from(statement.completed - statement.started).unwrap_or(0);
    metrics::STATEMENT_DURATION
        .with_label_values(&[statement.kind.as_str()])
        .observe(f64::from(took) / 1e3);
}

/// Counts what the server or the link added to a statement.
pub(super) fn overhead(part: &str, since: Instant) {
    metrics::STATEMENT_OVERHEAD
        .with_label_values(&[part])
        .observe(since.elapsed().as_secs_f64());
}

/// Counts the limits that a result met.
fn count_cuts(session: i64, result: &StatementResult) {
    if let Some(limit) = result.rows_cut {
        Cap::Rows.count();
        debug!(
            session.id = session,
            statement.id = result.id,
            limit,
            "a result was cut: rows"
        );
    }
    if let Some(cut) = result.cut {
        cut.cap.count();
        debug!(
            session.id = session,
            statement.id = result.id,
            limit_bytes = cut.limit,
            seen_bytes = cut.seen,
            "a result was cut: {}",
            cut.cap.name()
        );
    }
}
