//! The server's life: parts put together from the bottom up, requests served, parts taken down from the top.
//!
//! Called by `main`; calls everything.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use actix_web::App as ActixApp;
use actix_web::dev::ServerHandle;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::web::{self, Data};
use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utoipa_actix_web::AppExt as _;

use crate::api::{self, App, RouteTable};
use crate::audit::Audit;
use crate::authentication::Authentication;
use crate::background::Background;
use crate::batch::Batches;
use crate::clock::now_ms;
use crate::cluster::Cluster;
use crate::config::{AtShutdown, Clusters, Config, Listen};
use crate::counters::Cap;
use crate::driver::{Drivers, LaunchTicket, Place, Spark, driver_of, prepare_run_as};
use crate::gpu::{self, Gpus};
use crate::output::Outputs;
use crate::pool::Pool;
use crate::quota::{Changes, Quotas};
use crate::service::{self, Bounds, Connections, Doors, Listening, StateDir, Tls, Traffic, Workers, notify};
use crate::session::{SessionState, Sessions};
use crate::starts::Starts;
use crate::store::{Op, Store, StoreError};
use crate::traces;
use crate::turn::Scarce;
use crate::upload::{InUse, Uploads};

/// How long background work may take once the last request is done.
const BACKGROUND_GRACE: Duration = Duration::from_secs(5);
/// Of a Spark whose jars do not tell it.
const UNKNOWN_VERSION: &str = "unknown";
/// How long systemd lets one step of the start take: a large store's migration, the return of thousands of drivers.
const START_STEP: Duration = Duration::from_secs(300);

/// Serves until SIGTERM or SIGINT; a second one ends it at once. `handed_in` is what [`service::handed_in`] gave.
///
/// # Errors
/// Something that the server needs is not there; the error says what, and nothing is left running.
pub async fn serve(mut config: Config, handed_in: Vec<OwnedFd>) -> Result<()> {
    crate::sys::return_large_memory();
    crate::metrics::begin();
    let umask = service::keep_files_private();
    let mut signals = Signals::listen()?;
    let lock = StateDir::take(&config.server.state_dir)?;
    let listening = service::listen(&config, handed_in)?;
    // A `Host` may name the real address.
    config.server.listen = Listen(listening.address);
    let background = Background::new();
    let mut server = tokio::select! {
        server = Server::start(Arc::new(config), listening, &lock, umask, &background) => server?,
        // As good as killed: what is stored is as the next server expects it.
        () = signals.asked() => return Ok(()),
    };
    tokio::select! {
        ended = &mut server.serving => ended.context("the HTTP server ended")??,
        () = signals.asked() => {}
    }
    info!("stopping");
    tokio::select! {
        () = server.stop(&background) => info!("stopped"),
        () = signals.asked() => {
            warn!("asked to stop a second time: ending at once");
            std::process::exit(1);
        }
    }
    Ok(())
}

