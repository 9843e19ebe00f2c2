//! Drivers: the processes that run users' code, and the link to each.
//!
//! Owns: finding Spark, building what `spark-submit` is given, the class-data archive, the keeper, the link, the driver's log on disk, and the sentence that
//! explains an end. Called by `session` and `batch`; calls `gpu` for masks, `cluster` for tags, `config` and `background`. It knows processes and frames, and nothing of
//! owners, HTTP or SQL tables. `docs/link.md` is its contract with the agent.

mod agent;
mod ccache;
mod cgroup;
mod claim;
mod class_archive;
mod collect;
mod diagnosis;
mod direct_output;
mod event;
mod files;
mod follow;
mod handle;
mod in_cluster;
pub mod keeper;
mod keeper_watch;
mod launch_ticket;
mod leftovers;
mod link;
pub mod log;
mod mark;
mod package;
mod process;
mod remote;
mod run_as;
mod run_dir;
mod secure;
mod spark;
mod staging;
mod start_options;
pub mod step;
mod submit;
mod supervise;
mod training;
mod user_ticket;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::process::Command as Process;
use tokio::sync::mpsc;
use tracing::info;
use uuid::Uuid;

use crate::background::Background;
use crate::cluster::{self, Cluster};
use crate::config::{Config, DeployMode, RunAsMode};
use cgroup::Places;
use class_archive::ClassArchive;
use keeper_watch::Keeper;
use link::{FrameCodec, LinkKey, Listener, Peer, Slot, Tickets};
use remote::Remote;
use staging::{Remover, Shell};
use supervise::{LinkState, QUESTIONS_WAITING, Supervisor};

pub use crate::cluster::Recovering;
pub use claim::{Claim, Claimed};
pub use collect::memory_bytes;
pub use diagnosis::{diagnose, diagnose_application, exception_in};
pub use event::{Cut, DriverEvent, StatementResult};
pub use follow::{LogFollower, LogNow};
pub use handle::{Addition, Driver};
pub use launch_ticket::{LaunchTicket, check_tickets};
pub use leftovers::clear;
use leftovers::end_leftover;
pub use link::{ResultPiece, ResultStream};
pub use mark::DriverMark;
pub use process::{ProcessName, driver_of};
pub use run_as::{Identity, NoUser, possible as possible_run_as, prepare as prepare_run_as};
pub use run_dir::{Exit, Limits, RunDir};
pub use spark::{NoSpark, Spark};
pub use staging::Staging;
pub use submit::{Ahead, Application, ConfDirs, DriverSpec, Resources, spark_defaults};

/// Events that may wait for the session; more wait in the link.
const EVENTS_WAITING: usize = 64;
/// Commands that may wait for the driver's task.
const COMMANDS_WAITING: usize = 256;
/// Connections that may wait for the driver's task.
const CALLS_WAITING: usize = 4;
/// A driver's news, each with its frame's number.
pub type Events = mpsc::Receiver<(u64, DriverEvent)>;

/// What drivers have on this host beside their directories.
#[derive(Debug)]
struct Host {
    /// Where uploads are, as their files are named.
    uploads: [PathBuf; 2],
    cgroups: Places,
    /// `link.max_frame`.
    max_frame: u64,
}

/// Starts drivers and takes their calls.
#[derive(Debug)]
pub struct Drivers {
    config: Arc<Config>,
    spark: Spark,
    class_archive: Option<Arc<ClassArchive>>,
    /// Where drivers run in YARN.
    staging: Option<Remover>,
    ticket: Option<LaunchTicket>,
    defaults: BTreeMap<String, String>,
    run_root: PathBuf,
    host: Arc<Host>,
    /// The umask that the server was started with.
    umask: u32,
    /// Where the agent is.
    agent: PathBuf,
    key: LinkKey,
    listener: Listener,
    /// Where applications run, if somebody can be asked about them.
    cluster: Option<Cluster>,
    epoch: i64,
    background: Background,
}

