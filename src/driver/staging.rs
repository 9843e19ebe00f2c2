//! What an application in YARN leaves in its file system when it is killed or lost: its staging directory,
//! `spark.yarn.stagingDir`/USER/.sparkStaging/ID, or below the user's home directory (docs/clusters.md). Hadoop's own shell removes it, as the user who has submitted, wherever it is.
//!
//! One shell runs at a time, for up to [`TOGETHER`] directories of one user; up to [`WAITING`] more wait. Called by `Drivers`; calls `submit` for the
//! environment, `step` and `user_ticket`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::launch_ticket::LaunchTicket;
use super::run_dir::RunDir;
use super::spark::Spark;
use super::step::Step;
use super::submit::{self, ConfDirs, DriverSpec, Jvm};
use super::user_ticket::UserTicket;
use super::{run_as, run_dir};
use crate::background::Background;
use crate::cluster::Application;
use crate::config::Config;

/// What is noted of it in a driver's directory.
const FILE: &str = "staging.json";
/// The shell's directories, beside those of drivers.
const PREFIX: &str = "staging-";
/// Hadoop's shell.
const SHELL: &str = "org.apache.hadoop.fs.FsShell";
/// Applications whose directories wait to be removed; of more they are left.
const WAITING: usize = 4096;
/// Directories that one shell removes.
const TOGETHER: usize = 64;
/// The bytes that are read of what the shell says.
const SAID: u64 = 16 * 1024;
/// Between two looks at the shell.
const LOOK: Duration = Duration::from_millis(50);

/// Whose staging directories are where, noted when a driver is launched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// `spark.yarn.stagingDir`; none: the user's home directory.
    base: Option<String>,
    /// Whose the driver is.
    user: Option<String>,
    /// For whom it acts on the cluster.
    proxy_user: Option<String>,
    conf_dirs: Option<ConfDirs>,
    /// Hadoop's keys among Spark's conf.
    hadoop: BTreeMap<String, String>,
}

impl Staging {
    /// Notes it in the driver's directory, unless its user wants it kept (`spark.yarn.preserve.staging.files`).
    pub(super) fn note(
        run_dir: &RunDir,
        spec: &DriverSpec,
        conf: &BTreeMap<String, String>,
        proxy_user: Option<&str>,
    ) -> io::Result<()> {
        let get = |key: &str| {
            conf.get(key)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        if get("spark.yarn.preserve.staging.files") == Some("true") {
            return Ok(());
        }
        let hadoop = conf.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix("spark.hadoop.")?;
            Some((key.to_owned(), value.clone()))
        });
        let noted = Self {
            base: get("spark.yarn.stagingDir").map(str::to_owned),
            user: spec.user.clone(),
            proxy_user: proxy_user.map(str::to_owned),
            conf_dirs: spec.conf_dirs.clone(),
            hadoop: hadoop.collect(),
        };
        run_dir.write(FILE, &serde_json::to_vec(&noted)?)
    }

    /// What was noted; none for a driver that has no staging directory, or whose directory is cleared.
    pub(super) fn of(run_dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&run_dir::read_plain(&run_dir.file(FILE)).ok()?).ok()
    }

    /// The directory of an application of this user of YARN's. A relative one is in the user's home directory. None where a part is none
    /// that YARN or a file system gives: the shell would take it for a pattern.
    fn path(&self, application: &str, user: &str) -> Option<String> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = application.strip_prefix("application_")?.split_once('_')?;
        let base = self.base.as_deref().unwrap_or_default();
        let is_plain =
            |text: &str| !text.starts_with('-') && !text.contains(['*', '?', '[', ']', '{', '}', '\\', '^']);
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('/') && is_plain(name);
        (number(parts.0) && number(parts.1) && is_plain(base)).then_some(())?;
        match base {
            "" => Some(format!(".sparkStaging/{application}")),
            _ if !is_name(user) => None,
            base => Some(format!(
                "{}/{user}/.sparkStaging/{application}",
                base.trim_end_matches('/')
            )),
        }
    }

    /// Whether one shell can remove what both have left.
    fn is_like(&self, other: &Self) -> bool {
        let whose = |this: &Self| Self {
            base: None,
            ..this.clone()
        };
        whose(self) == whose(other)
    }
}

/// An application that has left its staging directory.
#[derive(Clone, Debug)]
struct Left {
    staging: Staging,
    id: String,
    /// Whose it is, as YARN says.
    user: String,
}

/// The one who removes them. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Remover {
    queue: mpsc::Sender<Left>,
    /// How many wait or are being removed.
    open: Arc<watch::Sender<usize>>,
}

