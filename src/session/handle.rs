//! What the rest of the server holds of a session: its fixed facts, its snapshots, and a way to ask its actor.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::command::{AddError, Command, SubmitError, Work};
use super::download::{Download, Downloads, FetchError};
use super::feed::Feed;
use super::kind::Kind;
use super::request::Echo;
use super::snapshot::Snapshot;
use super::state::SessionState;
use super::statement::Statement;
use super::times::Contacts;
use crate::background::Background;
use crate::config::Span;
use crate::driver::Addition;
use crate::idempotency::{Begun, IdempotencyKey, KeyReused, Keys};
use crate::output::Outputs;
use crate::ownership::Whose;
use crate::quota::Claim;
use crate::store::{IdempotencyRow, Store, StoreError};
use crate::traces;

/// A session. Clones name the same one, and cost nothing.
#[derive(Clone, Debug)]
pub struct Session(Arc<Parts>);

/// What a session is made of, which does not change; what changes is seen through its snapshots.
#[derive(Debug)]
pub struct Parts {
    /// Livy's small integer.
    pub id: i64,
    /// Unique per owner among what has not ended.
    pub name: Option<String>,
    /// Whose it is, and with whom it is shared; it may be handed over.
    pub whose: Arc<Whose>,
    /// Its language.
    pub kind: Kind,
    /// The request, as it is echoed.
    pub echo: Arc<Echo>,
    /// What it takes of its owner's quota.
    pub(super) claim: Claim,
    /// The uploads that the request names.
    pub uploads: Arc<[Uuid]>,
    /// Its cluster; none: the default one.
    pub cluster: Option<Arc<str>>,
    /// What happens in it, for those who watch.
    pub feed: Arc<Feed>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) store: Store,
    pub(super) outputs: Outputs,
    pub(super) keys: Arc<Keys>,
    pub(super) background: Background,
    pub(super) answer_within: Duration,
    pub(super) add_timeout: Span,
    pub(super) draining: CancellationToken,
    /// Whether a warm driver was there for it.
    pub(super) is_warm: bool,
    pub(super) downloads: Downloads,
}

impl Deref for Session {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for Session {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Session {
    /// The session as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// True once nothing of it runs any more; it is shown for a while yet, and its name is free.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.snapshot.borrow().state == SessionState::Dead
    }

    /// Waits until a session that a warm driver was there for is idle: for a moment, at most `statement.answer_within`. Does not wait for others.
    pub async fn settled(&self) {
        if self.is_warm {
            let mut snapshot = self.snapshot.clone();
            let idle = snapshot.wait_for(|snapshot| snapshot.state != SessionState::Starting);
            // Neither is an error: it goes on.
            let _ = tokio::time::timeout(self.answer_within, idle).await;
        }
    }

    /// The user whose it is now; none without authentication.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.whose.owner()
    }

    /// A client named this session.
    pub fn heard(&self) {
        self.contacts.heard();
    }

    /// A client works with this session.
    pub fn active(&self) {
        self.contacts.active();
    }

    /// Accepts a statement: stored once this answers; true where it was stored before, under the same key. Where nothing stands before it, the answer is held for at most
    /// `statement.answer_within`, and then has the result if there is one. `trace` is the request's.
    ///
    /// # Errors
    /// See [`SubmitError`]. Cancel safety: a caller that leaves cancels nothing; the statement may have been accepted.
    pub async fn submit(
        &self,
        code: &str,
        kind: Kind,
        trace: Option<traces::Context>,
        key: Option<IdempotencyKey>,
    ) -> Result<(Arc<Statement>, bool), SubmitError> {
        let work = Work {
            code: code.into(),
            kind,
            is_job: false,
            trace,
        };
        self.submit_work(work, key).await
    }

    /// Accepts a programmatic job, as [`Session::submit`] does a statement, and never holds the answer. Jobs are statements with
    /// ids below 0; no list of statements has them.
    ///
    /// # Errors
    /// See [`SubmitError`]. Cancel safety: as of [`Session::submit`].
    pub async fn submit_job(
        &self,
        job: String,
        kind: Kind,
        trace: Option<traces::Context>,
        key: Option<IdempotencyKey>,
    ) -> Result<(Arc<Statement>, bool), SubmitError> {
        let work = Work {
            code: job.into(),
            kind,
            is_job: true,
            trace,
        };
        self.submit_work(work, key).await
    }

