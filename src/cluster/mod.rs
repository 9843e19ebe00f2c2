//! Cluster managers: what has become of the applications that this server has submitted, and their end.
//!
//! Owns: the tags by which applications are found again, the clients of YARN's ResourceManagers and of Kubernetes' API server, and the one task that asks
//! about all applications at once. Called by `batch`, which follows its applications, and by `driver`, which names them; calls `config` and
//! `background`. `docs/clusters.md` is its page.
//!
//! Read in this order: `application`, `board` (what is known), `watcher` (when YARN is asked for what), `yarn` (how), `negotiate` (as whom), `kubernetes`,
//! `ending`.

mod application;
mod board;
mod ending;
mod hadoop_conf;
mod kubernetes;
mod negotiate;
mod watcher;
mod yarn;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::background::Background;
use crate::config::Config;

pub use application::{Application, Links, Outcome, Place, State};
pub use board::{Report, Watched};
pub use ending::{Ending, LATE, LOOK};
pub use kubernetes::LiveLog;

use board::Board;
use kubernetes::Kubernetes;
use negotiate::Negotiate;
use watcher::Watcher;
use yarn::Yarn;

/// What every tag of Firesteel's begins with.
const PREFIX: &str = "firesteel-";

/// The tag of a driver's application: by it the application is found before its id is known.
#[must_use]
pub fn tag_of(driver: Uuid) -> String {
    format!("{PREFIX}{driver}")
}

/// Whether a tag looks like Firesteel's: YARN has all in lower case.
#[must_use]
pub fn is_ours(tag: &str) -> bool {
    tag.to_lowercase().starts_with(PREFIX)
}

/// The driver whose application has these tags, as YARN lists them: with commas between.
fn driver_of(tags: &str) -> Option<Uuid> {
    tags.split(',')
        .find_map(|tag| tag.trim().strip_prefix(PREFIX)?.parse().ok())
}

/// Held while drivers of an earlier server are taken back or ended: until all of them are dropped nobody knows which applications nobody has.
pub type Recovering = mpsc::Sender<Infallible>;

/// The cluster in which applications run. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Cluster(Manager);

/// Who is asked.
#[derive(Clone, Debug)]
enum Manager {
    Yarn(Arc<Watcher>),
    Kubernetes(Arc<Kubernetes>),
}

/// The conf that labels the pods of a driver's application, for Kubernetes: by them it is found before its id is known, and is told from other
/// servers' by the tag of a server's `group`.
#[must_use]
pub fn label_conf(driver: Uuid, group: Option<&str>) -> Vec<(String, String)> {
    kubernetes::labels(driver, group)
}

/// Why something could not be had from a cluster manager.
#[derive(Clone, Debug)]
pub struct Refused {
    /// One sentence, without its stop.
    pub why: String,
    /// Whether the answer is no, rather than that there is none now.
    pub is_final: bool,
}

impl Cluster {
    /// Finds the cluster manager of `spark.master`, of the cluster with this name, and starts the task that asks it. None where nobody has to be asked: no other
    /// master is asked than YARN and, about drivers that run there, Kubernetes; without deploy mode `cluster` a YARN whose address is not known is left
    /// alone.
    ///
    /// # Errors
    /// Drivers run in the cluster, and where its cluster manager is, or who asks it, is not known; or the state directory can't be written.
    pub fn open(
        name: Option<&str>,
        config: &Config,
        state_dir: &Path,
        background: &Background,
    ) -> anyhow::Result<Option<Self>> {
        let (spark, settings) = (&config.spark, &config.cluster);
        let group = || {
            // Two clusters may be one with two Sparks: none ends the other's applications.
            let of_cluster = name.map_or(String::new(), |name| format!("-{}", name.to_lowercase()));
            let id = server_id(&state_dir.join("server-id"))?;
            anyhow::Ok(format!("{PREFIX}server-{id}{of_cluster}"))
        };
        let stopping = background.stopping().clone();
        let manager = if spark.is_yarn() {
            let ticket = config.hadoop.ticket(state_dir);
            let negotiate = Negotiate::new(ticket.as_deref(), settings.timeout.get(), background)?;
            let yarn = match Yarn::open(settings, negotiate, |name| config.driver_variable(name)) {
                Err(error) if !spark.runs_in_cluster() => {
                    tracing::info!(cluster = name, "YARN is not asked about applications: {error:#}");
                    return Ok(None);
                }
                opened => opened?,
            };
            let watcher = Arc::new(Watcher::new(yarn, settings, group()?));
            background.spawn(Arc::clone(&watcher).run(stopping));
            Manager::Yarn(watcher)
        } else if spark.is_kubernetes() && spark.runs_in_cluster() {
            let kubernetes = Arc::new(Kubernetes::open(config, group()?)?);
            background.spawn(Arc::clone(&kubernetes).run(stopping));
            Manager::Kubernetes(kubernetes)
        } else {
            return Ok(None);
        };
        Ok(Some(Self(manager)))
    }

