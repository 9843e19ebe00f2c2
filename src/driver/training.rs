//! Makes class-data archives: a driver of nobody's runs a little of everything and writes the archive at its exit.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};
use uuid::Uuid;

use super::event::DriverEvent;
use super::site::Site;
use super::submit::DriverSpec;
use super::{Driver, Drivers, Events, clear};

/// What such a driver runs: the ways through Spark that sessions begin with.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "pyspark",
        "spark.range(100).selectExpr('id % 7 as k', 'id as v').groupBy('k').sum().collect()",
    ),
    (
        "pyspark",
        "spark.createDataFrame([(1, 'a')], 'n int, s string').show()",
    ),
    (
        "pyspark",
        "sc.parallelize(range(10), 2).map(lambda n: n + 1).sum()",
    ),
    ("sql", "select count(*), max(id) from range(100) where id > 3"),
    ("spark", "spark.range(10).map(n => n + 1).collect()"),
];
/// How long the JVM may take to write the archive, at its exit.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(300);
/// How long the driver may take for all of it.
const LIMIT: Duration = Duration::from_secs(600);

/// The same; shorter where a test asks for it.
fn limit() -> Duration {
    fail::fail_point!("class_archive.limit", |_| Duration::from_secs(1));
    LIMIT
}

impl Drivers {
    /// Finds the class-data archives of the clusters' Javas and Sparks, or makes each after a while, for a named cluster once it is used; drivers use it
    /// from then on. A server that stops meanwhile leaves nothing: the next one ends what it finds.
    pub async fn keep_class_archives(&self) {
        let named = self.sites.iter();
        let all = named
            .map(|(name, site)| (Some(name), site))
            .chain([(None, &self.site)]);
        join_all(all.map(|(name, site)| self.keep_class_archive(name, site))).await;
    }

    async fn keep_class_archive(&self, cluster: Option<&String>, site: &Site) {
        let config = &site.config.driver;
        let Some(archive) = site.class_archive.clone() else {
            return;
        };
        let draining = self.background.draining();
        let looked = archive.clone();
        if self
            .background
            .blocking(move || looked.find())
            .await
            .unwrap_or(false)
        {
            info!(cluster, "drivers start with the class-data archive that is there");
            return;
        }
        let due = async {
            if cluster.is_some() {
                site.used.notified().await;
            }
            tokio::time::sleep(config.class_archive_delay.get()).await;
            self.training.acquire().await
        };
        let _turn = tokio::select! {
            turn = due => turn,
            () = draining.cancelled() => return,
        };
        // Another cluster with the same Spark may have made it meanwhile.
        if archive.to_use().is_some() {
            return;
        }
        let trained = async {
            archive.prepare().map_err(|error| error.to_string())?;
            self.train(cluster).await
        };
        let made = match trained.await {
            Ok(()) => {
                let (made, room) = (archive.clone(), config.class_archive_bytes.bytes());
                let kept = self.background.blocking(move || made.keep(room)).await;
                kept.map_err(|panicked| panicked.to_string())
                    .and_then(|kept| kept.map_err(|error| error.to_string()))
            }
            Err(reason) => Err(reason),
        };
        match made {
            Ok(bytes) => info!(
                bytes,
                cluster, "drivers start with a class-data archive from now on"
            ),
            Err(reason) => {
                archive.give_up();
                if !self.background.draining().is_cancelled() {
                    warn!(
                        reason,
                        cluster, "no class-data archive could be made; drivers start without one"
                    );
                }
            }
        }
    }

    /// Starts a driver, has it run everything, and lets it end.
    async fn train(&self, cluster: Option<&String>) -> Result<(), String> {
        let id = Uuid::new_v4();
        let spec = DriverSpec {
            cluster: cluster.cloned(),
            kind: "pyspark".to_owned(),
            app_name: "firesteel-class-archive".to_owned(),
            conf: [
                ("spark.ui.enabled", "false"),
                ("spark.sql.shuffle.partitions", "2"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            sql_max_rows: 10,
            makes_class_archive: true,
            ..DriverSpec::default()
        };
        let (driver, events) = self.launch(id, &spec).map_err(|error| error.to_string())?;
        let ended = self.run_all(&driver, events).await;
        self.forget(&driver);
        clear(driver.run_dir, true, &self.background).await;
        ended
    }

    async fn run_all(&self, driver: &Driver, mut events: Events) -> Result<(), String> {
        let mut waiting = STATEMENTS.iter().zip(0..);
        let mut failure = None;
        let (draining, limit) = (self.background.draining(), limit());
        let ended_early = async {
            tokio::select! {
                () = draining.cancelled() => "the server stops".to_owned(),
                () = tokio::time::sleep(limit) => format!("it was not made within {limit:?}"),
            }
        };
        tokio::pin!(ended_early);
        let mut is_killed = false;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                why = &mut ended_early, if !is_killed => {
                    is_killed = true;
                    failure.get_or_insert(why);
                    driver.kill().await;
                    continue;
                }
            };
            let Some((seq, event)) = event else {
                return Err("its driver is gone".to_owned());
            };
            driver.stored(seq).await;
            match event {
                DriverEvent::Ready { .. } | DriverEvent::Result(_) => match waiting.next() {
                    Some(((kind, code), number)) => driver.run(number, kind, (*code).into(), None).await,
                    None => driver.stop().await,
                },
                DriverEvent::Failed { reason } => failure = Some(reason),
                DriverEvent::Exited { exit } => {
                    let is_well = exit.as_ref().is_some_and(|exit| exit.code == Some(0));
                    return match failure {
                        None if is_well => Ok(()),
                        None => Err(format!("its driver ended in another way: {exit:?}")),
                        Some(reason) => Err(reason),
                    };
                }
                _ => {}
            }
        }
    }
}