/// What the shell is started with.
pub(super) struct Shell {
    pub config: Arc<Config>,
    pub spark: Spark,
    pub ticket: Option<LaunchTicket>,
    /// Where drivers have their directories.
    pub root: PathBuf,
    pub background: Background,
}

impl Remover {
    /// Starts the task, and removes what an earlier one's shell had.
    pub(super) fn start(shell: Shell) -> io::Result<Self> {
        for entry in std::fs::read_dir(&shell.root)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX))
            {
                RunDir::at(entry.path()).remove()?;
            }
        }
        let (queue, waiting) = mpsc::channel(WAITING);
        let open = Arc::new(watch::Sender::new(0));
        let background = shell.background.clone();
        background.spawn(work(Arc::new(shell), waiting, Arc::clone(&open)));
        Ok(Self { queue, open })
    }

    /// Has the directory removed of an application that has not ended by itself, or that is `known` by the id and the user that YARN has told and is
    /// lost.
    pub(super) fn clear(
        &self,
        staging: Option<Staging>,
        application: Option<&Application>,
        known: Option<(&str, &str)>,
    ) {
        let left = match application {
            Some(application) if application.is_finished => None,
            Some(application) => Some((&*application.id, &*application.user)),
            None => known,
        };
        if let (Some(staging), Some((id, user))) = (staging, left) {
            self.remove(staging, id, user);
        }
    }

    /// Has an application's directory removed, some time; a failure is told in the server's log.
    fn remove(&self, staging: Staging, application: &str, user: &str) {
        let left = Left {
            staging,
            id: application.to_owned(),
            user: user.to_owned(),
        };
        self.open.send_modify(|open| *open += 1);
        if self.queue.try_send(left).is_err() {
            self.open.send_modify(|open| *open -= 1);
            warn!(
                application.id = application,
                "its staging directory is left: too many wait to be removed"
            );
        }
    }

    /// Waits until none is left to remove. Cancel safe.
    pub(super) async fn done(&self) {
        // The sender lives as long as this does.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

async fn work(shell: Arc<Shell>, mut waiting: mpsc::Receiver<Left>, open: Arc<watch::Sender<usize>>) {
    let stopping = shell.background.stopping().clone();
    let mut taken: VecDeque<Left> = VecDeque::new();
    loop {
        if taken.is_empty() {
            let next = tokio::select! {
                next = waiting.recv() => next,
                () = stopping.cancelled() => return,
            };
            let Some(next) = next else { return };
            taken.push_back(next);
        }
        while taken.len() < TOGETHER
            && let Ok(next) = waiting.try_recv()
        {
            taken.push_back(next);
        }
        let first = taken[0].staging.clone();
        let (like, other) = taken.drain(..).partition(|left| left.staging.is_like(&first));
        taken = other;
        let together: Vec<Left> = like.into();
        let ids: Vec<String> = together.iter().map(|left| left.id.clone()).collect();
        let (shell, count) = (Arc::clone(&shell), together.len());
        let background = shell.background.clone();
        let removed = background.blocking(move || shell.remove(&first, &together)).await;
        match removed.unwrap_or_else(|panicked| Err(panicked.to_string())) {
            Ok(()) => info!(applications = ids.join(" "), "staging directories are removed"),
            Err(why) => warn!(
                applications = ids.join(" "),
                "staging directories could not be removed: {why}"
            ),
        }
        open.send_modify(|open| *open -= count);
    }
}

impl Shell {
    /// Runs the shell to its end.
    fn remove(&self, whose: &Staging, together: &[Left]) -> Result<(), String> {
        let paths: Vec<String> = together
            .iter()
            .filter_map(|left| left.staging.path(&left.id, &left.user))
            .collect();
        if paths.is_empty() {
            return Err("spark.yarn.stagingDir is no path, or has wildcards".to_owned());
        }
        let id = Uuid::new_v4();
        let run_dir =
            RunDir::create(self.root.join(format!("{PREFIX}{id}"))).map_err(|error| error.to_string())?;
        let removed = self.run(whose, paths, id, &run_dir);
        let _ = run_dir.remove();
        removed
    }

    fn run(&self, whose: &Staging, paths: Vec<String>, id: Uuid, run_dir: &RunDir) -> Result<(), String> {
        let told = |error: io::Error| error.to_string();
        let config = &self.config;
        let identity =
            run_as::identity(&config.run_as, whose.user.as_deref()).map_err(|error| error.to_string())?;
        let conf = run_dir.own().join("hadoop.xml");
        run_dir
            .write_own("hadoop.xml", site(&whose.hadoop).as_bytes())
            .map_err(told)?;
        if let Some(identity) = &identity {
            run_dir.give(identity.uid, identity.gid).map_err(told)?;
        }
        let user_ticket = identity
            .as_ref()
            .and_then(|identity| UserTicket::of(config, identity, run_dir).map(|ticket| (ticket, identity)));
        let ticket: Option<PathBuf> = match (&self.ticket, &user_ticket) {
            (Some(ticket), _) if identity.is_none() => {
                Some(ticket.cache().map_err(|error| error.to_string())?.to_owned())
            }
            (_, Some((ticket, identity))) => {
                ticket.obtain(identity)?;
                Some(ticket.cache().to_owned())
            }
            _ => None,
        };
        let spec = DriverSpec {
            conf_dirs: whose.conf_dirs.clone(),
            ..DriverSpec::default()
        };
        let jvm = Jvm {
            work: &run_dir.work(),
            conf: &BTreeMap::new(),
            class_archive: None,
            identity: identity.as_ref(),
            ticket: ticket.as_deref(),
        };
        let mut environment = submit::environment(config, &self.spark, &spec, id, &jvm, |name| {
            std::env::var(name).ok()
        });
        if let Some(user) = &whose.proxy_user {
            environment.insert("HADOOP_PROXY_USER".to_owned(), user.clone());
        }
        let mut argv = vec![
            self.spark.home.join("bin/spark-class").display().to_string(),
            SHELL.to_owned(),
        ];
        argv.extend(["-conf".to_owned(), conf.display().to_string()]);
        argv.extend(["-rm", "-r", "-f", "-skipTrash"].map(str::to_owned));
        argv.extend(paths);
        // Where files are this host's, the shell takes this for the home directory.
        let home = identity.as_ref().map(|identity| identity.home.clone());
        let directory = home.or_else(own_home).filter(|home| home.is_dir());
        let step = Step {
            argv,
            environment,
            directory: directory.unwrap_or_else(|| PathBuf::from("/")),
            umask: 0o077,
            identity,
            cgroups: Vec::new(),
            processes: 0,
            oom_score_adj: config.driver.oom_score_adj,
        };
        let child = step
            .start()
            .map_err(|error| format!("{SHELL} could not be started: {error}"))?;
        wait(child, config.cluster.yarn.staging_timeout.get(), || {
            self.background.stopping().is_cancelled()
        })
    }
}

/// The home directory of the server's own user, as Java finds it.
fn own_home() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    user.ok().flatten().map(|user| user.dir)
}

