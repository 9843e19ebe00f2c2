//! Changes of whose a session or batch is and with whom it is shared: stored first, then seen by readers, one change at a time. Each is a task of
//! its own, so that a client that leaves doesn't leave the store and what readers see apart.
//!
//! What is counted by owner moves with a session or batch that is handed over: its name, its part of the quota and its GPUs, in one place
//! ([`Sharing::hand_over`]).
//!
//! Called by `session` and `batch`; calls `ownership`, `turn`, `quota` and `store`.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::background::Background;
use crate::clock::now_ms;
use crate::ownership::{Grantee, Ownership, Right, Share, Whose};
use crate::quota::Claim;
use crate::store::{Op, ShareRow, Store, StoreError, Subject};
use crate::turn::{Gate, NoRoom};

/// Ids by owner and name.
pub type Names = DashMap<(Option<String>, String), i64>;

/// Why something was not shared or handed over. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SharingError {
    /// It is shared with `limits.shares` already.
    #[error("It is shared with {0} users and groups already (limits.shares).")]
    TooMany(usize),
    /// The new owner has one of this name.
    #[error("{0} has one of this name already.")]
    NameTaken(String),
    /// The new owner may not hold so many GPUs.
    #[error("{0} may not hold the GPUs that it has (gpu.owner_limit).")]
    TooManyGpus(String),
    /// The new owner's quota has no room for it.
    #[error("Over quota: {why}, and it would be one more of {to}.")]
    OverQuota {
        /// The new owner.
        to: String,
        /// Usage and limit.
        why: String,
    },
    /// It has ended and is no longer shown.
    #[error("it is gone")]
    Gone,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where sessions, or batches, are found.
pub trait Shelf: Send + Sync + 'static {
    /// Their names.
    fn names(&self) -> &Names;
    /// Whether this one is there.
    fn has(&self, id: i64) -> bool;
    /// Whether the name that this one has can be taken by another.
    fn has_ended(&self, id: i64) -> bool;
}

/// What is changed.
#[derive(Clone, Debug)]
pub struct Possession {
    /// Which session or batch it is.
    pub subject: Subject,
    /// Its name.
    pub name: Option<String>,
    /// The place that changes.
    pub whose: Arc<Whose>,
    /// What it takes of its owner's quota.
    pub claim: Claim,
}

/// Changes shares and owners. Clones take turns.
#[derive(Clone, Debug)]
pub struct Sharing {
    store: Store,
    background: Background,
    gate: Gate,
    most: usize,
    turn: Arc<Mutex<()>>,
}

impl Sharing {
    /// Each is shared with `most` users and groups at most.
    #[must_use]
    pub fn new(store: &Store, background: &Background, gate: &Gate, most: usize) -> Self {
        Self {
            store: store.clone(),
            background: background.clone(),
            gate: gate.clone(),
            most,
            turn: Arc::default(),
        }
    }

    /// Shares it, in place of what that user or group was given before.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: what was begun is done.
    pub async fn put(&self, shared: &Possession, share: Share) -> Result<(), SharingError> {
        let shared = shared.clone();
        self.change(move |sharing| async move {
            let next = shared.whose.get().with(share.clone());
            if next.shares.len() > sharing.most {
                return Err(SharingError::TooMany(sharing.most));
            }
            let row = ShareRow {
                created: now_ms(),
                ..row(shared.subject.id(), &share)
            };
            sharing
                .store
                .write(Op::PutShare(shared.subject, Box::new(row)))
                .await?;
            shared.whose.set(next);
            Ok(())
        })
        .await
    }

    /// Takes a share back. False where there is none.
    ///
    /// # Errors
    /// It could not be stored. Cancel safety: as of [`Sharing::put`].
    pub async fn remove(&self, shared: &Possession, with: Grantee) -> Result<bool, SharingError> {
        let shared = shared.clone();
        self.change(move |sharing| async move {
            let Some(next) = shared.whose.get().without(&with) else {
                return Ok(false);
            };
            let (kind, name) = words(&with);
            let (kind, name) = (kind.to_owned(), name.to_owned());
            let of = shared.subject;
            sharing.store.write(Op::RemoveShare { of, kind, name }).await?;
            shared.whose.set(next);
            Ok(true)
        })
        .await
    }

