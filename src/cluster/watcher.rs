//! When the cluster manager is asked for what: one request at a time, at most one every `cluster.poll_interval`, for all applications
//! together, and none while nobody watches any.
//!
//! Few applications are asked for by their own tags. Many are asked for by the tag that all of this server's have, those alone that live;
//! the ones that are missing there, because they have ended or are not there yet, are then asked for by their own, so many at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::application::Application;
use super::yarn::{Query, Yarn};
use crate::config;

/// The most applications that one request names: its address has some 3 KiB then.
const NAMED: usize = 64;

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
    watcher: Arc<Watcher>,
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
        let mut entries = self.watcher.entries();
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

#[derive(Debug)]
pub(super) struct Watcher {
    pub yarn: Yarn,
    pub group: String,
    interval: Duration,
    longest_wait: Duration,
    entries: Mutex<HashMap<Uuid, Reports>>,
    watched: Notify,
    /// When it was asked last.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Watcher {
    pub(super) fn new(yarn: Yarn, settings: &config::Cluster, group: String) -> Self {
        Self {
            yarn,
            group,
            interval: settings.poll_interval.get(),
            longest_wait: settings.longest_wait.get().max(settings.poll_interval.get()),
            entries: Mutex::default(),
            watched: Notify::new(),
            asked: tokio::sync::Mutex::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Reports>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(watcher: &Arc<Self>, driver: Uuid) -> Watched {
        let reports = watcher
            .entries()
            .entry(driver)
            .or_insert_with(|| watch::channel(Report::default()).0)
            .subscribe();
        watcher.watched.notify_one();
        Watched {
            driver,
            watcher: Arc::clone(watcher),
            reports,
        }
    }

    /// Asks until the server stops.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let ask = async {
            let mut wait = self.interval;
            // Asked for by their own tags next.
            let mut missing = Vec::new();
            loop {
                let Some(query) = self.next(&mut missing) else {
                    self.watched.notified().await;
                    continue;
                };
                let begun = self.pace().await;
                match self.yarn.applications(&query).await {
                    Ok(found) => {
                        if wait > self.interval {
                            info!("YARN answers again");
                        }
                        wait = self.interval;
                        missing = self.take(&query, found, begun);
                    }
                    Err(why) => {
                        if wait == self.interval {
                            warn!("{why}; what has become of applications is not known until it answers");
                        }
                        self.tell(&why);
                        wait = (wait * 2).min(self.longest_wait.max(self.interval * 2));
                        sleep(wait).await;
                    }
                }
            }
        };
        tokio::select! {
            () = ask => {}
            () = stopping.cancelled() => {}
        }
    }

    /// Waits for the turn of the next question; when it is asked.
    async fn pace(&self) -> Instant {
        let mut asked = self.asked.lock().await;
        if let Some(last) = *asked {
            sleep_until(last + self.interval).await;
        }
        *asked.insert(Instant::now())
    }

    /// What to ask next; nothing where all that is watched has ended.
    fn next(&self, missing: &mut Vec<Uuid>) -> Option<Query> {
        let entries = self.entries();
        let live: Vec<Uuid> = entries
            .iter()
            .filter(|(_, entry)| !has_ended(entry))
            .map(|(driver, _)| *driver)
            .collect();
        match live.len() {
            0 => None,
            few if few <= NAMED => Some(Query::Drivers(live)),
            _ if missing.is_empty() => Some(Query::Live(self.group.clone())),
            _ => Some(Query::Drivers(std::mem::take(missing))),
        }
    }

    /// Reports what was answered to a question of `begun`. Gives those that must be asked for by their own tags, the ones that have waited
    /// longest.
    fn take(&self, query: &Query, found: Vec<(Uuid, Application)>, begun: Instant) -> Vec<Uuid> {
        let entries = self.entries();
        let mut best: HashMap<Uuid, Application> = HashMap::new();
        for (driver, application) in found {
            let Some(entry) = entries.get(&driver) else {
                continue;
            };
            let known = entry.borrow().application.as_ref().map(|known| known.id.clone());
            // Whoever is on the cluster can give an application any tag: the first one is the driver's.
            let rank = |this: &Application| {
                let is_known = Some(&this.id) == known.as_ref();
                (!is_known, this.id.len(), this.id.clone())
            };
            let is_better = best
                .get(&driver)
                .is_none_or(|other| rank(&application) < rank(other));
            if is_better {
                best.insert(driver, application);
            }
        }
        let mut missing = Vec::new();
        for (driver, entry) in entries.iter() {
            if let Some(application) = best.remove(driver) {
                entry.send_if_modified(|report| {
                    let is_news =
                        report.application.as_deref() != Some(&application) || report.trouble.is_some();
                    if is_news {
                        report.application = Some(Arc::new(application));
                    }
                    report.absent = None;
                    report.trouble = None;
                    is_news
                });
                continue;
            }
            match query {
                Query::Drivers(asked) if asked.contains(driver) => entry.send_modify(|report| {
                    report.absent = Some(begun);
                    report.trouble = None;
                }),
                Query::Live(_) if !has_ended(entry) => missing.push((entry.borrow().absent, *driver)),
                Query::Live(_) | Query::Drivers(_) => {}
            }
        }
        missing.sort_unstable();
        missing
            .into_iter()
            .take(NAMED)
            .map(|(_, driver)| driver)
            .collect()
    }

