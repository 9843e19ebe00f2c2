//! Kubernetes: the pods of drivers, followed by one watch for all of them, and none while nobody follows any; and the Secrets that sessions' drivers
//! get their agent from.
//!
//! A pod that has not been seen yet, or is not seen any more, is asked for by its driver's label, so many at once, every
//! `cluster.poll_interval`: an answer without it is what says that it is not there.

mod api;
mod log;
mod pod;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::application::Application;
use super::board::Board;
use super::{Refused, tag_of};
use crate::config::Config;
use api::{Api, Event};
pub use log::LiveLog;
use pod::{Addresses, Pod, server_label};

/// The labels of all pods of an application: whose driver, and of which server.
pub(super) const DRIVER: &str = "firesteel-driver";
pub(super) const SERVER: &str = "firesteel-server";
/// The longest value of a label.
const SERVER_MAX: usize = 63;
/// How long one watch lasts; the next one goes on where it has ended. A connection that is lost unseen is noticed by then.
const WATCH: Duration = Duration::from_secs(60);
/// The most drivers whose pods are asked for by name at once.
const NAMED: usize = 64;
/// Kills and the like that are asked for at the same time; more wait.
const AT_ONCE: usize = 4;

/// The conf that labels an application's pods.
pub(super) fn labels(driver: Uuid, group: Option<&str>) -> Vec<(String, String)> {
    let server = group.map(|group| (SERVER, server_label(group).to_owned()));
    let labels = [(DRIVER, driver.to_string())].into_iter().chain(server);
    labels
        .flat_map(|(label, value)| {
            ["driver", "executor"]
                .map(|role| (format!("spark.kubernetes.{role}.label.{label}"), value.clone()))
        })
        .collect()
}

/// One namespace of one cluster.
#[derive(Debug)]
pub(super) struct Kubernetes {
    api: Api,
    pub group: String,
    pub board: Arc<Board>,
    addresses: Addresses,
    poll_interval: Duration,
    longest_wait: Duration,
    grace: Duration,
    keeps_pods: bool,
    turns: Semaphore,
    /// One for each log that may be followed at the same time.
    follows: Arc<Semaphore>,
}