    async fn submit_work(
        &self,
        work: Work,
        key: Option<IdempotencyKey>,
    ) -> Result<(Arc<Statement>, bool), SubmitError> {
        self.active();
        let Some(key) = key else {
            return Ok((self.accept(work, None).await?, false));
        };
        let session = self.clone();
        // As a task: a client that leaves must not end the key's turn before its statement is stored.
        let served = self.background.spawn(async move {
            match session.keys.begin(&session.store, key, session.id).await? {
                Begun::Reused => Err(KeyReused.into()),
                Begun::Replay(row) => {
                    let id = row.statement_id.unwrap_or(-1);
                    let found = session.held(id).await?.ok_or(SubmitError::Gone)?;
                    Ok((found, true))
                }
                Begun::First(_turn, row) => Ok((session.accept(work, Some(row)).await?, false)),
            }
        });
        served
            .await
            .unwrap_or(Err(SubmitError::Store(StoreError::Closed)))
    }

    async fn accept(
        &self,
        work: Work,
        key: Option<Box<IdempotencyRow>>,
    ) -> Result<Arc<Statement>, SubmitError> {
        let is_job = work.is_job;
        let (reply, answer) = oneshot::channel();
        let ended = || SubmitError::Ended(SessionState::Dead);
        let command = Command::Submit { work, key, reply };
        self.commands.send(command).await.map_err(|_| ended())?;
        let submitted = answer.await.map_err(|_| ended())??;
        if !submitted.is_next || is_job {
            return Ok(submitted.statement);
        }
        let id = submitted.statement.id;
        // It is stored: a result that can't be read now is no reason to have it sent again.
        Ok(self.held(id).await.ok().flatten().unwrap_or(submitted.statement))
    }

