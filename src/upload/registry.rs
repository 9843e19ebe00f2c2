//! Which uploads there are, who may use them, and when they go.
//!
//! What a live session or batch refers to stays. A request that is being accepted holds a [`Claim`] until what it makes is
//! found among the live ones, so that at no moment nobody seems to refer to the upload.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tracing::info;
use uuid::Uuid;

use super::directory::{Directory, Upload};
use super::error::UploadError;
use super::receiving::{self, Receiving, Wanted};
use super::room::Room;
use crate::background::Background;
use crate::config::{Config, Durability};
use crate::quota::Quotas;

/// What is in use.
#[derive(Debug, Default)]
pub struct InUse {
    /// Uploads that the requests of live sessions and batches name.
    pub uploads: HashSet<Uuid>,
    /// The live sessions.
    pub sessions: HashSet<i64>,
}

impl InUse {
    fn has(&self, upload: &Upload) -> bool {
        self.uploads.contains(&upload.id) || upload.session.is_some_and(|id| self.sessions.contains(&id))
    }
}

/// Tells what is in use now.
struct Look(Box<dyn Fn() -> InUse + Send + Sync>);

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

#[derive(Debug)]
struct Held {
    upload: Arc<Upload>,
    /// Requests being accepted that name it.
    claims: usize,
    /// When something was last known to refer to it.
    used: Instant,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub directory: Directory,
    pub room: Room,
    pub background: Background,
    slots: Arc<Semaphore>,
    look: Look,
    table: Mutex<HashMap<Uuid, Held>>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, HashMap<Uuid, Held>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an upload that is on the disk into the table.
    pub(super) fn enter(&self, upload: Upload) -> Arc<Upload> {
        let upload = Arc::new(upload);
        let held = Held {
            upload: Arc::clone(&upload),
            claims: 0,
            used: Instant::now(),
        };
        self.table().insert(upload.id, held);
        upload
    }

    /// Removes what is out of the table already.
    fn clear(&self, upload: &Upload) {
        self.directory.remove(upload.id);
        self.room.leave(upload.owner.as_ref(), upload.size);
    }

    /// Takes what need not be kept any longer out of the table.
    fn take_unused(&self) -> Vec<Arc<Upload>> {
        let kept = self.config.upload.kept.get();
        let mut table = self.table();
        if table.is_empty() {
            return Vec::new();
        }
        // Looked at with the table locked: a claim that is gone has left what it was for.
        let in_use = (self.look.0)();
        let now = Instant::now();
        let mut unused = Vec::new();
        table.retain(|_, held| {
            if held.claims > 0 || in_use.has(&held.upload) {
                held.used = now;
            }
            let stays =
                held.used == now || held.upload.session.is_none() && now.duration_since(held.used) < kept;
            if !stays {
                unused.push(Arc::clone(&held.upload));
            }
            stays
        });
        unused
    }
}

/// The uploads of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Uploads {
    shared: Arc<Shared>,
}