impl Kubernetes {
    /// Finds the API server; nobody is asked yet.
    ///
    /// # Errors
    /// Where it is, or who asks, is not known.
    pub(super) fn open(config: &Config, group: String) -> anyhow::Result<Self> {
        let cluster = &config.cluster;
        let settings = &cluster.kubernetes;
        Ok(Self {
            api: Api::open(config)?,
            group,
            board: Arc::default(),
            addresses: Addresses {
                namespace: config.kubernetes_namespace().to_owned(),
                driver_log: settings.driver_log_url.clone(),
                ui: settings.ui_url.clone(),
            },
            poll_interval: cluster.poll_interval.get(),
            longest_wait: cluster.longest_wait.get().max(cluster.poll_interval.get()),
            grace: settings.grace.get(),
            keeps_pods: settings.keep_pods,
            turns: Semaphore::new(AT_ONCE),
            follows: Arc::new(Semaphore::new(settings.followed_logs.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Follows pods until the server stops.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let follow = async {
            let mut wait = self.poll_interval;
            loop {
                if self.board.live().is_empty() {
                    self.board.another().await;
                    continue;
                }
                let Err(why) = self.follow(&mut wait).await else {
                    sleep(self.poll_interval).await;
                    continue;
                };
                if wait == self.poll_interval {
                    warn!("{why}; what has become of applications is not known until it answers");
                }
                self.board.tell(&why);
                wait = (wait * 2).min(self.longest_wait.max(self.poll_interval * 2));
                sleep(wait).await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = stopping.cancelled() => {}
        }
    }

    /// Asks for all pods, and follows what becomes of them from then on, as long as anybody wants to know. An error is the sentence
    /// why it does not go on; without one it may be begun anew.
    async fn follow(&self, wait: &mut Duration) -> Result<(), String> {
        let asked = Instant::now();
        let (pods, mut version) = self.api.list(&self.all()).await?;
        let mut events = Box::pin(self.api.watch(&self.all(), &version, WATCH).await?);
        if *wait > self.poll_interval {
            info!("Kubernetes answers again");
        }
        *wait = self.poll_interval;
        self.board.clear();
        let seen = self.put(&pods, false);
        let unseen = self
            .board
            .waiting(usize::MAX, |driver, _| !seen.contains(&driver));
        self.board.lack(unseen, asked);
        let mut looks = interval(self.poll_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = Instant::now() + WATCH + self.api.timeout;
            loop {
                tokio::select! {
                    event = timeout_at(due, events.try_next()) => {
                        match event.map_err(|_| self.api.told("does not go on"))?? {
                            Some(Event::Is(pod)) => {
                                version.clone_from(&pod.metadata.resource_version);
                                self.put(&[pod], false);
                            }
                            Some(Event::Gone(pod)) => {
                                version.clone_from(&pod.metadata.resource_version);
                                self.put(&[pod], true);
                            }
                            Some(Event::Version(newer)) => version = newer,
                            // All must be asked for again.
                            Some(Event::TooOld) => return Ok(()),
                            None => break,
                        }
                    }
                    _ = looks.tick() => {
                        if self.board.live().is_empty() {
                            return Ok(());
                        }
                        self.look_for_missing().await?;
                    }
                }
            }
            // Where each of them is cut at once, too, there is one in so long.
            looks.tick().await;
            events = Box::pin(self.api.watch(&self.all(), &version, WATCH).await?);
        }
    }

    /// Asks for the pods that have not been seen, or are not seen any more.
    async fn look_for_missing(&self) -> Result<(), String> {
        let missing = self.board.waiting(NAMED, |_, report| {
            report.application.is_none() || report.absent.is_some()
        });
        if missing.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        let names: Vec<String> = missing.iter().map(Uuid::to_string).collect();
        let selector = format!("{},{DRIVER} in ({})", self.all(), names.join(","));
        let (pods, _) = self.api.list(&selector).await?;
        let seen = self.put(&pods, false);
        self.board
            .lack(missing.into_iter().filter(|driver| !seen.contains(driver)), asked);
        Ok(())
    }

    /// Which pods are this server's drivers.
    fn all(&self) -> String {
        format!("spark-role=driver,{SERVER}={}", server_label(&self.group))
    }

    fn put(&self, pods: &[Pod], gone: bool) -> HashSet<Uuid> {
        let mut applications: Vec<_> = pods
            .iter()
            .filter_map(|pod| {
                let application = pod.application(gone, &self.addresses);
                Some((&pod.metadata.creation_timestamp, pod.driver()?, application))
            })
            .collect();
        applications.sort_by_key(|(created, ..)| *created);
        let applications = applications.into_iter();
        self.board
            .put(applications.map(|(_, driver, application)| (driver, application)))
    }

    /// The applications that live and that nobody watches.
    pub(super) async fn strays(&self) -> Vec<(Uuid, Arc<Application>)> {
        let mut wait = self.poll_interval;
        loop {
            match self.api.list(&self.all()).await {
                Ok((pods, _)) => {
                    let found = pods.iter().filter_map(|pod| {
                        let application = pod.application(false, &self.addresses);
                        Some((pod.driver()?, Arc::new(application)))
                    });
                    return found
                        .filter(|(driver, application)| {
                            application.outcome().is_none() && !self.board.has(*driver)
                        })
                        .collect();
                }
                Err(why) => {
                    warn!(
                        "{why}; whether applications of an earlier server are left is not known until it answers"
                    );
                    sleep(wait).await;
                    wait = (wait * 2).min(self.longest_wait);
                }
            }
        }
    }

    /// Has a driver's pod deleted; its executors' pods, its service and its ConfigMap are its own and go with it.
    pub(super) async fn kill(&self, application: &Application) -> Result<(), String> {
        let Some(place) = &application.place else {
            return Ok(());
        };
        let _turn = self.turns.acquire().await;
        self.api.delete(place, self.grace).await
    }

    /// Has the pod of an application that has ended deleted, unless such pods are to stay.
    pub(super) async fn release(&self, application: &Application) {
        let Some(place) = application.place.as_ref().filter(|_| !self.keeps_pods) else {
            return;
        };
        let _turn = self.turns.acquire().await;
        if let Err(why) = self.api.delete(place, self.grace).await {
            warn!(
                place.pod,
                "the pod of an application that has ended is left: {why}"
            );
        }
    }

    /// Makes the Secret that a driver's pod mounts; it is called as the driver is tagged.
    pub(super) async fn give(&self, driver: Uuid, files: &[(&str, Vec<u8>)]) -> Result<(), Refused> {
        let data: Map<String, Value> = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), BASE64.encode(content).into()))
            .collect();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": tag_of(driver),
                "labels": {DRIVER: driver.to_string(), SERVER: server_label(&self.group)},
            },
            "type": "Opaque",
            "immutable": true,
            "data": data,
        });
        let _turn = self.turns.acquire().await;
        self.api.create_secret(&secret).await
    }

    /// Has a driver's Secret deleted.
    pub(super) async fn take_back(&self, driver: Uuid) {
        let _turn = self.turns.acquire().await;
        let name = tag_of(driver);
        if let Err(why) = self.api.delete_secret(&name).await {
            warn!(
                secret = name,
                "the Secret of a session that has ended is left: {why}"
            );
        }
    }

    /// Has the Secrets of drivers deleted that nobody watches.
    pub(super) async fn clear_strays(&self) {
        let labels = format!("{DRIVER},{SERVER}={}", server_label(&self.group));
        let found = match self.api.secrets(&labels).await {
            Ok(found) => found,
            Err(why) => {
                warn!("{why}; whether Secrets of an earlier server are left is not known");
                return;
            }
        };
        let drivers = found.iter().filter_map(pod::Metadata::driver);
        for driver in drivers.filter(|driver| !self.board.has(*driver)) {
            info!(%driver, "a Secret that nobody has is deleted");
            self.take_back(driver).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pods_of_an_application_are_labelled() {
        let driver = Uuid::new_v4();
        let labels = labels(driver, Some("firesteel-server-x"));
        assert_eq!(labels.len(), 4);
        assert!(labels.contains(&(
            "spark.kubernetes.driver.label.firesteel-driver".to_owned(),
            driver.to_string()
        )));
        assert!(labels.contains(&(
            "spark.kubernetes.executor.label.firesteel-server".to_owned(),
            "x".to_owned()
        )));
    }
}