/// A server that answers requests.
struct Server {
    config: Arc<Config>,
    sessions: Sessions,
    batches: Batches,
    workers: Workers,
    traffic: Traffic,
    handle: ServerHandle,
    /// The listening sockets, which `serving` owns.
    listeners: Vec<RawFd>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(
        config: Arc<Config>,
        listening: Listening,
        lock: &StateDir,
        umask: u32,
        background: &Background,
    ) -> Result<Self> {
        let state_dir = config.server.state_dir.clone();
        if let Some(notice) = prepare_run_as(&config).map_err(anyhow::Error::msg)? {
            warn!("{notice}");
        }
        if let Some(notice) = service::notice(&config) {
            warn!("{notice}");
        }
        let tls = Tls::open(&config.server.tls, background)?;
        let address = listening.address;
        if listening.is_handed_in {
            info!("listening on {address}, a socket that was handed in: server.listen is not used");
        }
        let clusters = Clusters::of(Arc::clone(&config));
        let sparks = find_sparks(&clusters)?;
        let spark_version = sparks.first().and_then(|spark| spark.version.as_deref());
        let spark_version = spark_version.unwrap_or(UNKNOWN_VERSION).to_owned();
        begin_traces(&config, background)?;
        let audit = Audit::open(&config.audit, background)
            .with_context(|| format!("can't write audit.file = {}", config.audit.file.display()))?;

        notify::starting("opening the store", START_STEP);
        let store = Store::open(&state_dir.join("firesteel.db"), &config.store, background).await?;
        let authentication = Authentication::open(&config.access, &store, background).await?;
        if config.hadoop.has_keytab() {
            notify::starting("getting a Kerberos ticket", START_STEP);
        }
        let ticket = LaunchTicket::obtain(&config.hadoop, &state_dir, background).await;
        let drivers = open_drivers(&clusters, sparks, store.epoch(), umask, ticket, background)?;
        notify::starting("taking sessions back", START_STEP);
        let outputs =
            Outputs::open(&config, background.clone()).context("can't use the state directory's outputs")?;
        let gpus = find_gpus(&config, background).await?;
        let taken_back = take_back(&clusters, &store, drivers, outputs, gpus, background).await;
        let (sessions, batches) = match taken_back {
            Err(error) => return Err(store.explain(error).await.into()),
            Ok(taken_back) => taken_back,
        };
        let uploads = uploads(&config, background, &sessions, &batches)
            .context("can't use the state directory's uploads")?;
        let taken_back = sessions
            .all()
            .iter()
            .filter(|session| session.snapshot().state != SessionState::Dead)
            .count();

        let app = App::new(
            clusters,
            sessions.clone(),
            batches.clone(),
            uploads,
            background.clone(),
            authentication,
            audit,
        );
        let workers = Workers::default();
        let traffic = traffic(&config, background);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let Listening {
            listener: tcp, unix, ..
        } = listening;
        let mut listeners = vec![tcp.as_raw_fd()];
        listeners.extend(unix.as_ref().map(|unix| unix.as_raw_fd()));
        let doors = Doors { tcp, tls, unix };
        let server = http_server(&config, Data::new(app), doors, &workers, &traffic)?;
        let handle = server.handle();
        let mut serving = background.spawn(server);
        tokio::select! {
            ended = &mut serving => ended.context("the HTTP server ended")??,
            () = workers.ready(config.server.workers) => {}
        }
        let url = format!("{scheme}://{address}");
        lock.announce(&url)
            .context("can't write the state directory's lock file")?;
        announce(&format!("firesteel listening on {url}"))?;
        notify::ready(&format!(
            "listening on {address}; sessions taken back: {taken_back}; Spark {spark_version}"
        ));
        watch(background, &workers, sessions.store().clone());
        Ok(Self {
            config,
            sessions,
            batches,
            workers,
            traffic,
            handle,
            listeners,
            serving,
        })
    }

    /// Answers what has been asked, then takes everything down.
    async fn stop(self, background: &Background) {
        let config = &self.config;
        let grace = config.server.shutdown_grace.get();
        let drivers = match config.shutdown.sessions {
            AtShutdown::Keep => Duration::ZERO,
            AtShutdown::End => {
                config.driver.stop_grace.get() + config.driver.kill_grace.get() + BACKGROUND_GRACE
            }
        };
        notify::stopping(grace + drivers + config.driver.kill_grace.get() + 3 * BACKGROUND_GRACE);
        background.draining().cancel();
        service::drain(&self.handle, &self.listeners, &self.workers, &self.traffic, grace).await;
        // Dropping it ends its workers.
        self.serving.abort();
        tell_counts();
        let warm = config.driver.kill_grace.get() + BACKGROUND_GRACE;
        self.sessions.pool().close(warm).await;
        let _ = self.serving.await;
        if config.shutdown.sessions == AtShutdown::End {
            let ending = tokio::join!(self.sessions.end_all(drivers), self.batches.end_all(drivers));
            if ending != (true, true) {
                warn!("not every driver has ended");
            }
        }
        // The last to hold the store: its writer ends once nobody can write.
        drop((self.sessions, self.batches));
        if !background.shut_down(BACKGROUND_GRACE).await {
            warn!("not all work has ended in time");
        }
    }
}

fn begin_traces(config: &Config, background: &Background) -> Result<(), traces::NotSent> {
    let keys = &config.traces;
    let settings = traces::Settings {
        endpoint: keys.url(),
        sample: keys.sample,
        queue: keys.queue,
        interval: keys.interval.get(),
        timeout: keys.timeout.get(),
    };
    traces::begin(&settings, background)
}