    /// Makes it that user's: its row, its name among theirs, and what it takes or waits for of their quota and of the GPUs. `shelf` is where it is found.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: as of [`Sharing::put`].
    pub async fn hand_over<T: Shelf>(
        &self,
        shelf: Arc<T>,
        shared: &Possession,
        to: &str,
    ) -> Result<(), SharingError> {
        let (shared, to) = (shared.clone(), to.to_owned());
        self.change(move |sharing| async move {
            let of = shared.subject;
            let before = shared.whose.get();
            let owner = Some(to.clone());
            if before.owner == owner {
                return Ok(());
            }
            let key = |owner: &Option<String>| Some((owner.clone(), shared.name.clone()?));
            let (old_key, new_key) = (key(&before.owner), key(&owner));
            take_name(&*shelf, new_key.as_ref(), of.id(), &to)?;
            let who = format!("{} {}", of.what(), of.id());
            if let Err(no_room) = sharing.gate.hand_over(&who, &shared.claim, &owner) {
                free_name(&*shelf, new_key.as_ref(), of.id());
                return Err(match no_room {
                    NoRoom::Quota(why) => SharingError::OverQuota { to, why: why.0 },
                    NoRoom::Gpus => SharingError::TooManyGpus(to),
                });
            }
            if let Err(error) = sharing.store.write(Op::SetOwner { of, owner }).await {
                sharing.gate.take_back(&who, &shared.claim, &before.owner);
                free_name(&*shelf, new_key.as_ref(), of.id());
                return Err(error.into());
            }
            shared.whose.set(before.handed_to(&to));
            free_name(&*shelf, old_key.as_ref(), of.id());
            if !shelf.has(of.id()) {
                // It went meanwhile, and has freed the name that it had then.
                free_name(&*shelf, new_key.as_ref(), of.id());
            }
            info!(subject = who, "it was handed over");
            Ok(())
        })
        .await
    }

    async fn change<T, F>(&self, change: impl FnOnce(Self) -> F) -> Result<T, SharingError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SharingError>> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn);
        let change = change(self.clone());
        let changed = self.background.spawn(async move {
            let _turn = turn.lock_owned().await;
            change.await
        });
        changed
            .await
            .unwrap_or(Err(SharingError::Store(StoreError::Closed)))
    }
}

/// Takes a name for it, unless another that has not ended has it.
fn take_name(
    shelf: &impl Shelf,
    key: Option<&(Option<String>, String)>,
    id: i64,
    to: &str,
) -> Result<(), SharingError> {
    if !shelf.has(id) {
        return Err(SharingError::Gone);
    }
    let Some(key) = key.filter(|_| !shelf.has_ended(id)) else {
        return Ok(());
    };
    match shelf.names().entry(key.clone()) {
        Entry::Occupied(taken) if !shelf.has_ended(*taken.get()) => {
            Err(SharingError::NameTaken(to.to_owned()))
        }
        Entry::Occupied(mut taken) => {
            taken.insert(id);
            Ok(())
        }
        Entry::Vacant(free) => {
            free.insert(id);
            Ok(())
        }
    }
}

fn free_name(shelf: &impl Shelf, key: Option<&(Option<String>, String)>, id: i64) {
    if let Some(key) = key {
        shelf.names().remove_if(key, |_, named| *named == id);
    }
}

/// The ids of all that have this name, whosever they are.
#[must_use]
pub fn ids_named(names: &Names, name: &str) -> Vec<i64> {
    let named = names.iter().filter(|entry| entry.key().1 == name);
    named.map(|entry| *entry.value()).collect()
}

/// The shares of all sessions or batches by their ids, as the store has them. A row that makes no sense gives nothing.
#[must_use]
pub fn by_subject(rows: Vec<ShareRow>) -> HashMap<i64, Vec<Share>> {
    let mut found: HashMap<i64, Vec<Share>> = HashMap::new();
    for row in rows {
        match share(&row) {
            Some(share) => found.entry(row.subject).or_default().push(share),
            None => warn!(
                subject = row.subject,
                "a stored share makes no sense and gives nothing"
            ),
        }
    }
    found.values_mut().for_each(|shares| shares.sort());
    found
}

/// Whose a session or batch is that the store has, with these rows of its shares.
#[must_use]
pub fn stored(owner: Option<String>, proxy_user: Option<String>, rows: Vec<ShareRow>) -> Ownership {
    Ownership {
        shares: by_subject(rows).into_values().flatten().collect(),
        ..Ownership::of(owner, proxy_user)
    }
}

fn share(row: &ShareRow) -> Option<Share> {
    let name = row.name.clone();
    let with = match row.kind.as_str() {
        "user" => Grantee::User(name),
        "group" => Grantee::Group(name),
        _ => return None,
    };
    let right = Right::parse(&row.access)?;
    Some(Share { with, right })
}

fn row(subject: i64, share: &Share) -> ShareRow {
    let (kind, name) = words(&share.with);
    ShareRow {
        subject,
        kind: kind.to_owned(),
        name: name.to_owned(),
        access: share.right.as_str().to_owned(),
        created: 0,
    }
}

fn words(with: &Grantee) -> (&'static str, &str) {
    match with {
        Grantee::User(name) => ("user", name),
        Grantee::Group(name) => ("group", name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_was_shared_or_nothing() {
        for with in [Grantee::User("ada".to_owned()), Grantee::Group("ops".to_owned())] {
            for right in Right::ALL {
                let one = Share {
                    with: with.clone(),
                    right,
                };
                assert_eq!(share(&row(7, &one)), Some(one));
            }
        }
        let sound = row(
            7,
            &Share {
                with: Grantee::User("ada".to_owned()),
                right: Right::View,
            },
        );
        let odd = [
            ShareRow {
                kind: "User".to_owned(),
                ..sound.clone()
            },
            ShareRow {
                access: "all".to_owned(),
                ..sound.clone()
            },
        ];
        for row in odd {
            assert!(by_subject(vec![row]).is_empty());
        }
        assert_eq!(by_subject(vec![sound]).len(), 1);
    }
}
