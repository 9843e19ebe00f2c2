//! All batches of this server: made, found, listed, and ended together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::{mpsc, watch};
use tracing::info;
use uuid::Uuid;

use super::life::{Ask, Begin, Life};
use super::request::NewBatch;
use super::snapshot::Snapshot;
use super::state::BatchState;
use crate::admission::QueueFull;
use crate::background::Background;
use crate::clock::now_ms;
use crate::config::Config;
use crate::driver::{Drivers, NoUser};
use crate::gpu::{Gpus, Wanted};
use crate::idempotency::{Begun, IdempotencyKey, KeyReused, Keys};
use crate::metrics;
use crate::ownership::{Ownership, Share, Whose};
use crate::quota::{Claim, Kind};
use crate::sharing::{Names, Sharing, Shelf};
use crate::starts::Starts;
use crate::store::{BatchRow, IdempotencyRow, Op, Store, StoreError};
use crate::turn::{Gate, Scarce};

/// Asks that may wait for a batch's task; it takes each at once.
const ASKS_WAITING: usize = 4;

/// Why a batch was not accepted. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The owner has a live batch of this name. The text is Livy's.
    #[error("Duplicate session name: Some({name}) for session {id}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The id that the batch would have had.
        id: i64,
    },
    /// The key came with another request before.
    #[error(transparent)]
    Key(#[from] KeyReused),
    /// The key's batch has been deleted, or is no longer shown.
    #[error("The batch {0} that this Idempotency-Key made is gone.")]
    Gone(i64),
    /// `limits.batches_queued` wait already, or as many of the owner as may.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// No driver can be started for its user.
    #[error(transparent)]
    User(#[from] NoUser),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What all batches share.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub store: Store,
    pub drivers: Arc<Drivers>,
    pub background: Background,
    pub table: Table,
    pub keys: Arc<Keys>,
    pub gpus: Gpus,
    pub starts: Starts,
    pub sharing: Sharing,
}

impl Shelf for Shared {
    fn names(&self) -> &Names {
        &self.table.by_name
    }
    fn has(&self, id: i64) -> bool {
        self.table.by_id.contains_key(&id)
    }
    fn has_ended(&self, id: i64) -> bool {
        // One that is not found yet is being stored.
        let found = self.table.by_id.get(&id);
        found.is_some_and(|batch| batch.snapshot().state.is_final())
    }
}

/// Batches by id and by owner and name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub by_id: DashMap<i64, Batch>,
    pub by_name: Names,
    /// Those that have ended and are shown, oldest end first. Some may have been deleted since.
    ended: Mutex<VecDeque<i64>>,
}

impl Table {
    /// Forgets a batch and frees the name that it has among its owner's. Does nothing the second time.
    pub(super) fn forget(&self, id: i64) {
        if let Some((_, batch)) = self.by_id.remove(&id) {
            self.free(id, batch.owner().as_ref(), batch.name.as_ref());
        }
    }

    /// Frees the name of a batch.
    fn free(&self, id: i64, owner: Option<&String>, name: Option<&String>) {
        if let Some(name) = name {
            let key = (owner.cloned(), name.clone());
            self.by_name.remove_if(&key, |_, named| *named == id);
        }
    }

    /// Notes that a batch has ended; gives those that are too many now, the oldest.
    fn retire(&self, id: i64, kept: usize) -> Vec<Batch> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back(id);
        if ended.len() <= kept {
            return Vec::new();
        }
        ended.retain(|id| self.by_id.contains_key(id));
        let too_many = ended.len().saturating_sub(kept);
        ended
            .drain(..too_many)
            .filter_map(|id| self.by_id.get(&id).map(|batch| batch.clone()))
            .collect()
    }
}

impl Shared {
    /// Notes that a batch has ended, and has the oldest removed where more than `batch.ended_kept` have.
    pub(super) async fn retire(&self, id: i64) {
        for batch in self.table.retire(id, self.config.batch.ended_kept) {
            batch.ask(Ask::Delete).await;
        }
    }
}

/// A batch. Clones name the same one.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Livy's small integer, counted apart from sessions.
    pub id: i64,
    /// Unique per owner among what has not ended.
    pub name: Option<String>,
    /// Whose it is, and with whom it is shared; it may be handed over.
    pub whose: Arc<Whose>,
    /// What it takes of its owner's quota.
    pub(super) claim: Claim,
    /// The uploads that the request names.
    pub uploads: Arc<[Uuid]>,
    /// Its cluster; none: the default one.
    pub cluster: Option<Arc<str>>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    asks: mpsc::Sender<Ask>,
}

impl Batch {
    /// The batch as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The user whose it is now; none without authentication.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.whose.owner()
    }

    /// Asks its task; one that has ended has nothing to do.
    pub(super) async fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }
}