    /// Tells all why nothing new is known.
    fn tell(&self, why: &str) {
        let why: Arc<str> = why.into();
        for entry in self.entries().values() {
            entry.send_if_modified(|report| {
                let is_news = report.trouble.is_none();
                report.trouble = Some(Arc::clone(&why));
                is_news
            });
        }
    }

    pub(super) async fn strays(&self) -> Vec<(Uuid, Arc<Application>)> {
        let mut wait = self.interval;
        loop {
            self.pace().await;
            match self.yarn.applications(&Query::Live(self.group.clone())).await {
                Ok(found) => {
                    let entries = self.entries();
                    return found
                        .into_iter()
                        .filter(|(driver, _)| !entries.contains_key(driver))
                        .map(|(driver, application)| (driver, Arc::new(application)))
                        .collect();
                }
                Err(why) => {
                    warn!(
                        "{why}; whether applications of an earlier server are left is not known until it answers"
                    );
                    wait = (wait * 2).min(self.longest_wait);
                    sleep(wait).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::application::{Outcome, State};
    use super::super::negotiate::Negotiate;
    use super::*;
    use crate::background::Background;

    fn watcher() -> Arc<Watcher> {
        let mut settings = config::Cluster::default();
        settings.yarn.resource_manager = vec!["http://127.0.0.1:9".to_owned()];
        let negotiate = Negotiate::new(None, Duration::ZERO, &Background::new()).unwrap();
        let yarn = Yarn::open(&settings, negotiate, |_| None).unwrap();
        Arc::new(Watcher::new(yarn, &settings, "all".to_owned()))
    }

    fn application(id: &str, state: State) -> Application {
        Application {
            id: id.to_owned(),
            state,
            ..Application::default()
        }
    }

    #[tokio::test]
    async fn few_are_asked_for_by_name_and_those_that_have_ended_never() {
        let watcher = watcher();
        assert_eq!(watcher.next(&mut Vec::new()), None);
        let driver = Uuid::new_v4();
        let mut watched = Watcher::watch(&watcher, driver);
        let query = Query::Drivers(vec![driver]);
        assert_eq!(watcher.next(&mut Vec::new()), Some(query.clone()));
        let begun = Instant::now();
        watcher.take(&query, Vec::new(), begun);
        assert_eq!(watched.report().absent, Some(begun));
        let ended = application("application_1_0001", State::Ended(Outcome::Success));
        watcher.take(&query, vec![(driver, ended)], begun);
        let report = watched.report();
        assert_eq!(report.absent, None);
        assert!(report.application.unwrap().outcome().is_some());
        assert_eq!(watcher.next(&mut Vec::new()), None);
        let mut another = Watcher::watch(&watcher, driver);
        drop(watched);
        assert!(another.report().application.is_some(), "it is still watched");
        drop(another);
        assert!(watcher.entries().is_empty());
    }

    #[tokio::test]
    async fn of_many_those_that_live_are_asked_for_and_the_others_by_name_in_turn() {
        let watcher = watcher();
        let drivers: Vec<Uuid> = (0..NAMED * 3).map(|_| Uuid::new_v4()).collect();
        let _watched: Vec<Watched> = drivers.iter().map(|id| Watcher::watch(&watcher, *id)).collect();
        let mut asked = std::collections::HashSet::new();
        for round in 0..3 {
            let mut missing = Vec::new();
            let query = watcher.next(&mut missing).unwrap();
            assert_eq!(query, Query::Live("all".to_owned()));
            missing = watcher.take(&query, Vec::new(), Instant::now());
            assert_eq!(missing.len(), NAMED);
            let query = watcher.next(&mut missing).unwrap();
            let Query::Drivers(named) = &query else {
                panic!("{query:?}")
            };
            asked.extend(named.iter().copied());
            assert_eq!(asked.len(), NAMED * (round + 1), "all come in turn");
            watcher.take(
                &query,
                Vec::new(),
                Instant::now() + Duration::from_secs(round as u64),
            );
        }
        let live = drivers
            .iter()
            .map(|id| (*id, application("application_1_0001", State::Running)))
            .collect();
        assert!(
            watcher
                .take(&Query::Live("all".to_owned()), live, Instant::now())
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_later_application_of_the_same_tag_is_not_taken_for_it() {
        let watcher = watcher();
        let driver = Uuid::new_v4();
        let mut watched = Watcher::watch(&watcher, driver);
        let query = Query::Drivers(vec![driver]);
        let told = |id: &str| (driver, application(id, State::Running));
        for ids in [["10000", "9999"], ["0001", "9999"]] {
            let found = ids.map(|id| told(&format!("application_1_{id}"))).to_vec();
            watcher.take(&query, found, Instant::now());
            assert_eq!(watched.report().application.unwrap().id, "application_1_9999");
        }
    }
}
