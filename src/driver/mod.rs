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
mod follow;
mod in_cluster;
pub mod keeper;
mod keeper_watch;
mod launch_ticket;
mod leftovers;
mod link;
pub mod log;
mod mark;
mod process;
mod run_as;
mod run_dir;
mod secure;
mod spark;
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

use serde_json::json;
use tokio::process::Command as Process;
use tokio::sync::{mpsc, oneshot};
use tracing::info;
use uuid::Uuid;

use crate::background::Background;
use crate::cluster::Cluster;
use crate::config::{Config, DeployMode, RunAsMode};
use cgroup::Places;
use class_archive::ClassArchive;
use keeper_watch::Keeper;
use link::{Frame, FrameCodec, LinkKey, Listener, Secret, Slot, Tickets};
use supervise::{Command, LinkState, QUESTIONS_WAITING, Question, Supervisor};
use user_ticket::UserTicket;

pub use crate::cluster::Recovering;
pub use claim::{Claim, Claimed};
pub use collect::memory_bytes;
pub use diagnosis::{diagnose, diagnose_application, exception_in};
pub use event::{Cut, DriverEvent, StatementResult};
pub use follow::{LogFollower, LogNow};
pub use launch_ticket::{LaunchTicket, check_tickets};
pub use leftovers::clear;
use leftovers::end_leftover;
pub use link::{ResultPiece, ResultStream};
pub use mark::DriverMark;
pub use process::{ProcessName, driver_of};
pub use run_as::{Identity, NoUser, possible as possible_run_as, prepare as prepare_run_as};
pub use run_dir::{Exit, Limits, RunDir};
pub use spark::{NoSpark, Spark};
pub use submit::{Ahead, Application, ConfDirs, DriverSpec, Resources, spark_defaults};

/// Events that may wait for the session; more wait in the link.
const EVENTS_WAITING: usize = 64;
/// Commands that may wait for the driver's task.
const COMMANDS_WAITING: usize = 256;
/// Connections that may wait for the driver's task.
const CALLS_WAITING: usize = 4;
/// How long a completion may take before it is answered with nothing: the agent answers in 2 s, for Scala in 8.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the agent may take to open the connection of a result: it does so before it looks for the result.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A driver's news, each with its frame's number.
pub type Events = mpsc::Receiver<(u64, DriverEvent)>;

/// What drivers have on this host beside their directories.
#[derive(Debug)]
struct Host {
    /// Where uploads are, as their files are named.
    uploads: [PathBuf; 2],
    cgroups: Places,
}

/// Starts drivers and takes their calls.
#[derive(Debug)]
pub struct Drivers {
    config: Arc<Config>,
    spark: Spark,
    class_archive: Option<Arc<ClassArchive>>,
    ticket: Option<LaunchTicket>,
    defaults: BTreeMap<String, String>,
    run_root: PathBuf,
    host: Arc<Host>,
    /// The umask that the server was started with.
    umask: u32,
    agent_main: PathBuf,
    key: LinkKey,
    listener: Listener,
    /// Where applications run, if somebody can be asked about them.
    cluster: Option<Cluster>,
    epoch: i64,
    background: Background,
}

