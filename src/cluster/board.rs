//! What is known of the applications that somebody watches: put up by whoever asks the cluster manager, read by whoever follows one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::application::Application;

/// What is known of a driver's application.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// As it was when it was seen last; none before that.
    pub application: Option<Arc<Application>>,
    /// When the cluster manager was asked that answered without it, where that was the last answer.
    pub absent: Option<Instant>,
    /// Why nothing newer is known, in a sentence, while the cluster manager does not answer.
    pub trouble: Option<Arc<str>>,
}

/// Where what is known of an application is reported.
type Reports = watch::Sender<Report>;

/// A driver's application, watched until this is dropped.
#[derive(Debug)]
pub struct Watched {
    driver: Uuid,
    board: Arc<Board>,
    reports: watch::Receiver<Report>,
}

impl Watched {
    /// What is known now.
    #[must_use]
    pub fn report(&mut self) -> Report {
        self.reports.borrow_and_update().clone()
    }

    /// Waits until there may be something new. Cancel safe.
    pub async fn changed(&mut self) {
        // The sender lives as long as this does.
        let _ = self.reports.changed().await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut entries = self.board.entries();
        // Another may watch it too.
        if entries
            .get(&self.driver)
            .is_some_and(|reports| reports.receiver_count() <= 1)
        {
            entries.remove(&self.driver);
        }
    }
}

/// Whether an application is known to have ended.
fn has_ended(reports: &Reports) -> bool {
    let report = reports.borrow();
    report
        .application
        .as_ref()
        .is_some_and(|application| application.outcome().is_some())
}

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: Mutex<HashMap<Uuid, Reports>>,
    watched: Notify,
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Reports>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(board: &Arc<Self>, driver: Uuid) -> Watched {
        let reports = board
            .entries()
            .entry(driver)
            .or_insert_with(|| watch::channel(Report::default()).0)
            .subscribe();
        board.watched.notify_one();
        Watched {
            driver,
            board: Arc::clone(board),
            reports,
        }
    }

    /// Waits until another one is watched. For one task. Cancel safe.
    pub(super) async fn another(&self) {
        self.watched.notified().await;
    }

    /// Whether somebody watches a driver's application.
    pub(super) fn has(&self, driver: Uuid) -> bool {
        self.entries().contains_key(&driver)
    }

    /// The drivers whose applications are not known to have ended.
    pub(super) fn live(&self) -> Vec<Uuid> {
        let entries = self.entries();
        let live = entries.iter().filter(|(_, entry)| !has_ended(entry));
        live.map(|(driver, _)| *driver).collect()
    }

    /// Those of them that `choose` takes by what is known, the ones that have waited longest, so many at most.
    pub(super) fn waiting(&self, most: usize, choose: impl Fn(Uuid, &Report) -> bool) -> Vec<Uuid> {
        let entries = self.entries();
        let live = entries.iter().filter(|(_, entry)| !has_ended(entry));
        let mut waiting: Vec<_> = live
            .filter(|(driver, entry)| choose(**driver, &entry.borrow()))
            .map(|(driver, entry)| (entry.borrow().absent, *driver))
            .collect();
        waiting.sort_unstable();
        let waiting = waiting.into_iter().take(most);
        waiting.map(|(_, driver)| driver).collect()
    }

    /// Reports applications as they are now. Whoever is on the cluster can give an application any tag: a driver's is the one that
    /// is known, else the first one of `found`. Gives the drivers of all that are watched.
    pub(super) fn put(&self, found: impl IntoIterator<Item = (Uuid, Application)>) -> HashSet<Uuid> {
        let entries = self.entries();
        let mut best: HashMap<Uuid, Application> = HashMap::new();
        for (driver, application) in found {
            let Some(entry) = entries.get(&driver) else {
                continue;
            };
            let report = entry.borrow();
            let known = report.application.as_ref();
            if known.is_none_or(|known| known.is_same(&application)) {
                best.entry(driver).or_insert(application);
            }
        }
        let put = best.keys().copied().collect();
        for (driver, application) in best {
            let Some(entry) = entries.get(&driver) else {
                continue;
            };
            entry.send_if_modified(|report| {
                let is_news = report.application.as_deref() != Some(&application) || report.trouble.is_some();
                if is_news {
                    report.application = Some(Arc::new(application));
                }
                report.absent = None;
                report.trouble = None;
                is_news
            });
        }
        put
    }

    /// Reports that an answer of a question of `asked` lacks these drivers' applications.
    pub(super) fn lack(&self, drivers: impl IntoIterator<Item = Uuid>, asked: Instant) {
        let entries = self.entries();
        for driver in drivers {
            if let Some(entry) = entries.get(&driver) {
                entry.send_modify(|report| {
                    report.absent = Some(asked);
                    report.trouble = None;
                });
            }
        }
    }

    /// Tells all why nothing new is known.
    pub(super) fn tell(&self, why: &str) {
        let why: Arc<str> = why.into();
        for entry in self.entries().values() {
            entry.send_if_modified(|report| {
                let is_news = report.trouble.is_none();
                report.trouble = Some(Arc::clone(&why));
                is_news
            });
        }
    }

    /// Tells all that whoever is asked answers again.
    pub(super) fn clear(&self) {
        for entry in self.entries().values() {
            entry.send_if_modified(|report| report.trouble.take().is_some());
        }
    }
}
