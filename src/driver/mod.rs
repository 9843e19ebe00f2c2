//! Drivers: the processes that run users' code, and the link to each.
//!
//! Owns: finding Spark, one for each cluster (`site`), building what `spark-submit` is given, the class-data archive, the keeper, the link, the driver's log on disk, and the sentence that
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
mod pod_log;
mod process;
mod remote;
mod run_as;
mod run_dir;
mod secure;
mod site;
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

use futures_util::future::join_all;
use tokio::process::Command as Process;
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};
use uuid::Uuid;

use crate::background::Background;
use crate::cluster::{self, Cluster};
use crate::config::{Config, RunAsMode};
use cgroup::Places;
use keeper_watch::Keeper;
use link::{FrameCodec, LinkKey, Listener, Peer, Slot, Tickets};
use remote::Remote;
use site::Site;
use staging::{Remover, Shell};
use supervise::{LinkState, QUESTIONS_WAITING, Supervisor};

pub use crate::cluster::Recovering;
pub use claim::{Claim, Claimed};
pub use collect::memory_bytes;
pub use diagnosis::{diagnose, diagnose_application};
pub use event::{Cut, DriverEvent, StatementResult};
pub use follow::{LogFollower, LogNow};
pub use handle::{Addition, Driver};
pub use launch_ticket::{LaunchTicket, check_tickets};
pub use leftovers::clear;
use leftovers::end_leftover;
pub use link::{ResultPiece, ResultStream};
pub use mark::DriverMark;
pub use pod_log::PodLog;
pub use process::{ProcessName, driver_of};
pub use remote::fetch_log;
pub use run_as::{Identity, NoUser, possible as possible_run_as, prepare as prepare_run_as};
pub use run_dir::{Exit, Limits, RunDir};
pub use site::{DriverPlace, Place};
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
    /// The default cluster.
    site: Site,
    /// The others, by name.
    sites: BTreeMap<String, Site>,
    /// The class-data archives are made one after another.
    training: Semaphore,
    ticket: Option<LaunchTicket>,
    run_root: PathBuf,
    host: Arc<Host>,
    /// The umask that the server was started with.
    umask: u32,
    /// Where the agent is.
    agent: PathBuf,
    key: LinkKey,
    listener: Listener,
    epoch: i64,
    background: Background,
}

impl Drivers {
    /// Opens the link's socket and unpacks the agent under `state_dir`, for the default cluster. `umask` is the one that the server was started with;
    /// `ticket` the one that drivers get.
    ///
    /// # Errors
    /// The state directory can't be written, or `spark-defaults.conf` can't be read.
    pub fn open(
        place: Place,
        state_dir: &Path,
        epoch: i64,
        umask: u32,
        ticket: Option<LaunchTicket>,
        background: &Background,
    ) -> io::Result<Self> {
        let config = Arc::clone(&place.config);
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
        let site = Site::open(None, place, state_dir, [])?;
        let drivers = Self {
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
            epoch,
            background: background.clone(),
            run_root,
            site,
            sites: BTreeMap::new(),
            training: Semaphore::new(1),
            config,
        };
        drivers.with_remover()
    }

    /// Has the default cluster's staging directories removed.
    fn with_remover(mut self) -> io::Result<Self> {
        self.site.staging = self.remover(&self.site)?;
        Ok(self)
    }

    /// Who removes what applications leave of themselves, where drivers run in YARN.
    fn remover(&self, site: &Site) -> io::Result<Option<Remover>> {
        if !site.config.spark.is_yarn() || !site.config.spark.runs_in_cluster() {
            return Ok(None);
        }
        let shell = Shell {
            config: Arc::clone(&site.config),
            spark: site.spark.clone(),
            ticket: self.ticket.clone(),
            root: self.run_root.clone(),
            background: self.background.clone(),
        };
        Remover::start(shell).map(Some)
    }