impl Drivers {
    /// Opens the link's socket and unpacks the agent under `state_dir`. `umask` is the one that the server was started with; `ticket` the one that drivers
    /// get.
    ///
    /// # Errors
    /// The state directory can't be written, or `spark-defaults.conf` can't be read.
    pub fn open(
        config: Arc<Config>,
        spark: Spark,
        state_dir: &Path,
        epoch: i64,
        umask: u32,
        ticket: Option<LaunchTicket>,
        background: &Background,
    ) -> io::Result<Self> {
        let run_root = state_dir.join("run");
        // Whatever the umask is: nobody else makes or removes anything here.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&run_root)?;
        let uploads = state_dir.join("uploads");
        // Files are named as the policy has resolved them, or as they are.
        let real_uploads = uploads.canonicalize().unwrap_or_else(|_| uploads.clone());
        let cgroups = match config.driver.cgroups {
            true => Places::find(),
            false => Places::default(),
        };
        info!("cgroups for drivers: {}", cgroups.told());
        cgroups.sweep(&run_root)?;
        let agents = state_dir.join("agent");
        let agent = agent::unpack(&agents)?;
        if config.run_as.mode == RunAsMode::Owner {
            run_as::let_read(&agents)?;
        }
        let conf_dir = std::env::var("SPARK_CONF_DIR").ok();
        let is_wanted = config.driver.class_archive && config.spark.deploy_mode != DeployMode::Cluster;
        let class_archive = match is_wanted {
            true => ClassArchive::of(&state_dir.join("class-archives"), &spark, |name| {
                let set = config.driver.env.get(name).cloned();
                set.or_else(|| std::env::var(name).ok())
            }),
            false => Err("it is off (driver.class_archive), or drivers run in the cluster".to_owned()),
        };
        let class_archive = class_archive
            .inspect_err(|reason| info!("drivers start without a class-data archive: {reason}"))
            .ok()
            .map(Arc::new);
        let staging = match config.spark.is_yarn() && config.spark.runs_in_cluster() {
            true => Some(Remover::start(Shell {
                config: Arc::clone(&config),
                spark: spark.clone(),
                ticket: ticket.clone(),
                root: run_root.clone(),
                background: background.clone(),
            })?),
            false => None,
        };
        Ok(Self {
            staging,
            defaults: spark_defaults(&spark, conf_dir.as_deref())?,
            agent,
            host: Arc::new(Host {
                uploads: [uploads, real_uploads],
                cgroups,
                max_frame: config.link.max_frame.bytes(),
            }),
            umask,
            ticket,
            key: LinkKey::open(state_dir)?,
            listener: Listener::bind(state_dir, &config.link, epoch, background)?,
            cluster: Cluster::open(&config, state_dir, background)
                .map_err(|error| io::Error::other(format!("{error:#}")))?,
            epoch,
            background: background.clone(),
            run_root,
            spark,
            class_archive,
            config,
        })
    }

    /// The directory of a driver, whether it exists or not.
    #[must_use]
    pub fn run_dir(&self, id: Uuid) -> RunDir {
        RunDir::at(self.run_root.join(id.to_string()))
    }

    /// Starts a driver under an id that the store knows already. What becomes of it comes as events, each with its frame's number (0 for those that are no frames), which
    /// goes back with [`Driver::stored`]; the last is [`DriverEvent::Exited`].
    ///
    /// # Errors
    /// The run directory can't be written or the keeper can't be started. That `spark-submit` can't be is an event.
    pub fn launch(&self, id: Uuid, spec: &DriverSpec) -> io::Result<(Driver, Events)> {
        let run_dir = RunDir::create(self.run_root.join(id.to_string()))?;
        let launched = self.launch_in(id, &run_dir, spec);
        if launched.is_err() {
            let _ = run_dir.remove();
        }
        launched
    }

    /// Takes back a driver that an earlier server has launched, alive or ended meanwhile; its events are those of
    /// [`Drivers::launch`]. None: it was never started, and now never will be; one that `was_ready` has been, whatever became of
    /// its directory.
    ///
    /// # Errors
    /// The keeper can't be watched.
    pub fn adopt(&self, id: Uuid, was_ready: bool) -> io::Result<Option<(Driver, Events)>> {
        let run_dir = self.run_dir(id);
        // One that runs in a cluster has no process here once it was sent there.
        let is_withdrawn = match run_dir.is_remote() {
            true => run_dir.unlaunch(),
            false => !was_ready && run_dir.withdraw_launch(),
        };
        if is_withdrawn {
            return run_dir.remove().map(|()| None);
        }
        let keeper = Keeper::adopt(run_dir.keeper())?;
        let stop_grace = self.config.driver.stop_grace.get();
        Ok(Some(self.supervise(id, &run_dir, keeper, stop_grace, Vec::new())))
    }