/// Hadoop's configuration file.
fn site(properties: &BTreeMap<String, String>) -> String {
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let rows: String = properties
        .iter()
        .map(|(name, value)| {
            let (name, value) = (escaped(name), escaped(value));
            format!("<property><name>{name}</name><value>{value}</value></property>\n")
        })
        .collect();
    format!("<?xml version=\"1.0\"?>\n<configuration>\n{rows}</configuration>\n")
}

/// Waits for the end of the shell, at most `limit` and until `is_over`; then all of its group is killed. An error is what it says.
fn wait(mut child: Child, limit: Duration, is_over: impl Fn() -> bool) -> Result<(), String> {
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let begin = std::time::Instant::now();
    // Both are read to their end, so that it never waits for room.
    let readers = [child.stdout.take().map(read), child.stderr.take().map(read)];
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(error.to_string()),
            Ok(None) if begin.elapsed() > limit => {
                break Err(format!(
                    "{limit:?} were not enough (cluster.yarn.staging_timeout)"
                ));
            }
            Ok(None) if is_over() => break Err("the server stops".to_owned()),
            Ok(None) => std::thread::sleep(LOOK),
        }
    };
    if status.is_err() {
        if let Ok(group) = group {
            // It may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = child.wait();
    }
    let said: Vec<String> = readers
        .into_iter()
        .flatten()
        .filter_map(|reader| reader.join().ok())
        .collect();
    match status? {
        status if status.success() => Ok(()),
        status => {
            let said = said.join("\n");
            let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
            // What the shell itself says comes after what its libraries do.
            let why = lines()
                .find(|line| line.starts_with("rm: "))
                .or_else(|| lines().next_back());
            Err(why.map_or_else(|| status.to_string(), |line| line.chars().take(500).collect()))
        }
    }
}

/// Reads a pipe to its end, and keeps the beginning.
fn read(mut pipe: impl io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = pipe.by_ref().take(SAID).read_to_end(&mut said);
        let _ = io::copy(&mut pipe, &mut io::sink());
        String::from_utf8_lossy(&said).into_owned()
    })
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