    /// A statement as it is now; one that runs is waited for, for at most `statement.answer_within`. None: unknown, or no longer
    /// kept.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn held(&self, id: i64) -> Result<Option<Arc<Statement>>, StoreError> {
        let runs =
            |snapshot: &Arc<Snapshot>| snapshot.live(id).is_some_and(|statement| statement.started > 0);
        if runs(&self.snapshot()) {
            let mut snapshots = self.snapshot.clone();
            // Out of time, an actor that has ended, or a server that ends: in each case, what is there now is the answer.
            tokio::select! {
                _ = tokio::time::timeout(self.answer_within, snapshots.wait_for(|now| !runs(now))) => {}
                () = self.draining.cancelled() => {}
            }
        }
        self.statement(id).await
    }

    /// A statement as it is now.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn statement(&self, id: i64) -> Result<Option<Arc<Statement>>, StoreError> {
        if let Some(statement) = self.snapshot().statement(id) {
            return Ok(Some(Arc::clone(statement)));
        }
        Ok(self
            .store
            .statement(self.id, id)
            .await?
            .map(|row| Arc::new(Statement::from_row(row, &self.store, &self.outputs))))
    }

    /// A page of the statements, with how many there are. Those that have not ended are as they are now.
    ///
    /// # Errors
    /// The store can't be read. Cancel safe.
    pub async fn statements(
        &self,
        descending: bool,
        from: i64,
        size: i64,
    ) -> Result<(i64, Vec<Arc<Statement>>), StoreError> {
        let (total, rows) = self.store.statements(self.id, descending, from, size).await?;
        let snapshot = self.snapshot();
        let as_now = |row: crate::store::StatementRow| match snapshot.statement(row.id) {
            Some(statement) => Arc::clone(statement),
            None => Arc::new(Statement::from_row(row, &self.store, &self.outputs)),
        };
        Ok((total, rows.into_iter().map(as_now).collect()))
    }

    /// Cancels a statement that waits or runs; anything else stays as it is. Stored once this answers.
    ///
    /// # Errors
    /// It could not be stored: it is cancelled, and may not be after a restart of the server.
    pub async fn cancel(&self, id: i64) -> Result<(), StoreError> {
        self.active();
        let asked = self.ask(|reply| Command::Cancel { id, reply });
        asked.await.unwrap_or(Ok(()))
    }

    /// Cancels the statement that runs, if one does.
    ///
    /// # Errors
    /// As for [`Session::cancel`].
    pub async fn interrupt(&self) -> Result<(), StoreError> {
        self.active();
        let asked = self.ask(|reply| Command::Interrupt { reply });
        asked.await.unwrap_or(Ok(()))
    }

    /// Deletes the session: it is not found from the answer on; its driver ends soon after.
    ///
    /// # Errors
    /// The store can't be written; then the session goes on.
    pub async fn delete(&self) -> Result<(), StoreError> {
        self.ask(|reply| Command::Delete { reply })
            .await
            .unwrap_or(Ok(()))
    }

    /// Candidates that complete `code` at `cursor` (in characters). Empty while there is no driver.
    pub async fn complete(&self, kind: Kind, code: String, cursor: i64) -> Vec<String> {
        self.active();
        match &self.snapshot().driver {
            Some(driver) => driver.complete(kind.as_str(), code, cursor).await,
            None => Vec::new(),
        }
    }

    /// The sentence why the session can't run Java's and Scala's jobs; none where it can, and while there is no driver to ask.
    pub async fn why_no_java_jobs(&self) -> Option<String> {
        let driver = self.snapshot().driver.clone()?;
        driver.complete("java", String::new(), 0).await.pop()
    }

    /// Adds a file to the session, for all of its interpreters. A session that is starting is waited for, and a statement that
    /// runs is not; at most `session.add_timeout` in all.
    ///
    /// # Errors
    /// See [`AddError`]. Cancel safety: a caller that leaves may find it added all the same.
    pub async fn add(&self, what: Addition, uri: &str) -> Result<(), AddError> {
        self.active();
        let late = || AddError::Late(self.add_timeout);
        let adding = async {
            let mut snapshots = self.snapshot.clone();
            let ready =
                |now: &Arc<Snapshot>| !matches!(now.state, SessionState::Starting | SessionState::Recovering);
            // An error means that the actor has ended: then so has the session, or the server.
            let _ = snapshots.wait_for(ready).await;
            let snapshot = self.snapshot();
            let driver = snapshot.driver.as_ref().filter(|_| snapshot.state.is_open());
            let driver = driver.ok_or(AddError::NotActive)?;
            match driver.add(what, uri).await {
                Some(added) => added.map_err(AddError::Refused),
                None if self.snapshot().state.is_open() => Err(late()),
                None => Err(AddError::NotActive),
            }
        };
        let added = tokio::select! {
            added = tokio::time::timeout(self.add_timeout.get(), adding) => added.unwrap_or_else(|_| Err(late())),
            () = self.draining.cancelled() => Err(late()),
        };
        self.active();
        added
    }

    /// The whole result of a SQL statement, or its first `limit` rows, which the driver computes now.
    ///
    /// # Errors
    /// See [`FetchError`]. Cancel safe: nothing is computed for a caller that leaves.
    pub async fn fetch(&self, id: i64, limit: Option<usize>) -> Result<Download, FetchError> {
        self.active();
        let permits = self.downloads.admit()?;
        let driver = self.snapshot().driver.clone().ok_or(FetchError::NotActive)?;
        let stream = driver.fetch(id, limit).await.ok_or(FetchError::Late)?;
        Ok(Download::start(
            stream,
            permits,
            self.downloads.stall,
            &self.contacts,
            &self.background,
        ))
    }

    /// A place among the results that are fetched at the same time, for one that is at hand.
    ///
    /// # Errors
    /// [`FetchError::Busy`].
    pub fn place_of_download(&self) -> Result<impl Send + use<>, FetchError> {
        self.downloads.admit()
    }

    /// Adds a line to its log. What readers are sent of it is made anew, so that it has whose it is.
    pub(super) async fn note(&self, line: String) {
        // An actor that has ended has no log to show.
        let _ = self.commands.send(Command::Note { line }).await;
    }

    /// Ends the session for a reason that its log will tell.
    pub(super) async fn end(&self, reason: &str) {
        // An actor that has ended has nothing to end.
        let _ = self
            .commands
            .send(Command::End {
                reason: reason.to_owned(),
            })
            .await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
