//! What an earlier server left, taken back at the start: batches that run, that wait, that have ended and are still shown.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::life::Begin;
use super::registry::{Batches, Shared, claim, wanted};
use super::request::NewBatch;
use super::snapshot::Snapshot;
use super::state::BatchState;
use crate::clock::now_ms;
use crate::cluster::Recovering;
use crate::driver::{DriverPlace, RunDir};
use crate::ownership::Share;
use crate::policy;
use crate::sharing::by_subject;
use crate::store::{BatchRow, LeftDriver, Op, StoreError, Subject};

/// Drivers that are ended at the same time.
const CLEARED_AT_ONCE: usize = 32;
/// Rows of batches that have ended long ago, removed one after another.
const ROWS: i64 = 100;

impl Batches {
    /// Takes back everything in the store; what can't be is told dead with the reason. One bad batch costs only itself. `recovering` is dropped
    /// once nothing of an earlier server is left that nobody has.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn take_back(&self, recovering: Recovering) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let shown = self.shared.config.batch.ended_shown.get();
        let since = now_ms().saturating_sub(i64::try_from(shown.as_millis()).unwrap_or(i64::MAX));
        let mut count = 0;
        let mut shares = by_subject(store.shares(Subject::Batch(0), since).await?);
        for row in store.batches(since).await? {
            let id = row.id;
            let shares = shares.remove(&id).unwrap_or_default();
            count += usize::from(row.ended.is_none());
            let request = row.request.clone();
            if let Err(why) = self.take_back_one(row, shares).await {
                error!(batch.id = id, %why, "a batch of an earlier server can't be taken back");
                self.close(id, why, policy::without_secrets(&request)).await?;
            }
        }
        if count > 0 {
            info!(batches = count, "batches of an earlier server are taken back");
        }
        self.shared
            .background
            .spawn(clear_up(Arc::clone(&self.shared), since, recovering));
        Ok(())
    }

    /// Starts the batch's task on what is left of it. An error is the sentence why nothing can be.
    async fn take_back_one(&self, row: BatchRow, shares: Vec<Share>) -> Result<(), String> {
        let mut request: NewBatch = serde_json::from_str(&row.request)
            .map_err(|error| format!("The stored request can't be read: {error}."))?;
        // It may have been handed over since it was asked for: then the groups are not its owner's.
        if request.owner == row.owner && row.ended.is_none() {
            self.gate.quotas().know(request.owner.as_deref(), &request.groups);
        }
        request.owner.clone_from(&row.owner);
        let claim = claim(&request);
        let state = BatchState::from_stored(&row.state)
            .ok_or_else(|| format!("{:?} is no state of a batch.", row.state))?;
        let shared = &self.shared;
        let driver: Option<Uuid> = row.driver_id.as_deref().and_then(|id| id.parse().ok());
        let mut snapshot = Snapshot::new(state);
        snapshot.exit_code = row.exit_code.and_then(|code| i32::try_from(code).ok());
        snapshot.run_dir = driver.map(|id| shared.drivers.run_dir(id));
        snapshot.application = snapshot
            .run_dir
            .as_ref()
            .and_then(RunDir::application)
            .map(Arc::new);
        snapshot.diagnosis = row.diagnosis.as_deref().map(Into::into);
        snapshot.notes = Arc::new(snapshot.run_dir.as_ref().map_or_else(Vec::new, RunDir::notes));
        if let Some(ended) = row.ended {
            let ago = u64::try_from(now_ms().saturating_sub(ended)).unwrap_or(0);
            self.enrol(
                row.id,
                request,
                claim,
                shares,
                snapshot,
                Begin::Ended(Duration::from_millis(ago)),
            );
            return Ok(());
        }
        let adopted = match driver {
            None => None,
            Some(id) => {
                let (drivers, spec) = (Arc::clone(&shared.drivers), request.driver.clone());
                let was_started = state == BatchState::Running;
                let adopted = shared
                    .background
                    .blocking(move || drivers.adopt(id, &spec, was_started))
                    .await;
                let adopted = adopted
                    .map_err(|panicked| panicked.to_string())?
                    .map_err(|error| format!("The batch's driver can't be taken back: {error}."))?;
                if adopted.is_none() && !was_started {
                    // It never was, and holds nothing.
                    drop(self.gate.gpus().claim(id));
                    let ended = Op::EndDriver {
                        id: id.to_string(),
                        at: now_ms(),
                    };
                    shared
                        .store
                        .write(ended)
                        .await
                        .map_err(|error| error.to_string())?;
                }
                adopted
            }
        };
        self.take_name(row.id, &request);
        let begin = match adopted {
            Some((driver, events)) => {
                if !request.is_remote(&shared.drivers) {
                    snapshot.state = BatchState::Running;
                }
                let held = self.gate.running(driver.id, &claim);
                Begin::Adopted { driver, events, held }
            }
            None => {
                snapshot.run_dir = None;
                snapshot.application = None;
                snapshot.notes = Arc::new(request.notes.clone());
                let turn = self.gate.enter_again(claim.clone());
                Begin::Queued(turn.with_gpus(wanted(row.id, &request)))
            }
        };
        self.enrol(row.id, request, claim, shares, snapshot, begin);
        Ok(())
    }

    async fn close(&self, id: i64, why: String, request: Option<String>) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let op = Op::UpdateBatch {
            id,
            epoch: store.epoch(),
            state: BatchState::Dead.as_str().to_owned(),
            exit_code: None,
            diagnosis: Some(why),
            ended: Some(now_ms()),
            request,
        };
        store.write(op).await
    }
}

/// Ends the drivers of batches that are gone, and removes batches that ended before `since`.
async fn clear_up(shared: Arc<Shared>, since: i64, recovering: Recovering) {
    let cleared = async {
        loop {
            let old = shared.store.batches_ended_before(since, ROWS).await?;
            if old.is_empty() {
                break;
            }
            for id in old {
                shared.store.write(Op::DeleteBatch { id }).await?;
            }
        }
        let drivers = shared.store.drivers_without_batch().await?;
        stream::iter(drivers)
            .for_each_concurrent(CLEARED_AT_ONCE, |row| end(&shared, row))
            .await;
        Ok::<(), StoreError>(())
    };
    if let Err(error) = cleared.await {
        warn!(%error, "what is left of earlier batches could not be removed");
    }
    drop(recovering);
}

async fn end(shared: &Shared, row: LeftDriver) {
    let Ok(driver) = row.id.parse() else { return };
    let place = DriverPlace {
        cluster: row.cluster,
        is_remote: row.remote,
    };
    let _lease = shared.gpus.claim(driver);
    if shared.drivers.end_leftover(driver, true, &place).await {
        shared.store.insist(Op::ForgetDriver { id: row.id }).await;
    }
}