/// The Spark of each cluster, in their order.
fn find_sparks(clusters: &Clusters) -> Result<Vec<Spark>> {
    let spark_home = std::env::var("SPARK_HOME").ok();
    let find = |(cluster, config): (Option<&str>, &Arc<Config>)| {
        let spark = match cluster {
            None => Spark::find(config, spark_home.as_deref())?,
            Some(name) => Spark::of_cluster(config, name, spark_home.as_deref())
                .with_context(|| format!("clusters.{name}"))?,
        };
        info!(
            cluster,
            spark.home = %spark.home.display(),
            spark.version = spark.version.as_deref().unwrap_or(UNKNOWN_VERSION),
            spark.python = spark.python,
            "Spark was chosen by {}",
            spark.chosen_by
        );
        Ok(spark)
    };
    clusters.all().map(find).collect()
}

/// What starts drivers in each cluster, with its Spark.
fn open_drivers(
    clusters: &Clusters,
    sparks: Vec<Spark>,
    epoch: i64,
    umask: u32,
    ticket: Option<LaunchTicket>,
    background: &Background,
) -> Result<Drivers> {
    let state_dir = &clusters.whole().server.state_dir;
    let place = |name: Option<&str>, config: &Arc<Config>, spark| -> Result<Place> {
        let cluster = Cluster::open(name, config, state_dir, background);
        Ok(Place {
            config: Arc::clone(config),
            spark,
            cluster: match name {
                None => cluster?,
                Some(name) => cluster.with_context(|| format!("clusters.{name}"))?,
            },
        })
    };
    let mut sparks = sparks.into_iter();
    let spark = sparks.next().context("there is no Spark")?;
    let default = place(None, clusters.whole(), spark)?;
    let mut drivers = Drivers::open(default, state_dir, epoch, umask, ticket, background)
        .context("can't set up the state directory for drivers")?;
    for ((name, config), spark) in clusters.named().zip(sparks) {
        let added = drivers.add_cluster(name, place(Some(name), config, spark)?, state_dir);
        added.with_context(|| format!("clusters.{name}"))?;
    }
    Ok(drivers)
}

/// The GPUs, which are looked at from now on.
async fn find_gpus(config: &Config, background: &Background) -> Result<Gpus> {
    let gpus = Gpus::of(&config.gpu);
    if let Some(probe) = gpu::probe(&config.gpu).map_err(anyhow::Error::msg)? {
        gpu::watch(probe, &config.gpu, gpus.clone(), driver_of, background).await;
    }
    Ok(gpus)
}

/// Sessions and batches, as an earlier server left them.
async fn take_back(
    clusters: &Clusters,
    store: &Store,
    drivers: Drivers,
    outputs: Outputs,
    gpus: Gpus,
    background: &Background,
) -> Result<(Sessions, Batches), StoreError> {
    let config = clusters.whole();
    let drivers = Arc::new(drivers);
    let for_archive = Arc::clone(&drivers);
    for row in store.leases().await? {
        let who = match (row.session_id, row.batch_id) {
            (Some(id), _) => format!("session {id}"),
            (None, Some(id)) => format!("batch {id}"),
            (None, None) => "a warm driver".to_owned(),
        };
        match (row.id.parse(), serde_json::from_str(&row.gpus)) {
            (Ok(driver), Ok(parts)) => {
                let held = u64::try_from(now_ms() - row.created).unwrap_or(0);
                gpus.adopt(driver, row.owner, who, parts, Duration::from_millis(held));
            }
            _ => warn!("what {who} holds of the GPUs can't be read"),
        }
    }
    let starts = Starts::new(config, background);
    let pool = Pool::new(clusters, &drivers, &gpus, &starts, store, background);
    let quotas = Quotas::new(&config.quota, changed_quotas(store).await?);
    let scarce = Scarce { gpus, quotas, starts };
    let (recovering, recovered) = mpsc::channel(1);
    let batches = Batches::open(
        Arc::clone(config),
        store.clone(),
        Arc::clone(&drivers),
        background.clone(),
        &scarce,
    )
    .await?;
    batches.take_back(recovering.clone()).await?;
    let sessions = Sessions::open(
        Arc::clone(config),
        store.clone(),
        Arc::clone(&drivers),
        background.clone(),
        outputs,
        &scarce,
        pool,
    )
    .await?;
    sessions.take_back(recovering).await?;
    let in_clusters: Vec<Cluster> = drivers.clusters_of_drivers().cloned().collect();
    background.spawn(end_strays(in_clusters, recovered, background.stopping().clone()));
    scarce.gpus.open();
    background.spawn(async move { for_archive.keep_class_archives().await });
    Ok((sessions, batches))
}