    /// Adds a cluster beside the default one.
    ///
    /// # Errors
    /// Its `spark-defaults.conf` can't be read.
    pub fn add_cluster(&mut self, name: &str, place: Place, state_dir: &Path) -> io::Result<()> {
        let others = std::iter::once(&self.site).chain(self.sites.values());
        let mut site = Site::open(Some(name), place, state_dir, others)?;
        site.staging = self.remover(&site)?;
        self.sites.insert(name.to_owned(), site);
        Ok(())
    }

    /// Where a driver is started.
    ///
    /// # Errors
    /// Its cluster is not configured.
    fn site(&self, spec: &DriverSpec) -> io::Result<&Site> {
        let name = spec.cluster.as_deref();
        self.site_named(name).ok_or_else(|| {
            let name = name.unwrap_or_default();
            io::Error::other(format!(
                "its cluster {name:?} is not configured any more (clusters.{name})"
            ))
        })
    }

    /// What there is of a cluster that is configured; of the default one, without a name.
    fn site_named(&self, name: Option<&str>) -> Option<&Site> {
        name.map_or(Some(&self.site), |name| self.sites.get(name))
    }

    /// The directory of a driver, whether it exists or not.
    #[must_use]
    pub fn run_dir(&self, id: Uuid) -> RunDir {
        RunDir::at(self.run_root.join(id.to_string()))
    }

    /// Whether a driver's cluster is configured.
    ///
    /// # Errors
    /// It is not, which can be of what an earlier server accepted; one sentence.
    pub fn check_cluster(&self, spec: &DriverSpec) -> io::Result<()> {
        self.site(spec).map(drop)
    }