impl Uploads {
    /// Takes back what lies in `STATE_DIR/uploads`, removes what a crash left there, and from then on whatever nothing refers
    /// to any longer. `look` tells what sessions and batches refer to; it must not wait.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open(
        config: Arc<Config>,
        background: Background,
        quotas: Quotas,
        look: impl Fn() -> InUse + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let durable = config.store.durability == Durability::Power;
        let (directory, found) = Directory::open(config.server.state_dir.join("uploads"), durable)?;
        let shared = Arc::new(Shared {
            directory,
            room: Room::new(config.upload.clone(), quotas),
            slots: Arc::new(Semaphore::new(config.upload.at_once)),
            look: Look(Box::new(look)),
            table: Mutex::default(),
            background,
            config,
        });
        for upload in found {
            shared.room.occupy(upload.owner.as_ref(), upload.size);
            shared.enter(upload);
        }
        let background = &shared.background;
        background.spawn(watch(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// Begins to receive a file whose name has been checked; `session`: the one that it is for alone.
    ///
    /// # Errors
    /// [`UploadError::Busy`].
    pub fn receive(
        &self,
        owner: Option<&str>,
        session: Option<i64>,
        name: String,
    ) -> Result<Receiving, UploadError> {
        let shared = &self.shared;
        let permit = Arc::clone(&shared.slots)
            .try_acquire_owned()
            .map_err(|_| UploadError::Busy(shared.config.upload.at_once))?;
        let wanted = Wanted {
            name,
            owner: owner.map(str::to_owned),
            session,
        };
        Ok(Receiving::begin(shared, wanted, permit))
    }

    /// Gives a session an upload for itself, which stays as long as the session lives. The claim keeps the upload meanwhile.
    ///
    /// # Errors
    /// There is no room for it, or the disk says no.
    pub async fn give(&self, claim: Claim, session: i64) -> Result<Arc<Upload>, UploadError> {
        let background = &self.shared.background;
        let linked = background.blocking(move || receiving::link(&claim.shared, &claim.upload, session));
        linked.await.unwrap_or(Err(UploadError::Unfinished))
    }

    /// An owner's uploads, oldest first; not those for one session alone.
    #[must_use]
    pub fn of(&self, owner: Option<&str>) -> Vec<Arc<Upload>> {
        let table = self.shared.table();
        let own = table.values().filter(|held| is_of(&held.upload, owner));
        let mut own: Vec<_> = own.map(|held| Arc::clone(&held.upload)).collect();
        drop(table);
        own.sort_unstable_by_key(|upload| (upload.created, upload.id));
        own
    }

    /// How many bytes an owner's uploads count for, those of live sessions as well.
    #[must_use]
    pub fn taken(&self, owner: Option<&str>) -> u64 {
        self.shared.room.taken(owner)
    }

    /// One of an owner's uploads.
    #[must_use]
    pub fn get(&self, owner: Option<&str>, id: Uuid) -> Option<Arc<Upload>> {
        let table = self.shared.table();
        let held = table.get(&id).filter(|held| is_of(&held.upload, owner))?;
        Some(Arc::clone(&held.upload))
    }

    /// One of an owner's uploads, for a request that names it: it stays as long as the claim.
    #[must_use]
    pub fn claim(&self, owner: Option<&str>, id: Uuid) -> Option<Claim> {
        let mut table = self.shared.table();
        let held = table.get_mut(&id).filter(|held| is_of(&held.upload, owner))?;
        held.claims += 1;
        Some(Claim {
            upload: Arc::clone(&held.upload),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Where the bytes of an upload are.
    #[must_use]
    pub fn path(&self, upload: &Upload) -> PathBuf {
        self.shared.directory.file(upload)
    }

    /// Removes an upload. False where a live session or batch refers to it, or a request that is being accepted.
    pub async fn remove(&self, upload: &Arc<Upload>) -> bool {
        let shared = &self.shared;
        {
            let mut table = shared.table();
            let in_use = (shared.look.0)();
            let claimed = |held: &Held| held.claims > 0;
            if in_use.uploads.contains(&upload.id) || table.get(&upload.id).is_some_and(claimed) {
                return false;
            }
            if table.remove(&upload.id).is_none() {
                return true;
            }
        }
        let (shared, upload) = (Arc::clone(shared), Arc::clone(upload));
        let background = shared.background.clone();
        // A panic has been reported by then.
        let _ = background.blocking(move || shared.clear(&upload)).await;
        true
    }
}

/// An upload's own file, kept for a request that is being accepted.
#[derive(Debug)]
pub struct Claim {
    upload: Arc<Upload>,
    shared: Arc<Shared>,
}

impl Claim {
    /// The upload.
    #[must_use]
    pub fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Where its bytes are.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.directory.file(&self.upload)
    }

    /// The directory that has nothing else.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.shared.directory.of(self.upload.id)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.shared.table().get_mut(&self.upload.id) {
            held.claims -= 1;
            held.used = Instant::now();
        }
    }
}

fn is_of(upload: &Upload, owner: Option<&str>) -> bool {
    upload.owner.as_deref() == owner && upload.session.is_none()
}

/// Removes what nothing refers to, until the server stops.
async fn watch(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.config.session.watch_interval.get());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = shared.background.stopping().clone();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
        let unused = shared.take_unused();
        if unused.is_empty() {
            continue;
        }
        info!(
            uploads = unused.len(),
            "uploads that nothing refers to are removed"
        );
        let cleared = Arc::clone(&shared);
        let clear = move || unused.iter().for_each(|upload| cleared.clear(upload));
        // A panic has been reported by then.
        let _ = shared.background.blocking(clear).await;
    }
}
