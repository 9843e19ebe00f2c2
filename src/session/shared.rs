//! What all sessions of a server share: its parts, and the table in which they are found.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::handle::Session;
use super::request::NewSession;
use crate::background::Background;
use crate::config::Config;
use crate::driver::Drivers;
use crate::gpu::Gpus;
use crate::idempotency::Keys;
use crate::output::Outputs;
use crate::pool::Pool;
use crate::sharing::{Names, Sharing, Shelf};
use crate::starts::Starts;
use crate::store::Store;

/// What every session's actor uses.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub store: Store,
    pub drivers: Arc<Drivers>,
    pub background: Background,
    pub sessions: Table,
    pub keys: Arc<Keys>,
    pub outputs: Outputs,
    /// The results that may be fetched at the same time, of all sessions.
    pub downloads: Arc<Semaphore>,
    pub gpus: Gpus,
    pub starts: Starts,
    pub pool: Pool,
    pub sharing: Sharing,
}

/// Sessions by id and by owner and name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub by_id: DashMap<i64, Session>,
    pub by_name: Names,
}

impl Shelf for Shared {
    fn names(&self) -> &Names {
        &self.sessions.by_name
    }
    fn has(&self, id: i64) -> bool {
        self.sessions.by_id.contains_key(&id)
    }
    fn has_ended(&self, id: i64) -> bool {
        // One that is not found yet is being stored.
        let found = self.sessions.by_id.get(&id);
        found.is_some_and(|session| session.has_ended())
    }
}

impl Table {
    /// Forgets a session and frees the name that it has among its owner's. Does nothing the second time.
    pub(super) fn forget(&self, id: i64) {
        let Some((_, session)) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(name) = &session.name {
            self.by_name
                .remove_if(&(session.owner(), name.clone()), |_, named| *named == id);
        }
    }

    /// Frees the name of a session that was not stored.
    pub(super) fn remove(&self, id: i64, request: &NewSession) {
        if let Some(name) = &request.name {
            self.by_name
                .remove_if(&(request.owner.clone(), name.clone()), |_, named| *named == id);
        }
    }
}
