//! What clients ask: statements accepted, cancelled; the session deleted.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::driving::overhead;
use super::{Accepted, Actor, Done, Reply};
use crate::clock::now_ms;
use crate::session::command::{Command, SubmitError, Submitted, Work};
use crate::session::state::SessionState;
use crate::session::statement::Statement;
use crate::store::{IdempotencyRow, Op, StoreError};

impl Actor {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Submit { work, key, reply } => self.submit(work, key, reply).await,
            Command::Cancel { id, reply } => self.cancel(id, reply).await,
            Command::Interrupt { reply } => match self.running.as_ref().map(|running| running.statement.id) {
                Some(running) => self.cancel(running, reply).await,
                None => drop(reply.send(Ok(()))),
            },
            Command::Delete { reply } => {
                let store = self.shared.store.clone();
                let state = SessionState::Dead.as_str().to_owned();
                let op = Op::DeleteSession {
                    id: self.id,
                    state,
                    at: now_ms(),
                    request: self.request.without_secrets(),
                };
                self.work.push(Box::pin(async move {
                    Done::Deleted {
                        stored: store.write(op).await,
                        reply,
                    }
                }));
            }
            Command::Note { line } => {
                self.note(line);
                self.publish();
            }
            Command::End { reason } => self.end(reason).await,
        }
    }

    async fn submit(
        &mut self,
        work: Work,
        key: Option<Box<IdempotencyRow>>,
        reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    ) {
        let limit = self.shared.config.limits.statements_waiting;
        let refusal = if !self.snapshot.state.is_open() || self.deleted {
            Some(SubmitError::Ended(self.snapshot.state))
        } else if self.queue.len() + self.accepting.len() >= limit {
            Some(SubmitError::QueueFull(limit))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let since = Instant::now();
        let trace = work.trace;
        let statement = Arc::new(self.number(work));
        self.spans.begin(self.id, &statement, trace);
        let key = key.map(|key| {
            Box::new(IdempotencyRow {
                statement_id: Some(statement.id),
                ..*key
            })
        });
        let answer = self.shared.store.submit(statement.insert(self.id, key)).await;
        self.accepting.push_back(Box::pin(async move {
            let stored = match answer {
                Ok(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
                Err(error) => Err(error),
            };
            Accepted {
                since,
                stored,
                statement,
                reply,
            }
        }));
    }

    /// Gives a statement or a job its number, which no other gets, also where it can't be stored.
    fn number(&mut self, work: Work) -> Statement {
        if work.is_job {
            let job = Statement::new(self.next_job, work.code, work.kind);
            self.next_job -= 1;
            Statement {
                before: Some(self.next_statement),
                ..job
            }
        } else {
            self.next_statement += 1;
            Statement::new(self.next_statement - 1, work.code, work.kind)
        }
    }

    pub(super) async fn accepted(
        &mut self,
        Accepted {
            since,
            stored,
            statement,
            reply,
        }: Accepted,
    ) {
        if let Err(error) = stored {
            self.spans.end(statement.id, statement.state.as_str(), "refused");
            let _ = reply.send(Err(error.into()));
            return;
        }
        overhead("accept", since);
        crate::kill_point!("statement.inserted");
        if !self.snapshot.state.is_open() {
            // The session ended between the write and its commit. What is stored is never refused: clients would send it again.
            let statement = statement.cancelled();
            self.finish(&statement);
            let _ = reply.send(Ok(Submitted {
                statement: Arc::new(statement),
                is_next: false,
            }));
            return;
        }
        let id = statement.id;
        let is_next =
            self.snapshot.state == SessionState::Idle && self.queue.is_empty() && self.running.is_none();
        self.queue.push_back(Arc::clone(&statement));
        self.feed.statement(&statement);
        self.dispatch().await;
        let statement = self.snapshot.live(id).cloned().unwrap_or(statement);
        let _ = reply.send(Ok(Submitted { statement, is_next }));
    }

    /// Cancels a statement; the answer waits until that is stored, so that a later server knows it too.
    async fn cancel(&mut self, id: i64, reply: Reply) {
        let waiting = self.queue.iter().position(|statement| statement.id == id);
        if waiting == Some(0) && self.is_unsure {
            // It may run already: the driver ends it, or says that it never came.
            let first = &mut self.queue[0];
            *first = Arc::new(first.cancelling());
            self.feed.statement(first);
            let mark = first.mark(self.id);
            self.store_and_reply(mark, reply);
            self.publish();
            return;
        }
        if let Some(statement) = waiting.and_then(|at| self.queue.remove(at)) {
            let statement = Arc::new(statement.cancelled());
            self.has_ended(&statement, "cancelled");
            self.store_and_reply(statement.end(self.id), reply);
            self.remember(statement);
            self.publish();
            return;
        }
        let running = self
            .running
            .as_mut()
            .filter(|running| running.statement.id == id && !running.cancel_asked && !running.answered);
        let Some(running) = running else {
            let _ = reply.send(Ok(()));
            return;
        };
        running.cancel_asked = true;
        running.statement = Arc::new(running.statement.cancelling());
        self.feed.statement(&running.statement);
        let mark = running.statement.mark(self.id);
        if let Some(driver) = &self.driver {
            driver.cancel(id).await;
        }
        self.store_and_reply(mark, reply);
        self.publish();
    }
}