/// The batches of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Batches {
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    next_id: Arc<AtomicI64>,
}

impl Batches {
    /// Opens the registry and takes back what an earlier server left (see `recovery`).
    ///
    /// # Errors
    /// The store can't be used.
    pub async fn open(
        config: Arc<Config>,
        store: Store,
        drivers: Arc<Drivers>,
        background: Background,
        scarce: &Scarce,
    ) -> Result<Self, StoreError> {
        let next_id = Arc::new(AtomicI64::new(store.next_batch_id().await?));
        let limits = &config.limits;
        let gate = Gate::new("batches", limits.batches, limits.batches_queued, scarce, &config);
        let sharing = Sharing::new(&store, &background, &gate, limits.shares);
        let shared = Arc::new(Shared {
            config,
            store,
            drivers,
            background,
            table: Table::default(),
            keys: Arc::default(),
            gpus: scarce.gpus.clone(),
            starts: scarce.starts.clone(),
            sharing,
        });
        let batches = Self {
            shared,
            gate,
            next_id,
        };
        Ok(batches)
    }

    /// Accepts a batch: stored once this answers, its driver starting or queued; true where it was stored before, under the same
    /// key.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(
        &self,
        request: NewBatch,
        key: Option<IdempotencyKey>,
    ) -> Result<(Batch, bool), CreateError> {
        let Some(key) = key else {
            return Ok((self.accept(request, None).await?, false));
        };
        let batches = self.clone();
        // As a task: a client that leaves must not end the key's turn before its batch is stored.
        let served = self.shared.background.spawn(async move {
            let shared = &batches.shared;
            match shared.keys.begin(&shared.store, key, -1).await? {
                Begun::Reused => Err(KeyReused.into()),
                Begun::Replay(row) => Ok((batches.made(&row)?, true)),
                Begun::First(_turn, row) => Ok((batches.accept(request, Some(row)).await?, false)),
            }
        });
        served
            .await
            .unwrap_or(Err(CreateError::Store(StoreError::Closed)))
    }

    /// The batch that this very request made before, where its key is known: it is answered the same, even where it would be
    /// refused by now because something that it names has gone.
    ///
    /// # Errors
    /// The key came with another request, or its batch is gone, or the store can't be read.
    pub async fn made_before(&self, key: Option<IdempotencyKey>) -> Result<Option<Batch>, CreateError> {
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

    fn made(&self, row: &IdempotencyRow) -> Result<Batch, CreateError> {
        self.by_id(row.session_id)
            .ok_or(CreateError::Gone(row.session_id))
    }

    async fn accept(
        &self,
        request: NewBatch,
        key: Option<Box<IdempotencyRow>>,
    ) -> Result<Batch, CreateError> {
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
        let row = BatchRow {
            id,
            name: request.name.clone(),
            owner: request.owner.clone(),
            proxy_user: request.proxy_user.clone(),
            state: BatchState::Starting.as_str().to_owned(),
            request: serde_json::to_string(&request).unwrap_or_default(),
            driver_id: None,
            epoch: shared.store.epoch(),
            exit_code: None,
            diagnosis: None,
            created: now_ms(),
            ended: None,
        };
        if let Err(error) = shared.store.write(Op::InsertBatch(Box::new(row), key)).await {
            shared
                .table
                .free(id, request.owner.as_ref(), request.name.as_ref());
            return Err(error.into());
        }
        crate::kill_point!("batch.inserted");
        info!(batch.id = id, "a batch was created");
        metrics::BATCHES_CREATED.inc();
        let mut snapshot = Snapshot::new(BatchState::Starting);
        snapshot.notes = Arc::new(request.notes.clone());
        let turn = turn.with_gpus(wanted(id, &request));
        Ok(self.enrol(id, request, claim, Vec::new(), snapshot, Begin::Queued(turn)))
    }

    /// Puts a stored batch into the table and starts its task.
    pub(super) fn enrol(
        &self,
        id: i64,
        request: NewBatch,
        claim: Claim,
        shares: Vec<Share>,
        mut snapshot: Snapshot,
        begin: Begin,
    ) -> Batch {
        let shared = &self.shared;
        if let Begin::Queued(turn) = &begin {
            // Who is told of the batch can read at once why it waits.
            Arc::make_mut(&mut snapshot.notes).extend(turn.notices());
        }
        let (asks, asks_waiting) = mpsc::channel(ASKS_WAITING);
        let (publish, published) = watch::channel(Arc::new(snapshot.clone()));
        let batch = Batch {
            id,
            name: request.name.clone(),
            whose: Arc::new(Whose::new(Ownership {
                shares,
                ..Ownership::of(request.owner.clone(), request.proxy_user.clone())
            })),
            claim,
            uploads: request.uploads.clone().into(),
            cluster: request.driver.cluster.as_deref().map(Into::into),
            snapshot: published,
            asks,
        };
        shared.table.by_id.insert(id, batch.clone());
        let life = Life {
            id,
            request,
            shared: Arc::clone(shared),
            asks: asks_waiting,
            publish,
            snapshot,
            reasons: 0,
            pod_log: None,
        };
        shared.background.spawn(life.run(begin));
        batch
    }

    /// Takes the name, if it is free, and an id.
    fn reserve(&self, request: &NewBatch) -> Result<i64, CreateError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let Some(name) = &request.name else {
            return Ok(id);
        };
        let table = &self.shared.table;
        match table.by_name.entry((request.owner.clone(), name.clone())) {
            Entry::Occupied(mut taken) => {
                let holder = self.by_id(*taken.get());
                // One that is not found yet is being stored.
                if holder.is_none_or(|batch| !batch.snapshot().state.is_final()) {
                    return Err(CreateError::DuplicateName {
                        name: name.clone(),
                        id,
                    });
                }
                taken.insert(id);
            }
            Entry::Vacant(free) => {
                free.insert(id);
            }
        }
        Ok(id)
    }

    /// Keeps the name of a batch that was accepted by an earlier server.
    pub(super) fn take_name(&self, id: i64, request: &NewBatch) {
        if let Some(name) = &request.name {
            let key = (request.owner.clone(), name.clone());
            self.shared.table.by_name.insert(key, id);
        }
    }

    /// The batch with this id.
    #[must_use]
    pub fn by_id(&self, id: i64) -> Option<Batch> {
        self.shared.table.by_id.get(&id).map(|batch| batch.clone())
    }

    /// The batch of this owner with this name; without an owner, of nobody.
    #[must_use]
    pub fn by_name(&self, owner: Option<&str>, name: &str) -> Option<Batch> {
        let key = (owner.map(str::to_owned), name.to_owned());
        let id = self.shared.table.by_name.get(&key).map(|id| *id)?;
        self.by_id(id)
    }

    /// All batches, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Batch> {
        let table = self.shared.table.by_id.iter();
        let mut all: Vec<Batch> = table.map(|entry| entry.value().clone()).collect();
        all.sort_unstable_by_key(|batch| batch.id);
        all
    }

    /// How many wait for their turn, and how many have it.
    #[must_use]
    pub fn lengths(&self) -> (usize, usize) {
        self.gate.lengths()
    }

    /// Shows each batch in memory, without waiting.
    pub fn each(&self, mut look: impl FnMut(&Batch)) {
        self.shared.table.by_id.iter().for_each(|batch| look(&batch));
    }

    /// Shows each batch that has not ended, without waiting.
    pub fn each_live(&self, mut look: impl FnMut(&Batch)) {
        let table = self.shared.table.by_id.iter();
        table
            .filter(|batch| !batch.snapshot().state.is_final())
            .for_each(|batch| look(&batch));
    }

    /// Deletes a batch: it is not found from the answer on; its driver ends soon after.
    ///
    /// # Errors
    /// The store can't be written; then the batch goes on.
    pub async fn delete(&self, batch: &Batch) -> Result<(), StoreError> {
        let (shared, batch) = (Arc::clone(&self.shared), batch.clone());
        // As a task: a client that leaves must not keep a batch whose row is gone.
        let deleted = self.shared.background.spawn(async move {
            shared.store.write(Op::DeleteBatch { id: batch.id }).await?;
            crate::kill_point!("batch.deleted");
            shared.table.forget(batch.id);
            batch.ask(Ask::Delete).await;
            Ok(())
        });
        deleted.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends every batch and waits until nothing of their drivers is left, at most `grace`. True when all have ended.
    pub async fn end_all(&self, grace: Duration) -> bool {
        let all = self.all();
        for batch in &all {
            let why = "The server was shut down (shutdown.sessions).".to_owned();
            batch.ask(Ask::End(why)).await;
        }
        let wait = async {
            for mut batch in all {
                // An error means that its task has ended, and so has its driver.
                let _ = batch
                    .snapshot
                    .wait_for(|snapshot| snapshot.state.is_final())
                    .await;
            }
            self.shared.drivers.staging_removed().await;
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }
}

/// What a batch takes of its owner's quota.
pub(super) fn claim(request: &NewBatch) -> Claim {
    Claim::new(request.owner.clone(), Kind::Batch, request.cost)
}

/// What a batch asks for of the GPUs.
pub(super) fn wanted(id: i64, request: &NewBatch) -> Option<Wanted> {
    request.gpus.clone().map(|ask| Wanted {
        owner: request.owner.clone(),
        who: format!("batch {id}"),
        ask,
    })
}
