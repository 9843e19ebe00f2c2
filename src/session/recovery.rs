//! What an earlier server left, taken back at the start: sessions with their drivers, sessions that wait for one, sessions that have
//! ended and are still shown, and drivers that nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::actor::{Begin, Past};
use super::registry::{Sessions, claim, wanted};
use super::request::NewSession;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::state::SessionState;
use super::statement::Statement;
use super::stored::sound;
use crate::clock::now_ms;
use crate::driver::{DriverPlace, Recovering, RunDir};
use crate::ownership::Share;
use crate::policy;
use crate::sharing::by_subject;
use crate::store::{LeftDriver, Op, SessionRow, StoreError, Subject, Trouble};

/// Drivers that are ended at the same time.
const CLEARED_AT_ONCE: usize = 32;

impl Sessions {
    /// Takes back everything in the store; what can't be is told dead with the reason. One bad session costs only itself. `recovering` is dropped
    /// once nothing of an earlier server is left that nobody has.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn take_back(&self, recovering: Recovering) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let shown = self.shared.config.session.ended_shown.get();
        let since = now_ms().saturating_sub(i64::try_from(shown.as_millis()).unwrap_or(i64::MAX));
        for id in store.half_ended_sessions().await? {
            if let Err(error) = self
                .close_statements(id, "The server was killed meanwhile.")
                .await
            {
                warn!(session.id = id, %error, "statements of an ended session could not be ended");
            }
        }
        let mut shares = by_subject(store.shares(Subject::Session(0), since).await?);
        for row in store.ended_since(since).await? {
            let shares = shares.remove(&row.id).unwrap_or_default();
            self.show_ended(&row, shares);
        }
        let rows = store.unended_sessions().await?.into_iter();
        let rows: Vec<SessionRow> = rows.filter_map(|row| sound(store, row)).collect();
        crate::kill_point!("recovery.scanned");
        let count = rows.len();
        for (at, row) in rows.into_iter().enumerate() {
            if at == count / 2 {
                crate::kill_point!("recovery.half");
            }
            let id = row.id;
            let shares = shares.remove(&id).unwrap_or_default();
            let request = row.request.clone();
            if let Err(why) = self.take_back_one(row, shares).await {
                error!(session.id = id, %why, "a session of an earlier server can't be taken back");
                match self.close(id, &why, policy::without_secrets(&request)).await {
                    // What can't even be closed must not stop the start.
                    Err(failed) if failed.trouble() == Some(Trouble::Damaged) => {
                        store.set_aside(&id.to_string(), &why);
                    }
                    closed => closed?,
                }
            }
        }
        if count > 0 {
            info!(sessions = count, "sessions of an earlier server are taken back");
        }
        let (sessions, pool) = (self.clone(), self.shared.pool.clone());
        self.shared.background.spawn(async move {
            clear_up(sessions).await;
            drop(recovering);
            // What an earlier server's warm drivers held is free by now.
            pool.begin();
        });
        Ok(())
    }

    /// Starts the session's actor on what is left of it. An error is the sentence why nothing can be.
    async fn take_back_one(&self, row: SessionRow, shares: Vec<Share>) -> Result<(), String> {
        let stored = |error: StoreError| error.to_string();
        let mut request: NewSession = serde_json::from_str(&row.request)
            .map_err(|error| format!("The stored request can't be read: {error}."))?;
        // It may have been handed over since it was asked for: then the groups are not its owner's.
        if request.owner == row.owner {
            self.quotas().know(request.owner.as_deref(), &request.groups);
        }
        request.owner.clone_from(&row.owner);
        let claim = claim(&request);
        let was_ready = row.app_id.is_some();
        let driver = match &row.driver_id {
            Some(id) => {
                let id: Uuid = id.parse().map_err(|_| format!("{id:?} is no driver's id."))?;
                let (drivers, spec) = (Arc::clone(&self.shared.drivers), request.driver.clone());
                let adopted = self
                    .shared
                    .background
                    .blocking(move || drivers.adopt(id, &spec, was_ready))
                    .await;
                let adopted = adopted
                    .map_err(|panicked| panicked.to_string())?
                    .map_err(|error| format!("The session's driver can't be taken back: {error}."))?;
                if adopted.is_none() && !was_ready {
                    // It never was, and holds nothing.
                    drop(self.gate.gpus().claim(id));
                    let (id, at) = (id.to_string(), now_ms());
                    self.shared
                        .store
                        .write(Op::EndDriver { id, at })
                        .await
                        .map_err(stored)?;
                }
                adopted
            }
            None => None,
        };
        if row.app_id.is_some() && driver.is_none() {
            // What statements have made in it is gone: another driver would be another session.
            return Err("Nothing is left of the directory of the session's driver.".to_owned());
        }
        let statements = self
            .shared
            .store
            .unended_statements(row.id)
            .await
            .map_err(stored)?;
        let mut statements: Vec<_> = statements
            .into_iter()
            .map(|row| Arc::new(Statement::from_row(row, &self.shared.store, &self.shared.outputs)))
            // One whose row is damaged is never run.
            .filter(|statement| !statement.state.is_final())
            .collect();
        statements.sort_unstable_by_key(|statement| statement.place());
        let next_job = self.shared.store.next_job_id(row.id).await.map_err(stored)?;
        let state = match row.state.as_str() {
            "shutting_down" => SessionState::ShuttingDown,
            // Clients that wait for a start know no other word (clients.md, W3).
            _ if !was_ready => SessionState::Starting,
            _ => SessionState::Recovering,
        };
        let mut snapshot = of_row(&row, state);
        let reason = snapshot.diagnosis.take().map(|reason| reason.to_string());
        if let Some((driver, _)) = &driver {
            snapshot.notes = Arc::new(driver.run_dir.notes());
        }
        let past = Past {
            snapshot,
            statements: statements.into(),
            next_job,
            next_statement: self
                .shared
                .store
                .next_statement_id(row.id)
                .await
                .map_err(stored)?,
            was_ready,
            reason,
            age: driver
                .as_ref()
                .and_then(|(driver, _)| driver.run_dir.named_keeper())
                .map_or(Duration::ZERO, |keeper| keeper.age()),
            shares,
        };
        let begin = match driver {
            Some((driver, events)) => {
                let held = self.gate.running(driver.id, &claim);
                Begin::Adopted { driver, events, held }
            }
            None => {
                let turn = self.gate.enter_again(claim.clone());
                Begin::Queued(turn.with_gpus(wanted(row.id, &request)), None)
            }
        };
        self.take_name(row.id, &request);
        self.enrol(row.id, request, claim, past, begin);
        Ok(())
    }

    fn show_ended(&self, row: &SessionRow, shares: Vec<Share>) {
        let Ok(mut request) = serde_json::from_str::<NewSession>(&row.request) else {
            // Its row stays in the history.
            return;
        };
        request.owner.clone_from(&row.owner);
        let mut snapshot = of_row(row, SessionState::Dead);
        let driver = row.driver_id.as_deref().and_then(|id| id.parse().ok());
        snapshot.run_dir = driver.map(|id: Uuid| self.shared.drivers.run_dir(id));
        snapshot.notes = Arc::new(snapshot.run_dir.as_ref().map_or_else(Vec::new, RunDir::notes));
        let ago = now_ms().saturating_sub(row.ended.unwrap_or(0));
        let past = Past {
            snapshot,
            age: Duration::from_millis(u64::try_from(ago).unwrap_or(0)),
            shares,
            ..Past::none(&request)
        };
        let claim = claim(&request);
        self.enrol(row.id, request, claim, past, Begin::Ended);
    }

    /// Ends a session of which nothing can be taken back. Its statements say so.
    async fn close(&self, id: i64, why: &str, request: Option<String>) -> Result<(), StoreError> {
        self.close_statements(id, why).await?;
        let store = &self.shared.store;
        let op = Op::UpdateSession {
            id,
            epoch: store.epoch(),
            state: SessionState::Dead.as_str().to_owned(),
            app_id: None,
            ui_url: None,
            diagnosis: Some(why.to_owned()),
            ended: Some(now_ms()),
            request,
        };
        store.write(op).await
    }

    async fn close_statements(&self, id: i64, why: &str) -> Result<(), StoreError> {
        let store = &self.shared.store;
        for statement in store.unended_statements(id).await? {
            let statement = Statement::from_row(statement, store, &self.shared.outputs).lost(why);
            store.write(statement.end(id)).await?;
        }
        Ok(())
    }
}