impl Drivers {
    /// Opens the link's socket and unpacks the agent under `state_dir`. `umask` is the one that the server was started with; `ticket` the one that drivers
    /// get, `cluster` where their applications run.
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
        cluster: Option<Cluster>,
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
        let agent_main = agent::unpack(&agents)?;
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
        Ok(Self {
            defaults: spark_defaults(&spark, conf_dir.as_deref())?,
            agent_main,
            host: Arc::new(Host {
                uploads: [uploads, real_uploads],
                cgroups,
            }),
            umask,
            ticket,
            key: LinkKey::open(state_dir)?,
            listener: Listener::bind(
                state_dir,
                config.link.max_frame.len(),
                config.link.hello_timeout.get(),
                epoch,
                background,
            )?,
            cluster,
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
        if !was_ready && run_dir.withdraw_launch() {
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
        let (calls, calls_waiting) = mpsc::channel(CALLS_WAITING);
        let tickets = Arc::<Tickets>::default();
        let slot = Arc::new(Slot {
            secret: self.key.secret(id),
            uid: run_dir.uid(),
            keeper_pid: keeper.pid,
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

    /// Writes what the driver is started with; lines for its session's log.
    fn write_files(
        &self,
        id: Uuid,
        run_dir: &RunDir,
        spec: &DriverSpec,
        secret: &Secret,
    ) -> io::Result<Vec<String>> {
        let config = &self.config;
        let identity = match spec.makes_class_archive {
            true => None,
            false => run_as::identity(&config.run_as, spec.user.as_deref()).map_err(io::Error::other)?,
        };
        let user_ticket = identity
            .as_ref()
            .and_then(|identity| UserTicket::of(config, identity, run_dir));
        let launch_ticket = self
            .ticket
            .as_ref()
            .filter(|_| identity.is_none() && !spec.makes_class_archive);
        let ticket = match launch_ticket.map(LaunchTicket::cache) {
            Some(cache) => Some(cache.map_err(io::Error::other)?),
            None => user_ticket.as_ref().map(UserTicket::cache),
        };
        let other = spec.conf_dirs.as_ref().and_then(|dirs| dirs.spark.as_deref());
        let other = other.map(|dir| defaults_of(&self.spark, dir)).transpose()?;
        let defaults = other.as_ref().unwrap_or(&self.defaults);
        let mut conf = submit::conf(config, spec, defaults, &run_dir.work());
        in_cluster::conf(
            &mut conf,
            config,
            id,
            self.cluster.as_ref().map(Cluster::group_tag),
        );
        let python = submit::python(&conf, &self.spark).to_owned();
        let mut notices = Vec::new();
        if spec.application.is_none() {
            notices = collect::bound(&mut conf, config.driver.max_result_percent.into());
            submit::own_python(&mut conf, config, &self.spark);
            self.write_agent(id, run_dir, spec, secret, &python)?;
        }
        direct_output::install(run_dir, spec, &mut conf, config, &self.spark)?;
        if let Some(resources) = spec.gpus.as_ref().and_then(|mask| mask.resources.as_ref()) {
            run_dir.write_own("resources.json", resources.as_bytes())?;
            let path = run_dir.own().join("resources.json").display().to_string();
            conf.insert("spark.driver.resourcesFile".to_owned(), path);
        }
        run_dir.write_own("spark.properties", submit::properties(&conf).as_bytes())?;
        if let Some(identity) = &identity {
            self.hand_over(spec, &conf, identity)?;
            run_dir.give(identity.uid, identity.gid)?;
        }
        // Another directory on the class path is none that it was made with.
        let archive = self.class_archive.as_ref().filter(|_| spec.conf_dirs.is_none());
        let class_archive = archive.and_then(|archive| {
            if spec.makes_class_archive {
                Some(archive.to_make())
            } else {
                archive.to_use()
            }
        });
        let launch = run_dir::Launch {
            argv: submit::argv(
                &self.spark,
                spec,
                &run_dir.own().join("spark.properties"),
                &self.agent_main,
                &run_dir.own(),
                submit::hadoop_user(config, spec),
            ),
            environment: submit::environment(
                config,
                &self.spark,
                spec,
                id,
                &submit::Jvm {
                    work: &run_dir.work(),
                    conf: &conf,
                    class_archive: class_archive.as_ref(),
                    identity: identity.as_ref(),
                    ticket,
                },
                |name| std::env::var(name).ok(),
            ),
            directory: run_dir.work(),
            log_max_bytes: config.log.max_bytes.len() as u64,
            kill_grace_ms: u64::try_from(config.driver.kill_grace.get().as_millis()).unwrap_or(u64::MAX),
            nice: match spec.ahead.is_some() || spec.makes_class_archive {
                true => config.driver.background_nice,
                false => 0,
            },
            oom_score_adj: config.driver.oom_score_adj,
            umask: self.umask_of(spec, identity.as_ref()),
            identity,
            ticket: user_ticket.clone(),
            limits: limits(config),
            cgroups: self.host.cgroups.clone(),
        };
        run_dir.write("launch.json", &serde_json::to_vec(&launch)?)?;
        Ok(notices)
    }

    /// What a session's agent reads.
    fn write_agent(
        &self,
        id: Uuid,
        run_dir: &RunDir,
        spec: &DriverSpec,
        secret: &Secret,
        python: &str,
    ) -> io::Result<()> {
        let config = &self.config;
        run_dir.write_own("secret", secret.expose().as_bytes())?;
        let agent = json!({
            "driver": id,
            "socket": self.listener.path(),
            "secret_file": run_dir.own().join("secret"),
            "python": python,
            "kind": spec.kind,
            "output_max_bytes": config.output.max_bytes.len(),
            "rich": config.output.rich,
            "live_interval_ms": config.output.live_interval.get().as_millis(),
            "sql_max_rows": spec.sql_max_rows,
            "interrupt_again_ms": config.statement.interrupt_again.get().as_millis(),
            "cancel_grace_ms": config.statement.cancel_grace.get().as_millis(),
            "max_frame": config.link.max_frame.len(),
            "orphan_grace_ms": config.driver.orphan_grace.get().as_millis(),
            "keep_bytes": config.link.keep_bytes.len(),
            "outbox_bytes": config.link.outbox_bytes.len(),
            "result_kept": config.result.kept,
            "result_max_rows": config.result.max_rows,
            "result_max_bytes": config.result.max_bytes.bytes(),
            "warm": spec.ahead,
            "warm_up": config.driver.warm_up && !spec.makes_class_archive,
        });
        run_dir.write_own("agent.json", agent.to_string().as_bytes())
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

    /// Lets the driver's user read the uploads that its request names.
    fn hand_over(
        &self,
        spec: &DriverSpec,
        conf: &BTreeMap<String, String>,
        identity: &Identity,
    ) -> io::Result<()> {
        let application = spec
            .application
            .iter()
            .map(|application| application.file.as_str());
        let in_conf = conf.values().flat_map(|value| value.split([',', ' ']));
        for named in application.chain(in_conf) {
            for uploads in &self.host.uploads {
                run_as::hand_over(uploads, named, identity.uid, identity.gid)?;
            }
        }
        Ok(())
    }

    /// What a driver's files are closed to. The one that makes the class-data archive makes it, and the agent's compiled files, for all.
    fn umask_of(&self, spec: &DriverSpec, identity: Option<&Identity>) -> u32 {
        match (identity, self.config.run_as.mode) {
            (Some(_), _) => 0o077,
            (None, RunAsMode::Owner) if spec.makes_class_archive => 0o022,
            _ => self.umask,
        }
    }

    /// The whole Spark conf of a session's driver that is started so, but for its directory. None where it has more than the configuration allows, which
    /// the session's log has to say.
    #[must_use]
    pub fn conf(&self, spec: &DriverSpec) -> Option<BTreeMap<String, String>> {
        let mut conf = submit::conf(&self.config, spec, &self.defaults, Path::new(""));
        let lowered = collect::bound(&mut conf, self.config.driver.max_result_percent.into());
        lowered.is_empty().then_some(conf)
    }

    /// Takes a driver's call no longer, once it has ended.
    pub fn forget(&self, driver: &Driver) {
        self.listener.forget(driver.id);
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
        // Its submit first: none can be sent after that.
        let cleared = end_leftover(&self.run_dir(id), deleted, &self.background).await;
        match self.cluster_of_drivers() {
            Some(cluster) => cleared && cluster.end(id, self.background.stopping()).await,
            None => cleared,
        }
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

/// The `spark-defaults.conf` of a directory of `conf_dir`, which is to be there.
fn defaults_of(spark: &Spark, dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let read = match dir.is_dir() {
        true => spark_defaults(spark, dir.to_str()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    };
    read.map_err(|error| io::Error::other(format!("{} (conf_dir): {error}", dir.display())))
}

/// What each driver may use.
fn limits(config: &Config) -> Limits {
    let driver = &config.driver;
    Limits {
        memory_max: driver.memory_max.bytes(),
        cpu_percent: driver.cpu_percent,
        pids_max: driver.pids_max,
        disk_max: driver.disk_max.bytes(),
        interval_ms: u64::try_from(driver.watch_interval.get().as_millis()).unwrap_or(u64::MAX),
    }
}

/// What a file is added to a session as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// A jar: its classes are there for Scala, Python, SQL and R, and on executors.
    Jar,
    /// A Python module or an archive of such.
    PyFile,
    /// Any file, found through SparkFiles.
    File,
}

impl Addition {
    /// The link's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jar => "jar",
            Self::PyFile => "pyfile",
            Self::File => "file",
        }
    }
}

/// A driver that was started. Dropping it ends nothing.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Its own id, not its session's.
    pub id: Uuid,
    /// Its directory.
    pub run_dir: RunDir,
    host: Arc<Host>,
    commands: mpsc::Sender<Command>,
    questions: mpsc::Sender<Question>,
    tickets: Arc<Tickets>,
}

impl Driver {
    /// Runs a statement; its result comes as an event. One at a time.
    pub async fn run(&self, id: i64, kind: &str, code: Arc<str>) {
        self.command(Command::Run {
            id,
            kind: kind.to_owned(),
            code,
        })
        .await;
    }

    /// Cancels a statement, if it is the one that runs.
    pub async fn cancel(&self, id: i64) {
        self.command(Command::Cancel { id }).await;
    }

    /// Asks the driver to end, and sees to it that it does: SIGTERM after `driver.stop_grace`, SIGKILL after `driver.kill_grace`.
    pub async fn stop(&self) {
        self.command(Command::Stop).await;
    }

    /// As [`Driver::stop`], without the agent's part.
    pub async fn kill(&self) {
        self.command(Command::Kill).await;
    }

    /// Says that everything up to frame `seq` is stored; 0 says nothing.
    pub async fn stored(&self, seq: u64) {
        if seq > 0 {
            self.command(Command::Stored { seq }).await;
        }
    }

    /// Candidates that complete `code` at `cursor` (in characters); none in time, none at all.
    pub async fn complete(&self, kind: &str, code: String, cursor: i64) -> Vec<String> {
        let fields = json!({"kind": kind, "cursor": cursor});
        let asked = self.ask(Frame::new("complete", fields, code));
        let answered = tokio::time::timeout(COMPLETION_TIMEOUT, asked).await;
        let candidates = answered.ok().flatten();
        candidates.map_or_else(Vec::new, |frame| {
            serde_json::from_slice(&frame.body).unwrap_or_default()
        })
    }

    /// Adds a file to the SparkContext and to the interpreters. None: the driver has ended, or too many questions wait;
    /// else why it could not be added. The agent may take as long as Spark does.
    pub async fn add(&self, what: Addition, uri: &str) -> Option<Result<(), String>> {
        let uid = self.run_dir.uid();
        if uid != nix::unistd::geteuid().as_raw() {
            for uploads in &self.host.uploads {
                if let Err(error) = run_as::hand_over(uploads, uri, uid, self.run_dir.gid()) {
                    return Some(Err(error.to_string()));
                }
            }
        }
        let fields = json!({"what": what.as_str(), "uri": uri});
        let added = self.ask(Frame::new("add", fields, "")).await?;
        Some(added.text("error").map_or(Ok(()), |error| Err(error.to_owned())))
    }

    /// Sets variables in the agent's environment and in the Python interpreter's, for what they start and load from now on. False: the driver
    /// has ended, or too many questions wait.
    pub async fn set_environment(&self, variables: &BTreeMap<String, String>) -> bool {
        let fields = json!({"variables": variables});
        self.ask(Frame::new("environment", fields, "")).await.is_some()
    }

    /// The whole result of a SQL statement, or its first `limit` rows. None: the driver has ended, or does not answer.
    /// Cancel safe: nobody sends it then.
    pub async fn fetch(&self, id: i64, limit: Option<usize>) -> Option<ResultStream> {
        let mut ticket = self.tickets.issue().ok()?;
        let text = ticket.text.clone();
        self.command(Command::Fetch {
            id,
            ticket: text,
            limit,
        })
        .await;
        tokio::time::timeout(FETCH_TIMEOUT, ticket.used()).await.ok()?
    }

    /// Asks the agent something that is of use only now. None: there will be no answer.
    async fn ask(&self, frame: Frame) -> Option<Frame> {
        let (answer, answered) = oneshot::channel();
        // A full queue drops it, which answers it with nothing.
        let _ = self.questions.try_send(Question { frame, answer });
        answered.await.ok()
    }

    async fn command(&self, command: Command) {
        // Fails only once the driver has ended, which its last event tells.
        let _ = self.commands.send(command).await;
    }
}