    /// Starts a driver under an id that the store knows already. What becomes of it comes as events, each with its frame's number (0 for those that are no frames), which
    /// goes back with [`Driver::stored`]; the last is [`DriverEvent::Exited`].
    ///
    /// # Errors
    /// Its cluster is not configured, the run directory can't be written or the keeper can't be started. That `spark-submit` can't be is an event.
    pub fn launch(&self, id: Uuid, spec: &DriverSpec) -> io::Result<(Driver, Events)> {
        self.site(spec)?.used.notify_one();
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
    /// The keeper can't be watched, or the driver runs in a cluster that is not configured any more.
    pub fn adopt(
        &self,
        id: Uuid,
        spec: &DriverSpec,
        was_ready: bool,
    ) -> io::Result<Option<(Driver, Events)>> {
        let run_dir = self.run_dir(id);
        // One that runs in a cluster has no process here once it was sent there.
        let is_withdrawn = match run_dir.is_remote() {
            true => run_dir.unlaunch(),
            false => !was_ready && run_dir.withdraw_launch(),
        };
        if is_withdrawn {
            return run_dir.remove().map(|()| None);
        }
        let site = match run_dir.is_remote() {
            true => Some(self.site(spec)?),
            // All that is needed of it is here, whether its cluster is configured or not.
            false => None,
        };
        let keeper = Keeper::adopt(run_dir.keeper())?;
        let stop_grace = self.config.driver.stop_grace.get();
        Ok(Some(self.supervise(
            id,
            &run_dir,
            keeper,
            stop_grace,
            Vec::new(),
            site,
        )))
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
        let site = Some(self.site(spec)?);
        Ok(self.supervise(id, run_dir, Keeper::new(child)?, stop_grace, notices, site))
    }

    /// Watches a driver, which may take `stop_grace` to end when it is asked to. `notices` are lines for its session's log.
    fn supervise(
        &self,
        id: Uuid,
        run_dir: &RunDir,
        keeper: Keeper,
        stop_grace: Duration,
        notices: Vec<String>,
        site: Option<&Site>,
    ) -> (Driver, Events) {
        let site = site.filter(|_| run_dir.is_remote());
        let cluster = site.and_then(|site| site.cluster.clone());
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
            staging: site.and_then(|site| site.staging.clone()),
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
    /// the session's log has to say, or where its cluster is not configured.
    #[must_use]
    pub fn conf(&self, spec: &DriverSpec) -> Option<BTreeMap<String, String>> {
        let site = self.site(spec).ok()?;
        let mut conf = submit::conf(&site.config, spec, &site.defaults, Path::new(""));
        let lowered = collect::bound(&mut conf, self.config.driver.max_result_percent.into());
        lowered.is_empty().then_some(conf)
    }

    /// Where Spark's history server shows an application that was started so, once it has ended. None without such a server or an event log.
    /// Reads a file where the driver has a configuration directory of its own.
    #[must_use]
    pub fn history_url(&self, spec: &DriverSpec, application: &str) -> Option<String> {
        let site = self.site(spec).ok()?;
        let server = &site.config.spark.history_server;
        let is_plain = |id: &str| {
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if server.is_empty() || application.is_empty() || !is_plain(application) {
            return None;
        }
        let other = spec.conf_dirs.as_ref().and_then(|dirs| dirs.spark.as_deref());
        let other = other.and_then(|dir| files::defaults_of(&site.spark, dir).ok());
        let defaults = other.as_ref().unwrap_or(&site.defaults);
        let conf = submit::conf(&site.config, spec, defaults, Path::new(""));
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
        Staging::of(run_dir)
    }

    /// Has the staging directory of an application removed that has not ended by itself, or that is `known` by the id and the user that YARN has told
    /// and is lost. `cluster` is where it ran; none: the default one. Does not wait.
    pub fn clear_staging(
        &self,
        cluster: Option<&str>,
        staging: Option<Staging>,
        application: Option<&cluster::Application>,
        known: Option<(&str, &str)>,
    ) {
        if let Some(remover) = self.site_named(cluster).and_then(|site| site.staging.as_ref()) {
            remover.clear(staging, application, known);
        }
    }

    /// Waits until all staging directories are removed that are to be. Cancel safe.
    pub async fn staging_removed(&self) {
        for site in std::iter::once(&self.site).chain(self.sites.values()) {
            if let Some(remover) = &site.staging {
                remover.done().await;
            }
        }
    }

    /// Where a driver's application runs, if somebody can be asked about it.
    #[must_use]
    pub fn cluster(&self, spec: &DriverSpec) -> Option<&Cluster> {
        self.site(spec).ok()?.cluster.as_ref()
    }

    /// Whether a driver runs in its cluster, and not on this host; none where the cluster is not configured.
    #[must_use]
    pub fn runs_in_cluster(&self, spec: &DriverSpec) -> Option<bool> {
        let site = self.site(spec).ok()?;
        Some(site.config.spark.runs_in_cluster())
    }

    /// The clusters in which drivers run.
    pub fn clusters_of_drivers(&self) -> impl Iterator<Item = &Cluster> {
        let all = std::iter::once(&self.site).chain(self.sites.values());
        all.filter_map(Site::cluster_of_drivers)
    }

    /// Ends a driver of an earlier server that nobody needs any more, and clears its directory; its log stays unless it was `deleted`. False where it
    /// does not end, or can't be: it runs in a cluster that is not configured any more.
    pub async fn end_leftover(&self, id: Uuid, deleted: bool, place: &DriverPlace) -> bool {
        let run_dir = self.run_dir(id);
        let staging = self.staging(&run_dir);
        // Its submit first: none can be sent after that.
        let cleared = end_leftover(&run_dir, deleted, &self.background).await;
        let name = place.cluster.as_deref();
        match self.site_named(name).map(Site::cluster_of_drivers) {
            Some(Some(_)) if !cleared => false,
            Some(Some(cluster)) => {
                let ended = cluster.end(id, self.background.stopping()).await;
                if let Some(application) = &ended {
                    self.clear_staging(name, staging, application.as_deref(), None);
                }
                ended.is_some()
            }
            Some(None) => cleared,
            None if place.is_remote => {
                warn!(driver = %id, cluster = name, "an application is not ended: its cluster is not configured any more");
                false
            }
            None => cleared,
        }
    }

    /// The same of a driver of which only its directory is known.
    pub async fn end_unknown(&self, id: Uuid) {
        end_leftover(&self.run_dir(id), true, &self.background).await;
        let stopping = self.background.stopping();
        join_all(
            self.clusters_of_drivers()
                .map(|cluster| cluster.end(id, stopping)),
        )
        .await;
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
