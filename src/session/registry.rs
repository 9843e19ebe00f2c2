//! All sessions of this server: made, found, listed, and ended together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::mapref::entry::Entry;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::info;

use super::actor::{Actor, Begin, Past};
use super::download::Downloads;
use super::feed::Feed;
use super::handle::{Parts, Session};
use super::request::NewSession;
use super::shared::{Shared, Table};
use super::state::SessionState;
use super::times::Contacts;
use crate::admission::QueueFull;
use crate::background::Background;
use crate::clock::now_ms;
use crate::config::Config;
use crate::driver::{Drivers, NoUser};
use crate::gpu::{Gpus, Wanted};
use crate::idempotency::{Begun, IdempotencyKey, KeyReused};
use crate::metrics;
use crate::output::Outputs;
use crate::ownership::{Ownership, Whose};
use crate::pool::Pool;
use crate::quota::{Claim, Kind as Counted, Quotas};
use crate::sharing::Sharing;
use crate::starts::Starts;
use crate::store::{IdempotencyRow, Op, SessionRow, Store, StoreError};
use crate::turn::{Gate, Scarce};

/// Commands that may wait for a session's actor; more wait in their callers.
const COMMANDS_WAITING: usize = 64;

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
    /// The key came with another request before.
    #[error(transparent)]
    Key(#[from] KeyReused),
    /// The key's session has been deleted, or is no longer shown.
    #[error("The session {0} that this Idempotency-Key made is gone.")]
    Gone(i64),
    /// `limits.sessions_queued` wait already, or as many of the owner as may.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// No driver can be started for its user.
    #[error(transparent)]
    User(#[from] NoUser),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sessions of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    next_id: Arc<AtomicI64>,
}

impl Sessions {
    /// Opens the registry and takes back what an earlier server left (see `recovery`).
    ///
    /// # Errors
    /// The store can't be used.
    pub async fn open(
        config: Arc<Config>,
        store: Store,
        drivers: Arc<Drivers>,
        background: Background,
        outputs: Outputs,
        scarce: &Scarce,
        pool: Pool,
    ) -> Result<Self, StoreError> {
        let next_id = Arc::new(AtomicI64::new(store.next_session_id().await?));
        let limits = &config.limits;
        let gate = Gate::new(
            "sessions",
            limits.sessions,
            limits.sessions_queued,
            scarce,
            &config,
        );
        let downloads = Arc::new(Semaphore::new(config.result.total_at_once));
        let sharing = Sharing::new(&store, &background, &gate, limits.shares);
        let shared = Arc::new(Shared {
            config,
            store,
            drivers,
            background,
            sessions: Table::default(),
            keys: Arc::default(),
            outputs,
            downloads,
            gpus: scarce.gpus.clone(),
            starts: scarce.starts.clone(),
            pool,
            sharing,
        });
        let sessions = Self {
            shared,
            gate,
            next_id,
        };
        let shared = Arc::clone(&sessions.shared);
        sessions
            .shared
            .background
            .spawn(super::recovery::clear_outputs(shared));
        let shared = Arc::clone(&sessions.shared);
        sessions.shared.background.spawn(super::retention::run(shared));
        Ok(sessions)
    }

    /// Accepts a session: stored once this answers, its driver starting or queued; true where it was stored before, under the
    /// same key.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(
        &self,
        request: NewSession,
        key: Option<IdempotencyKey>,
    ) -> Result<(Session, bool), CreateError> {
        let Some(key) = key else {
            return Ok((self.accept(request, None).await?, false));
        };
        let sessions = self.clone();
        // As a task: a client that leaves must not end the key's turn before its session is stored.
        let served = self.shared.background.spawn(async move {
            let shared = &sessions.shared;
            match shared.keys.begin(&shared.store, key, -1).await? {
                Begun::Reused => Err(KeyReused.into()),
                Begun::Replay(row) => Ok((sessions.made(&row)?, true)),
                Begun::First(_turn, row) => Ok((sessions.accept(request, Some(row)).await?, false)),
            }
        });
        served
            .await
            .unwrap_or(Err(CreateError::Store(StoreError::Closed)))
    }

    /// The session that this very request made before, where its key is known: it is answered the same, even where it would be
    /// refused by now because something that it names has gone.
    ///
    /// # Errors
    /// The key came with another request, or its session is gone, or the store can't be read.
    pub async fn made_before(&self, key: Option<IdempotencyKey>) -> Result<Option<Session>, CreateError> {
        let Some(key) = key else {
            return Ok(None);
        };
        let shared = &self.shared;
        match shared.keys.begin(&shared.store, key, -1).await? {
            Begun::Reused => Err(KeyReused.into()),
            Begun::Replay(row) => self.made(&row).map(Some),
            Begun::First(..) => Ok(None),
        }
    }

    fn made(&self, row: &IdempotencyRow) -> Result<Session, CreateError> {
        self.by_id(row.session_id)
            .ok_or(CreateError::Gone(row.session_id))
    }

    async fn accept(
        &self,
        request: NewSession,
        key: Option<Box<IdempotencyRow>>,
    ) -> Result<Session, CreateError> {
        self.shared.drivers.check_user(request.user()).await?;
        self.gate.quotas().know(request.owner.as_deref(), &request.groups);
        let claim = claim(&request);
        let turn = self.gate.enter(claim.clone())?;
        let id = self.reserve(&request)?;
        let shared = &self.shared;
        let key = key.map(|key| {
            Box::new(IdempotencyRow {
                session_id: id,
                ..*key
            })
        });
        let op = Op::InsertSession(Box::new(self.row(id, &request)), key);
        if let Err(error) = shared.store.write(op).await {
            shared.sessions.remove(id, &request);
            return Err(error.into());
        }
        info!(
            session.id = id,
            session.kind = request.kind.as_str(),
            "a session was created"
        );
        metrics::SESSIONS_CREATED.inc();
        crate::kill_point!("create.inserted");
        let past = Past::none(&request);
        let has_place = turn.has_place();
        let wanted = wanted(id, &request);
        // Who has directories of configuration of their own takes no warm driver.
        if request.driver.conf_dirs.is_none() {
            shared.pool.see(request.user());
        }
        // Without GPUs it looks again when it may start.
        let warm = has_place.then(|| {
            let is_last = wanted.is_some();
            shared
                .pool
                .reserve(&request.driver, request.user(), wanted.as_ref(), is_last)
        });
        let begin = match warm.flatten() {
            // It holds what the session asks for of the GPUs.
            Some(warm) => Begin::Queued(turn, Some(warm)),
            None => Begin::Queued(turn.with_gpus(wanted), None),
        };
        Ok(self.enrol(id, request, claim, past, begin))
    }

    /// The GPUs that sessions and batches are given.
    #[must_use]
    pub fn gpus(&self) -> &Gpus {
        self.gate.gpus()
    }

    /// How many wait for their turn, and how many have it.
    #[must_use]
    pub fn lengths(&self) -> (usize, usize) {
        self.gate.lengths()
    }

    /// Who starts, of sessions, batches and the pool.
    #[must_use]
    pub fn starts(&self) -> &Starts {
        &self.shared.starts
    }

    /// What each user may use, and uses.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        self.gate.quotas()
    }

    /// The warm drivers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Puts a stored session into the table and starts its actor.
    pub(super) fn enrol(
        &self,
        id: i64,
        request: NewSession,
        claim: Claim,
        mut past: Past,
        begin: Begin,
    ) -> Session {
        let shared = &self.shared;
        if let Begin::Queued(turn, _) = &begin {
            // Who is told of the session can read at once why it waits.
            Arc::make_mut(&mut past.snapshot.notes).extend(turn.notices());
        }
        let (commands, commands_waiting) = mpsc::channel(COMMANDS_WAITING);
        let (publish, snapshot) = watch::channel(Arc::new(past.snapshot.clone()));
        let config = &shared.config;
        let limits = (config.events.replay_bytes.len(), config.output.live_bytes.len());
        let live = past.statements.iter().map(|statement| &**statement);
        let feed = Feed::new(shared.store.epoch(), limits, past.snapshot.state, live);
        let session = Session::from(Parts {
            id,
            name: request.name.clone(),
            whose: Arc::new(Whose::new(Ownership {
                shares: past.shares.clone(),
                ..Ownership::of(request.owner.clone(), request.proxy_user.clone())
            })),
            kind: request.kind,
            echo: Arc::new(request.echo.clone()),
            claim,
            uploads: request.uploads.clone().into(),
            cluster: request.driver.cluster.as_deref().map(Into::into),
            feed: Arc::new(feed),
            snapshot,
            commands,
            contacts: Arc::new(Contacts::new()),
            store: shared.store.clone(),
            outputs: shared.outputs.clone(),
            keys: Arc::clone(&shared.keys),
            background: shared.background.clone(),
            answer_within: shared.config.statement.answer_within.get(),
            add_timeout: shared.config.session.add_timeout,
            draining: shared.background.draining().clone(),
            is_warm: matches!(begin, Begin::Queued(_, Some(_))),
            downloads: Downloads::new(&shared.config.result, &shared.downloads),
        });
        shared.sessions.by_id.insert(id, session.clone());
        let actor = Actor::new(
            &session,
            request,
            Arc::clone(shared),
            commands_waiting,
            publish,
            past,
        );
        shared.background.spawn(actor.run(begin));
        session
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
            Entry::Occupied(mut taken) => {
                let id = self.next_id.load(Ordering::Relaxed);
                // One that is not found yet is being stored.
                if self
                    .by_id(*taken.get())
                    .is_none_or(|session| !session.has_ended())
                {
                    return Err(CreateError::DuplicateName {
                        name: name.clone(),
                        id,
                    });
                }
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                taken.insert(id);
                Ok(id)
            }
            Entry::Vacant(free) => {
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                free.insert(id);
                Ok(id)
            }
        }
    }

    /// Keeps the name of a session that was accepted by an earlier server.
    pub(super) fn take_name(&self, id: i64, request: &NewSession) {
        if let Some(name) = &request.name {
            let key = (request.owner.clone(), name.clone());
            self.shared.sessions.by_name.insert(key, id);
        }
    }

    fn row(&self, id: i64, request: &NewSession) -> SessionRow {
        SessionRow {
            id,
            name: request.name.clone(),
            owner: request.owner.clone(),
            proxy_user: request.proxy_user.clone(),
            kind: request.kind.as_str().to_owned(),
            state: SessionState::Starting.as_str().to_owned(),
            request: serde_json::to_string(request).unwrap_or_default(),
            app_id: None,
            ui_url: None,
            driver_id: None,
            epoch: self.shared.store.epoch(),
            diagnosis: None,
            created: now_ms(),
            ended: None,
        }
    }

    /// The session with this id.
    #[must_use]
    pub fn by_id(&self, id: i64) -> Option<Session> {
        self.shared.sessions.by_id.get(&id).map(|session| session.clone())
    }

    /// The session of this owner with this name; without an owner, of nobody.
    #[must_use]
    pub fn by_name(&self, owner: Option<&str>, name: &str) -> Option<Session> {
        let key = (owner.map(str::to_owned), name.to_owned());
        let id = self.shared.sessions.by_name.get(&key).map(|id| *id)?;
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

    /// Shows each session that has not ended, without waiting.
    pub fn each_live(&self, mut look: impl FnMut(&Session)) {
        let table = self.shared.sessions.by_id.iter();
        table
            .filter(|session| !session.has_ended())
            .for_each(|session| look(&session));
    }

    /// Shows each session in memory, without waiting.
    pub fn each(&self, mut look: impl FnMut(&Session)) {
        self.shared
            .sessions
            .by_id
            .iter()
            .for_each(|session| look(&session));
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
            for session in all {
                // An error means that its actor is gone, and so is its driver.
                let mut snapshots = session.snapshot.clone();
                let _ = snapshots
                    .wait_for(|snapshot| snapshot.state == SessionState::Dead)
                    .await;
            }
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }
}

/// What a session takes of its owner's quota.
pub(super) fn claim(request: &NewSession) -> Claim {
    Claim::new(request.owner.clone(), Counted::Session, request.cost)
}

/// What a session asks for of the GPUs.
pub(super) fn wanted(id: i64, request: &NewSession) -> Option<Wanted> {
    request.gpus.clone().map(|ask| Wanted {
        owner: request.owner.clone(),
        who: format!("session {id}"),
        ask,
    })
}