/// Removes the outputs of sessions that have no statements any more: a server was killed before it came to that.
pub(super) async fn clear_outputs(shared: Arc<Shared>) {
    for session in shared.outputs.sessions() {
        // Where the store can't be read the next start looks again.
        if let Ok(None) = shared.store.statement_at(session, 0).await {
            shared.outputs.forget(session);
        }
    }
}

fn of_row(row: &SessionRow, state: SessionState) -> Snapshot {
    let mut snapshot = Snapshot::new(state);
    snapshot.app_id.clone_from(&row.app_id);
    snapshot.ui_url.clone_from(&row.ui_url);
    snapshot.diagnosis = row.diagnosis.as_deref().map(Into::into);
    snapshot
}

/// Ends the drivers of sessions that have ended, and removes directories that belong to no session.
async fn clear_up(sessions: Sessions) {
    let shared = Arc::clone(&sessions.shared);
    drop(sessions);
    let abandoned = shared.store.abandoned_drivers().await.unwrap_or_else(|error| {
        warn!(%error, "drivers of ended sessions could not be looked for");
        Vec::new()
    });
    stream::iter(abandoned)
        .for_each_concurrent(CLEARED_AT_ONCE, |(row, deleted)| {
            end_abandoned(&shared, row, deleted)
        })
        .await;
    let unowned = async |id: Uuid| {
        if let Ok(false) = shared.store.has_driver(&id.to_string()).await {
            shared.drivers.end_unknown(id).await;
        }
    };
    stream::iter(shared.drivers.on_disk().unwrap_or_default())
        .for_each_concurrent(CLEARED_AT_ONCE, unowned)
        .await;
}

async fn end_abandoned(shared: &Shared, row: LeftDriver, deleted: bool) {
    let LeftDriver { id, cluster, remote } = row;
    let Ok(driver) = id.parse() else { return };
    let place = DriverPlace {
        cluster,
        is_remote: remote,
    };
    let _lease = shared.gpus.claim(driver);
    let cleared = shared.drivers.end_leftover(driver, deleted, &place).await;
    let at = now_ms();
    if cleared && let Err(error) = shared.store.write(Op::EndDriver { id, at }).await {
        warn!(%error, "a driver's row could not be closed");
    }
}
