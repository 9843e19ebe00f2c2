//! Idempotency-Key: the same request sent again is answered with what the first one made (contracts.md, Held requests). Called by whoever accepts
//! something; calls `store`.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::now_ms;
use crate::store::{IdempotencyRow, Store, StoreError};

/// A request's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose it is, and of which collection: others may use the same.
    pub scope: String,
    /// The header's value.
    pub key: String,
    /// SHA-256 of the request, as hex digits.
    pub fingerprint: String,
}

/// The key came with another request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The Idempotency-Key was used for another request; a new request needs a new key.")]
pub struct KeyReused;

/// What to do with a request that has a key.
#[derive(Debug)]
pub enum Begun {
    /// It is the first: serve it, store the row with what it makes, then let go of the turn.
    First(Turn, Box<IdempotencyRow>),
    /// It was answered before.
    Replay(Box<IdempotencyRow>),
    /// Its key belongs to another request.
    Reused,
}

/// The keys that are being served. Requests with the same key take turns, so that the second finds what the first stored.
#[derive(Debug, Default)]
pub struct Keys {
    busy: DashMap<(String, String), Arc<Mutex<()>>>,
}

/// A key's turn; the key is free again when it is dropped.
#[derive(Debug)]
pub struct Turn {
    keys: Arc<Keys>,
    key: (String, String),
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        // Those who wait hold it as well.
        self.keys
            .busy
            .remove_if(&self.key, |_, mutex| Arc::strong_count(mutex) == 1);
    }
}

impl Keys {
    /// Waits for the key's turn, then looks what the store has of it. A caller that may leave (an HTTP handler) runs this and what
    /// follows as a task of its own.
    pub async fn begin(
        self: &Arc<Self>,
        store: &Store,
        key: IdempotencyKey,
        session_id: i64,
    ) -> Result<Begun, StoreError> {
        let IdempotencyKey {
            scope,
            key,
            fingerprint,
        } = key;
        let turn = self.turn((scope.clone(), key.clone())).await;
        Ok(match store.idempotent(&scope, &key).await? {
            Some(row) if row.fingerprint == fingerprint => Begun::Replay(Box::new(row)),
            Some(_) => Begun::Reused,
            None => Begun::First(
                turn,
                Box::new(IdempotencyRow {
                    scope,
                    key,
                    fingerprint,
                    session_id,
                    statement_id: None,
                    created: now_ms(),
                }),
            ),
        })
    }

    async fn turn(self: &Arc<Self>, key: (String, String)) -> Turn {
        let mutex = Arc::clone(self.busy.entry(key.clone()).or_default().value());
        Turn {
            keys: Arc::clone(self),
            key,
            guard: Some(mutex.lock_owned().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_takes_turns_and_is_forgotten() {
        let keys = Arc::new(Keys::default());
        let name = ("scope".to_owned(), "key".to_owned());
        let first = keys.turn(name.clone()).await;
        let mut second = Box::pin(keys.turn(name));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert!(keys.busy.is_empty());
    }
}
