//! When the cluster manager is asked for what: one request at a time, at most one every `cluster.poll_interval`, for all applications
//! together, and none while nobody watches any.
//!
//! Few applications are asked for by their own tags. Many are asked for by the tag that all of this server's have, those alone that live;
//! the ones that are missing there, because they have ended or are not there yet, are then asked for by their own, so many at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::application::Application;
use super::board::Board;
use super::yarn::{Query, Yarn};
use crate::config;

/// The most applications that one request names: its address has some 3 KiB then.
const NAMED: usize = 64;

#[derive(Debug)]
pub(super) struct Watcher {
    pub yarn: Yarn,
    pub group: String,
    interval: Duration,
    longest_wait: Duration,
    pub board: Arc<Board>,
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
            board: Arc::default(),
            asked: tokio::sync::Mutex::default(),
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
                    self.board.another().await;
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
                        self.board.tell(&why);
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
        let live = self.board.live();
        match live.len() {
            0 => None,
            few if few <= NAMED => Some(Query::Drivers(live)),
            _ if missing.is_empty() => Some(Query::Live(self.group.clone())),
            _ => Some(Query::Drivers(std::mem::take(missing))),
        }
    }

    /// Reports what was answered to a question of `begun`. Gives those that must be asked for by their own tags, the ones that have waited
    /// longest.
    fn take(&self, query: &Query, mut found: Vec<(Uuid, Application)>, begun: Instant) -> Vec<Uuid> {
        // The first one that came is the one with the lowest number.
        found.sort_by(|(_, one), (_, other)| (one.id.len(), &one.id).cmp(&(other.id.len(), &other.id)));
        let seen = self.board.put(found);
        match query {
            Query::Drivers(asked) => {
                let unseen = asked.iter().copied().filter(|driver| !seen.contains(driver));
                self.board.lack(unseen, begun);
                Vec::new()
            }
            Query::Live(_) => self.board.waiting(NAMED, |driver, _| !seen.contains(&driver)),
        }
    }

    pub(super) async fn strays(&self) -> Vec<(Uuid, Arc<Application>)> {
        let mut wait = self.interval;
        loop {
            self.pace().await;
            match self.yarn.applications(&Query::Live(self.group.clone())).await {
                Ok(found) => {
                    return found
                        .into_iter()
                        .filter(|(driver, _)| !self.board.has(*driver))
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
    use super::super::board::Watched;
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
        let mut watched = Board::watch(&watcher.board, driver);
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
        let mut another = Board::watch(&watcher.board, driver);
        drop(watched);
        assert!(another.report().application.is_some(), "it is still watched");
        drop(another);
        assert!(!watcher.board.has(driver));
    }

    #[tokio::test]
    async fn of_many_those_that_live_are_asked_for_and_the_others_by_name_in_turn() {
        let watcher = watcher();
        let drivers: Vec<Uuid> = (0..NAMED * 3).map(|_| Uuid::new_v4()).collect();
        let _watched: Vec<Watched> = drivers
            .iter()
            .map(|id| Board::watch(&watcher.board, *id))
            .collect();
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
        let mut watched = Board::watch(&watcher.board, driver);
        let query = Query::Drivers(vec![driver]);
        let told = |id: &str| (driver, application(id, State::Running));
        for ids in [["10000", "9999"], ["0001", "9999"]] {
            let found = ids.map(|id| told(&format!("application_1_{id}"))).to_vec();
            watcher.take(&query, found, Instant::now());
            assert_eq!(watched.report().application.unwrap().id, "application_1_9999");
        }
    }
}
