//! All sessions of this server: made, found, listed, and ended together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::mapref::entry::Entry;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::actor::Actor;
use super::admission::{Admission, QueueFull};
use super::handle::Session;
use super::request::NewSession;
use super::shared::{Shared, Table};
use super::snapshot::Snapshot;
use super::state::SessionState;
use super::times::Contacts;
use crate::background::Background;
use crate::clock::now_ms;
use crate::config::Config;
use crate::driver::{Drivers, RunDir};
use crate::store::{Op, SessionRow, Store, StoreError};

/// Commands that may wait for a session's actor; more wait in their callers.
const COMMANDS_WAITING: usize = 64;
/// How long an earlier server's driver may take to end before its directory is left for the next start.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at an earlier server's driver.
const LEFTOVER_POLL: Duration = Duration::from_millis(100);

/// Why a session was not accepted. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The owner has a live session of this name. The text is Livy's.
    #[error("Duplicate session name: Some({name}) for session {id}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The id that the session would have had.
        id: i64,
    },
    /// `limits.sessions_queued` wait already.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sessions of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    admission: Admission,
    next_id: Arc<AtomicI64>,
}

impl Sessions {
    /// Opens the registry and closes what an earlier server left: its sessions are told dead, its drivers are ended.
    ///
    /// # Errors
    /// The store can't be used.
    pub async fn open(
        config: Arc<Config>,
        store: Store,
        drivers: Arc<Drivers>,
        background: Background,
    ) -> Result<Self, StoreError> {
        let next_id = Arc::new(AtomicI64::new(store.next_session_id().await?));
        let admission = Admission::new(config.limits.sessions, config.limits.sessions_queued);
        let shared = Arc::new(Shared {
            config,
            store,
            drivers,
            background,
            sessions: Table::default(),
        });
        let sessions = Self {
            shared,
            admission,
            next_id,
        };
        sessions.close_leftovers().await?;
        Ok(sessions)
    }

    /// Accepts a session: stored once this answers, its driver starting or queued.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, request: NewSession) -> Result<Session, CreateError> {
        let ticket = self.admission.enter()?;
        let id = self.reserve(&request)?;
        let shared = &self.shared;
        if let Err(error) = shared.store.write(self.row(id, &request)).await {
            shared.sessions.remove(id, &request);
            return Err(error.into());
        }
        info!(
            session.id = id,
            session.kind = request.kind.as_str(),
            "a session was created"
        );
        let contacts = Arc::new(Contacts::new());
        let (commands, commands_waiting) = mpsc::channel(COMMANDS_WAITING);
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot::new(SessionState::Starting)));
        let session = Session {
            id,
            name: request.name.clone(),
            owner: request.owner.clone(),
            proxy_user: request.proxy_user.clone(),
            kind: request.kind,
            echo: Arc::new(request.echo.clone()),
            snapshot,
            commands,
            contacts: Arc::clone(&contacts),
            store: shared.store.clone(),
            answer_within: shared.config.statement.answer_within.get(),
        };
        shared.sessions.by_id.insert(id, session.clone());
        let actor = Actor::new(
            id,
            request,
            Arc::clone(shared),
            contacts,
            commands_waiting,
            publish,
        );
        shared.background.spawn(actor.run(ticket));
        Ok(session)
    }

    /// Takes the name, if it is free, and an id.
    fn reserve(&self, request: &NewSession) -> Result<i64, CreateError> {
        let Some(name) = &request.name else {
            return Ok(self.next_id.fetch_add(1, Ordering::Relaxed));
        };
        match self
            .shared
            .sessions
            .by_name
            .entry((request.owner.clone(), name.clone()))
        {
            Entry::Occupied(_) => Err(CreateError::DuplicateName {
                name: name.clone(),
                id: self.next_id.load(Ordering::Relaxed),
            }),
            Entry::Vacant(free) => {
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                free.insert(id);
                Ok(id)
            }
        }
    }

    fn row(&self, id: i64, request: &NewSession) -> Op {
        Op::InsertSession(Box::new(SessionRow {
            id,
            name: request.name.clone(),
            owner: request.owner.clone(),
            proxy_user: request.proxy_user.clone(),
            kind: request.kind.as_str().to_owned(),
            state: SessionState::Starting.as_str().to_owned(),
            request: serde_json::to_string(&request.echo).unwrap_or_default(),
            app_id: None,
            ui_url: None,
            driver_id: None,
            epoch: self.shared.store.epoch(),
            diagnosis: None,
            created: now_ms(),
            ended: None,
        }))
    }

    /// The session with this id.
    #[must_use]
    pub fn by_id(&self, id: i64) -> Option<Session> {
        self.shared.sessions.by_id.get(&id).map(|session| session.clone())
    }

    /// The session of this owner with this name; without an owner, of nobody. Sessions of others are found where `of_others`.
    #[must_use]
    pub fn by_name(&self, owner: Option<&str>, name: &str, of_others: bool) -> Option<Session> {
        let key = (owner.map(str::to_owned), name.to_owned());
        let own = self.shared.sessions.by_name.get(&key).map(|id| *id);
        let id = own.or_else(|| {
            let mut all = self.shared.sessions.by_name.iter();
            all.find(|entry| of_others && entry.key().1 == name)
                .map(|entry| *entry.value())
        })?;
        self.by_id(id)
    }

    /// All sessions, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Session> {
        let mut all: Vec<Session> = self
            .shared
            .sessions
            .by_id
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        all.sort_unstable_by_key(|session| session.id);
        all
    }

    /// The store, for what is not in memory.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Ends every session and waits until nothing of their drivers is left, at most `grace`. True when all have ended.
    pub async fn end_all(&self, grace: Duration) -> bool {
        let all = self.all();
        for session in &all {
            session.end("The server was shut down (shutdown.sessions).").await;
        }
        let wait = async {
            for mut session in all {
                // An error means that its actor is gone, and so is its driver.
                let _ = session
                    .snapshot
                    .wait_for(|snapshot| snapshot.state == SessionState::Dead)
                    .await;
            }
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }

    async fn close_leftovers(&self) -> Result<(), StoreError> {
        let Shared {
            store,
            drivers,
            background,
            ..
        } = &*self.shared;
        const WHY: &str = "The server was restarted, and this session's driver was ended.";
        for row in store.unended_sessions().await? {
            for statement in store.unended_statements(row.id).await? {
                let statement = super::statement::Statement::from_row(statement);
                let end = if statement.started > 0 {
                    statement.lost(WHY)
                } else {
                    statement.cancelled()
                };
                store.write(end.end(row.id)).await?;
            }
            warn!(session.id = row.id, "a session of an earlier server is closed");
            let op = Op::UpdateSession {
                id: row.id,
                epoch: store.epoch(),
                state: SessionState::Dead.as_str().to_owned(),
                app_id: None,
                ui_url: None,
                diagnosis: Some(WHY.to_owned()),
                ended: Some(now_ms()),
            };
            store.write(op).await?;
        }
        for run_dir in drivers.leftovers().unwrap_or_default() {
            background.spawn(end_leftover(run_dir, background.clone()));
        }
        Ok(())
    }
}

/// Ends an earlier server's driver by its keeper, whose name can't be another process's, and removes its directory.
async fn end_leftover(run_dir: RunDir, background: Background) {
    if let Some(keeper) = run_dir.keeper() {
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
            return;
        }
    }
    if let Err(error) = run_dir.remove() {
        warn!(%error, "an earlier server's run directory could not be removed");
    }
}