/// Ends what an earlier server left in clusters and nobody has: once all that hold the other end of `recovered` are done.
async fn end_strays(
    clusters: Vec<Cluster>,
    mut recovered: mpsc::Receiver<Infallible>,
    stopping: CancellationToken,
) {
    tokio::select! {
        // Nobody can send.
        _ = recovered.recv() => {}
        () = stopping.cancelled() => return,
    }
    // One that does not answer keeps no other waiting.
    join_all(clusters.iter().map(|cluster| cluster.end_strays(&stopping))).await;
}

/// What administrators have changed of users' limits.
async fn changed_quotas(store: &Store) -> Result<BTreeMap<String, Changes>, StoreError> {
    let rows = store.quotas().await?.into_iter();
    let changes = rows.filter_map(|(user, changes)| {
        let read = serde_json::from_str(&changes);
        read.inspect_err(
            |error| warn!(user, %error, "a user's changed limits can't be read: the configuration's hold"),
        )
        .ok()
        .map(|changes| (user, changes))
    });
    Ok(changes.collect())
}

/// The uploads, which stay while a session or batch that lives refers to them.
fn uploads(
    config: &Arc<Config>,
    background: &Background,
    sessions: &Sessions,
    batches: &Batches,
) -> std::io::Result<Uploads> {
    let (sessions, batches) = (sessions.clone(), batches.clone());
    let quotas = sessions.quotas().clone();
    Uploads::open(Arc::clone(config), background.clone(), quotas, move || {
        let mut in_use = InUse::default();
        sessions.each_live(|session| {
            in_use.sessions.insert(session.id);
            in_use.uploads.extend(session.uploads.iter());
        });
        batches.each_live(|batch| in_use.uploads.extend(batch.uploads.iter()));
        in_use
    })
}

fn watch(background: &Background, workers: &Workers, store: Store) {
    service::watch(background, workers.clone(), move || {
        let store = store.clone();
        async move {
            // A write that changes nothing: no driver has this id. An error is an answer, and is logged where it matters.
            let nothing = Op::EndDriver {
                id: String::new(),
                at: 0,
            };
            let _ = store.write(nothing).await;
        }
    });
}

/// The connections of clients, which are watched from now on.
fn traffic(config: &Config, background: &Background) -> Traffic {
    let server = &config.server;
    let bounds = Bounds {
        all: server.connections,
        per_address: server.connections_per_address,
        idle: server.keep_alive.get() + server.header_timeout.get(),
    };
    let connections = Connections::new(bounds.within_descriptors());
    connections.watch(background);
    let patience = server.write_timeout.get().max(config.result.stall_timeout.get());
    Traffic::new(background.draining().clone(), connections, patience)
}

fn http_server(
    config: &Arc<Config>,
    app: Data<App>,
    doors: Doors,
    workers: &Workers,
    traffic: &Traffic,
) -> Result<actix_web::dev::Server> {
    let base_path = config.server.base_path.clone();
    let table = Data::new(RouteTable::new(&base_path));
    let counted = traffic.clone();
    let factory = move || {
        let traffic = counted.clone();
        ActixApp::new()
            .into_utoipa_app()
            .app_data(app.clone())
            .app_data(table.clone())
            .app_data(api::queries())
            .app_data(api::paths())
            .map(|app| {
                app.wrap(from_fn(api::pass))
                    .wrap(NormalizePath::trim())
                    .wrap(from_fn(move |request, next| traffic.clone().pass(request, next)))
            })
            .service(utoipa_actix_web::scope(base_path.as_str()).configure(api::routes))
            .default_service(web::to(api::not_routed))
            .into_app()
    };
    service::serve(&config.server, doors, factory, workers, traffic)
        .context("can't serve the listening socket")
}

/// How often results met their limits.
fn tell_counts() {
    info!(
        text = Cap::Text.counted(),
        structured = Cap::Structured.counted(),
        rows = Cap::Rows.counted(),
        outbox = Cap::Outbox.counted(),
        "results cut since the start"
    );
}

/// The one line on standard output: scripts and tests wait for it.
fn announce(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// SIGTERM and SIGINT, which ask for the end, and SIGHUP, which asks for nothing here: its default is the end. SIGPIPE is ignored
/// by Rust's runtime.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next request to end. Cancel safe.
    async fn asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => info!("SIGHUP was ignored: the configuration is read at start only"),
            }
        }
    }
}
