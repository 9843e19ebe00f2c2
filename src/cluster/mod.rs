//! Cluster managers: what has become of the applications that this server has submitted, and their end.
//!
//! Owns: the tags by which applications are found again, the client of YARN's ResourceManagers, and the one task that asks about all
//! applications at once. Called by `batch`, which follows its applications, and by `driver`, which names them; calls `config` and
//! `background`. `docs/clusters.md` is its page.
//!
//! Read in this order: `application`, `watcher` (when is asked for what), `yarn` (how), `negotiate` (as whom), `ending`.

mod application;
mod ending;
mod hadoop_conf;
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

pub use application::{Application, Links, Outcome, State};
pub use ending::{Ending, LATE, LOOK};
pub use watcher::{Report, Watched};

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
pub struct Cluster {
    watcher: Arc<Watcher>,
}

impl Cluster {
    /// Finds the cluster manager of `spark.master`, of the cluster with this name, and starts the task that asks it. None where nobody has to be asked: no other
    /// master is asked than YARN, and without deploy mode `cluster` one whose address is not known is left alone.
    ///
    /// # Errors
    /// Drivers run in the cluster, and where its ResourceManager is is not known; or the state directory can't be written.
    pub fn open(
        name: Option<&str>,
        config: &Config,
        state_dir: &Path,
        background: &Background,
    ) -> anyhow::Result<Option<Self>> {
        if !config.spark.is_yarn() {
            return Ok(None);
        }
        let settings = &config.cluster;
        let ticket = config.hadoop.ticket(state_dir);
        let negotiate = Negotiate::new(ticket.as_deref(), settings.timeout.get(), background)?;
        let yarn = match Yarn::open(settings, negotiate, |name| config.driver_variable(name)) {
            Err(error) if !config.spark.runs_in_cluster() => {
                tracing::info!(cluster = name, "YARN is not asked about applications: {error:#}");
                return Ok(None);
            }
            opened => opened?,
        };
        // Two clusters may be one YARN with two Sparks: none ends the other's applications.
        let of_cluster = name.map_or(String::new(), |name| format!("-{}", name.to_lowercase()));
        let id = server_id(&state_dir.join("server-id"))?;
        let group = format!("{PREFIX}server-{id}{of_cluster}");
        let watcher = Arc::new(Watcher::new(yarn, settings, group));
        background.spawn(Arc::clone(&watcher).run(background.stopping().clone()));
        Ok(Some(Self { watcher }))
    }

    /// The tag of all applications of this cluster that this server's state directory answers for.
    #[must_use]
    pub fn group_tag(&self) -> &str {
        &self.watcher.group
    }

    /// Watches a driver's application, which may not be there yet, for as long as the answer lives. Of several with its
    /// tag it is the first one: nobody else knows the tag before YARN has it.
    #[must_use]
    pub fn watch(&self, driver: Uuid) -> Watched {
        Watcher::watch(&self.watcher, driver)
    }

    /// The applications of this server's that live and that nobody watches, with their drivers. Waits until the cluster manager answers.
    /// Cancel safe.
    async fn strays(&self) -> Vec<(Uuid, Arc<Application>)> {
        self.watcher.strays().await
    }

    /// Has an application killed. That it has ended comes as a report.
    ///
    /// # Errors
    /// One sentence: the cluster manager does not answer, or refuses.
    pub async fn kill(&self, id: &str) -> Result<(), String> {
        self.watcher.yarn.kill(id).await
    }

    /// The end of what an application's driver has written, at most `most` bytes of each of its streams: stdout, then stderr.
    ///
    /// # Errors
    /// One sentence: the node does not answer, or has it no more.
    pub async fn driver_log(&self, application: &Application, most: u64) -> Result<[Vec<u8>; 2], String> {
        self.watcher.yarn.driver_log(application, most).await
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