    /// The cluster manager's name, as people know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Manager::Yarn(_) => "YARN",
            Manager::Kubernetes(_) => "Kubernetes",
        }
    }

    /// What has become of an application that was known and is not any more, in words.
    #[must_use]
    pub fn lost(&self) -> &'static str {
        match &self.0 {
            Manager::Yarn(_) => "its ResourceManager has lost it",
            Manager::Kubernetes(_) => "its pod was deleted unseen",
        }
    }

    /// The tag of all applications of this cluster that this server's state directory answers for.
    #[must_use]
    pub fn group_tag(&self) -> &str {
        match &self.0 {
            Manager::Yarn(watcher) => &watcher.group,
            Manager::Kubernetes(kubernetes) => &kubernetes.group,
        }
    }

    /// Watches a driver's application, which may not be there yet, for as long as the answer lives. Of several with its
    /// tag it is the first one: nobody else knows the tag before the cluster manager has it.
    #[must_use]
    pub fn watch(&self, driver: Uuid) -> Watched {
        match &self.0 {
            Manager::Yarn(watcher) => Board::watch(&watcher.board, driver),
            Manager::Kubernetes(kubernetes) => Board::watch(&kubernetes.board, driver),
        }
    }

    /// The applications of this server's that live and that nobody watches, with their drivers. Waits until the cluster manager answers.
    /// Cancel safe.
    async fn strays(&self) -> Vec<(Uuid, Arc<Application>)> {
        match &self.0 {
            Manager::Yarn(watcher) => watcher.strays().await,
            Manager::Kubernetes(kubernetes) => kubernetes.strays().await,
        }
    }

    /// Has an application killed. That it has ended comes as a report.
    ///
    /// # Errors
    /// One sentence: the cluster manager does not answer, or refuses.
    pub async fn kill(&self, application: &Application) -> Result<(), String> {
        match &self.0 {
            Manager::Yarn(watcher) => watcher.yarn.kill(&application.id).await,
            Manager::Kubernetes(kubernetes) => kubernetes.kill(application).await,
        }
    }

    /// Tells the cluster manager that nothing more is wanted of an application that has ended.
    pub async fn release(&self, application: &Application) {
        match &self.0 {
            Manager::Yarn(_) => {}
            Manager::Kubernetes(kubernetes) => kubernetes.release(application).await,
        }
    }

    /// Whether what a driver must have is brought by the cluster manager ([`Cluster::give`]) rather than by its submit.
    #[must_use]
    pub fn gives(&self) -> bool {
        matches!(self.0, Manager::Kubernetes(_))
    }

    /// Has these files, at most 1 MiB in all, mounted into the driver's pod, whose conf names the Secret ([`tag_of`]). Once they are there this changes nothing.
    ///
    /// # Errors
    /// The cluster manager does not answer, or refuses.
    pub async fn give(&self, driver: Uuid, files: &[(&str, Vec<u8>)]) -> Result<(), Refused> {
        match &self.0 {
            Manager::Yarn(_) => Ok(()),
            Manager::Kubernetes(kubernetes) => kubernetes.give(driver, files).await,
        }
    }

    /// Takes them back, once the driver has ended.
    pub async fn take_back(&self, driver: Uuid) {
        match &self.0 {
            Manager::Yarn(_) => {}
            Manager::Kubernetes(kubernetes) => kubernetes.take_back(driver).await,
        }
    }

    /// Takes back what drivers were given that nobody has.
    async fn clear_strays(&self) {
        match &self.0 {
            Manager::Yarn(_) => {}
            Manager::Kubernetes(kubernetes) => kubernetes.clear_strays().await,
        }
    }

    /// What an application's driver writes, where that can be read while it runs.
    #[must_use]
    pub fn live_log(&self, application: &Application) -> Option<LiveLog> {
        match (&self.0, &application.place) {
            (Manager::Kubernetes(kubernetes), Some(place)) => {
                Some(LiveLog::new(Arc::clone(kubernetes), place.clone()))
            }
            _ => None,
        }
    }

    /// The end of what an application's driver has written, where it is no [`Cluster::live_log`]: at most `most` bytes of each of its streams, stdout, then stderr.
    ///
    /// # Errors
    /// One sentence: the node does not answer, or has it no more.
    pub async fn driver_log(&self, application: &Application, most: u64) -> Result<[Vec<u8>; 2], String> {
        match &self.0 {
            Manager::Yarn(watcher) => watcher.yarn.driver_log(application, most).await,
            Manager::Kubernetes(_) => Err("it had no pod".to_owned()),
        }
    }
}

/// Names the state directory, once for ever: applications of another one's are nobody's business here.
fn server_id(path: &Path) -> anyhow::Result<Uuid> {
    let read = || -> io::Result<Option<Uuid>> {
        match std::fs::read_to_string(path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| io::Error::other("it holds no UUID")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    let shown = || path.display().to_string();
    if let Some(id) = read().with_context(shown)? {
        return Ok(id);
    }
    let (id, fresh) = (Uuid::new_v4(), path.with_extension("new"));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(id.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&fresh, path));
    written.with_context(shown)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_known_by_its_tag() {
        let driver = Uuid::new_v4();
        let tags = format!("mine,firesteel-server-x, {},other", tag_of(driver));
        assert_eq!(driver_of(&tags), Some(driver));
        assert_eq!(driver_of("firesteel-,mine"), None);
        assert_eq!(driver_of(""), None);
    }

    #[test]
    fn a_state_directory_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server-id");
        let id = server_id(&path).unwrap();
        assert_eq!(server_id(&path).unwrap(), id);
        std::fs::write(&path, "x").unwrap();
        assert!(server_id(&path).is_err());
    }
}
