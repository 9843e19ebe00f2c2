//! The HTTP workers: each is a thread with a runtime of its own, on which a small task answers when it is asked. An answer says
//! that the worker's loop runs, and that it has taken up every connection that it was handed before it was asked.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

/// Questions that may wait for a worker.
const WAITING: usize = 8;

type Question = oneshot::Sender<()>;

/// The workers that have joined. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<Joined>);

#[derive(Debug, Default)]
struct Joined {
    workers: Mutex<Vec<mpsc::Sender<Question>>>,
    another: Notify,
}

impl Workers {
    /// Joins the worker whose thread calls this: actix calls the factory of the application on each worker's own runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "it tells of the worker's runtime, so it must run there and end with it"
    )]
    pub fn join(&self) {
        let (questions, mut waiting) = mpsc::channel::<Question>(WAITING);
        actix_web::rt::spawn(async move {
            while let Some(question) = waiting.recv().await {
                fail::fail_point!("http.worker");
                // Whoever asked may have given up.
                let _ = question.send(());
            }
        });
        self.lock().push(questions);
        self.0.another.notify_one();
    }

    /// Waits until so many have joined and serve: a worker that has joined still puts its application together. For one caller.
    /// Cancel safe.
    pub async fn ready(&self, count: usize) {
        while self.lock().len() < count {
            self.0.another.notified().await;
        }
        // One that has died meanwhile is seen by whoever serves.
        self.answer().await;
    }

    /// Waits until every worker has answered. False when one can't any more, or there is none. Cancel safe.
    pub async fn answer(&self) -> bool {
        let workers = self.lock().clone();
        let mut asked = Vec::with_capacity(workers.len());
        for worker in &workers {
            let (question, answer) = oneshot::channel();
            if worker.send(question).await.is_err() {
                return false;
            }
            asked.push(answer);
        }
        for answer in asked {
            if answer.await.is_err() {
                return false;
            }
        }
        !workers.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Question>>> {
        let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // actix starts another worker for one that has died.
        workers.retain(|worker| !worker.is_closed());
        workers
    }
}