    fn launch_in(&self, id: Uuid, run_dir: &RunDir, spec: &DriverSpec) -> io::Result<(Driver, Events)> {
        let notices = self.write_files(id, run_dir, spec, &self.key.secret(id))?;
        // This very binary, also when an upgrade has put another in its place.
        let child = Process::new("/proc/self/exe")
            .arg0("firesteel")
            .env_clear()
            .arg("keeper")
            .arg(run_dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        crate::kill_point!("create.spawned");
        let stop_grace = match spec.makes_class_archive {
            true => training::WRITE_LIMIT,
            false => self.config.driver.stop_grace.get(),
        };
        Ok(self.supervise(id, run_dir, Keeper::new(child)?, stop_grace, notices))
    }

    /// Watches a driver, which may take `stop_grace` to end when it is asked to. `notices` are lines for its session's log.
    fn supervise(
        &self,
        id: Uuid,
        run_dir: &RunDir,
        keeper: Keeper,
        stop_grace: Duration,
        notices: Vec<String>,
    ) -> (Driver, Events) {
        let cluster = self.cluster.clone().filter(|_| run_dir.is_remote());
        let remote = cluster.map(|cluster| Box::new(Remote::new(id, cluster, &self.config, run_dir)));
        let (calls, calls_waiting) = mpsc::channel(CALLS_WAITING);
        let tickets = Arc::<Tickets>::default();
        let slot = Arc::new(Slot {
            secret: self.key.secret(id),
            peer: match &remote {
                Some(_) => Peer::Remote,
                None => Peer::Local {
                    uid: run_dir.uid(),
                    keeper_pid: keeper.pid,
                },
            },
            stored: AtomicU64::new(0),
            calls,
            tickets: Arc::clone(&tickets),
        });
        self.listener.expect(id, Arc::clone(&slot));
        let (events, events_waiting) = mpsc::channel(EVENTS_WAITING);
        for text in notices {
            // There are fewer than may wait.
            let _ = events.try_send((0, DriverEvent::Notice { text }));
        }
        let (commands, commands_waiting) = mpsc::channel(COMMANDS_WAITING);
        let (questions, questions_waiting) = mpsc::channel(QUESTIONS_WAITING);
        let supervisor = Supervisor {
            run_dir: run_dir.clone(),
            slot,
            commands: commands_waiting,
            questions: questions_waiting,
            calls: calls_waiting,
            events,
            stop_grace,
            codec: FrameCodec {
                max: self.config.link.max_frame.len(),
            },
            // What the agent may write, and what it adds at its end.
            outbox_bytes: self.config.link.outbox_bytes.bytes() + self.config.link.max_frame.bytes(),
            background: self.background.clone(),
            cgroups: self.host.cgroups.clone(),
            epoch: self.epoch,
            link: LinkState::new(keeper.is_adopted, self.epoch),
            keeper,
            has_failed: false,
            remote,
            staging: self.staging.clone(),
        };
        self.background.spawn(supervisor.run());
        let driver = Driver {
            id,
            run_dir: run_dir.clone(),
            host: Arc::clone(&self.host),
            commands,
            questions,
            tickets,
        };
        (driver, events_waiting)
    }

    /// Whether a driver can be started for this user: one sentence where it can't. Asks the host for its users.
    ///
    /// # Errors
    /// See [`NoUser`].
    pub async fn check_user(&self, user: Option<&str>) -> Result<(), NoUser> {
        self.identity(user).await.map(drop)
    }

    /// As whom this user's drivers run; none: as the server. Asks the host for its users.
    ///
    /// # Errors
    /// See [`NoUser`].
    pub async fn identity(&self, user: Option<&str>) -> Result<Option<Identity>, NoUser> {
        if self.config.run_as.mode == RunAsMode::Server {
            return Ok(None);
        }
        let (config, user) = (Arc::clone(&self.config), user.map(str::to_owned));
        let looked = move || run_as::identity(&config.run_as, user.as_deref());
        let looked = self.background.blocking(looked).await;
        looked.unwrap_or_else(|panicked| Err(NoUser::Unavailable(panicked.to_string())))
    }

    /// The whole Spark conf of a session's driver that is started so, but for its directory. None where it has more than the configuration allows, which
    /// the session's log has to say.
    #[must_use]
    pub fn conf(&self, spec: &DriverSpec) -> Option<BTreeMap<String, String>> {
        let mut conf = submit::conf(&self.config, spec, &self.defaults, Path::new(""));
        let lowered = collect::bound(&mut conf, self.config.driver.max_result_percent.into());
        lowered.is_empty().then_some(conf)
    }

    /// Where Spark's history server shows an application that was started so, once it has ended. None without such a server or an event log.
    /// Reads a file where the driver has a configuration directory of its own.
    #[must_use]
    pub fn history_url(&self, spec: &DriverSpec, application: &str) -> Option<String> {
        let server = &self.config.spark.history_server;
        let is_plain = |id: &str| {
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if server.is_empty() || application.is_empty() || !is_plain(application) {
            return None;
        }
        let other = spec.conf_dirs.as_ref().and_then(|dirs| dirs.spark.as_deref());
        let other = other.and_then(|dir| files::defaults_of(&self.spark, dir).ok());
        let defaults = other.as_ref().unwrap_or(&self.defaults);
        let conf = submit::conf(&self.config, spec, defaults, Path::new(""));
        let is_on = conf.get("spark.eventLog.enabled").is_some_and(|on| on == "true");
        is_on.then(|| format!("{}/history/{application}/", server.trim_end_matches('/')))
    }

    /// Takes a driver's call no longer, once it has ended.
    pub fn forget(&self, driver: &Driver) {
        self.listener.forget(driver.id);
    }

    /// What must be known to remove the staging directory of a driver's application, before its own directory is cleared.
    #[must_use]
    pub fn staging(&self, run_dir: &RunDir) -> Option<Staging> {
        self.staging.as_ref().and_then(|_| Staging::of(run_dir))
    }

    /// Has the staging directory of an application removed that has not ended by itself, or that is `known` by the id and the user that YARN has told
    /// and is lost. Does not wait.
    pub fn clear_staging(
        &self,
        staging: Option<Staging>,
        application: Option<&cluster::Application>,
        known: Option<(&str, &str)>,
    ) {
        if let Some(remover) = &self.staging {
            remover.clear(staging, application, known);
        }
    }

    /// Waits until all staging directories are removed that are to be. Cancel safe.
    pub async fn staging_removed(&self) {
        if let Some(remover) = &self.staging {
            remover.done().await;
        }
    }

    /// The Spark that drivers run on.
    #[must_use]
    pub fn spark(&self) -> &Spark {
        &self.spark
    }

    /// Where applications run, if somebody can be asked about them.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Where drivers run, if that is a cluster.
    #[must_use]
    pub fn cluster_of_drivers(&self) -> Option<&Cluster> {
        self.cluster().filter(|_| self.config.spark.runs_in_cluster())
    }

    /// Ends a driver of an earlier server that nobody needs any more, and clears its directory; its log stays unless it was `deleted`. False where it
    /// does not end.
    pub async fn end_leftover(&self, id: Uuid, deleted: bool) -> bool {
        let run_dir = self.run_dir(id);
        let staging = self.staging(&run_dir);
        // Its submit first: none can be sent after that.
        let cleared = end_leftover(&run_dir, deleted, &self.background).await;
        let Some(cluster) = self.cluster_of_drivers().filter(|_| cleared) else {
            return cleared;
        };
        let ended = cluster.end(id, self.background.stopping()).await;
        if let Some(application) = &ended {
            self.clear_staging(staging, application.as_deref(), None);
        }
        ended.is_some()
    }

    /// The drivers that have a directory.
    ///
    /// # Errors
    /// The directories can't be read.
    pub fn on_disk(&self) -> io::Result<Vec<Uuid>> {
        let entries = std::fs::read_dir(&self.run_root)?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }
}
