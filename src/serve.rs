//! The server's life: parts put together from the bottom up, requests served, parts taken down from the top.
//!
//! Called by `main`; calls everything.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App as ActixApp, HttpServer};
use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use utoipa_actix_web::AppExt as _;

use crate::access::BasicFile;
use crate::api::{self, App, RouteTable};
use crate::background::Background;
use crate::config::{AccessMode, AtShutdown, Config};
use crate::driver::{Drivers, Spark};
use crate::service::StateDir;
use crate::session::Sessions;
use crate::store::Store;

/// How long background work may take once the last request is done.
const BACKGROUND_GRACE: Duration = Duration::from_secs(5);
/// How long an idle connection is kept for its next request: longer than the pauses of the clients' polls.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Something that the server needs is not there; the error says what, and nothing is left running.
pub async fn serve(config: Config) -> Result<()> {
    let config = Arc::new(config);
    let state_dir = config.server.state_dir.clone();
    let lock = StateDir::take(&state_dir)?;
    let spark = Spark::find(&config, std::env::var("SPARK_HOME").ok().as_deref())?;
    info!(
        spark.home = %spark.home.display(),
        spark.version = spark.version.as_deref().unwrap_or("unknown"),
        spark.python = spark.python,
        "Spark was chosen by {}",
        spark.chosen_by
    );
    let users = match config.access.mode {
        AccessMode::None => None,
        AccessMode::Basic => Some(Arc::new(BasicFile::open(
            &config.access.basic_file,
            config.access.cache.get(),
        )?)),
    };
    let listener = std::net::TcpListener::bind(*config.server.listen)
        .with_context(|| format!("can't listen on {} (server.listen)", config.server.listen))?;
    let address = listener.local_addr()?;

    let background = Background::new();
    let store = Store::open(
        &state_dir.join("firesteel.db"),
        config.store.durability,
        &background,
    )
    .await?;
    let drivers = Drivers::open(Arc::clone(&config), spark, &state_dir, store.epoch(), &background)
        .context("can't set up the state directory for drivers")?;
    let sessions = Sessions::open(Arc::clone(&config), store, Arc::new(drivers), background.clone()).await?;
    let app = App::new(Arc::clone(&config), sessions.clone(), background.clone(), users);
    let server = http_server(&config, Data::new(app), listener)?;
    lock.announce(&format!("http://{address}"))
        .context("can't write the state directory's lock file")?;
    announce(&format!("firesteel listening on http://{address}"))?;

    let handle = server.handle();
    let mut serving = background.spawn(server);
    tokio::select! {
        ended = &mut serving => ended.context("the HTTP server ended")??,
        () = asked_to_stop() => {
            info!("stopping");
            handle.stop(true).await;
            serving.await.context("the HTTP server ended")??;
        }
    }
    if config.shutdown.sessions == AtShutdown::End {
        let grace = config.driver.stop_grace.get() + config.driver.kill_grace.get() + BACKGROUND_GRACE;
        if !sessions.end_all(grace).await {
            warn!("not every driver has ended");
        }
    }
    drop(sessions);
    if !background.shut_down(BACKGROUND_GRACE).await {
        warn!("not all work has ended in time");
    }
    info!("stopped");
    Ok(())
}

fn http_server(
    config: &Arc<Config>,
    app: Data<App>,
    listener: std::net::TcpListener,
) -> Result<actix_web::dev::Server> {
    let base_path = config.server.base_path.clone();
    let table = Data::new(RouteTable::new(&base_path));
    let factory = move || {
        ActixApp::new()
            .into_utoipa_app()
            .app_data(app.clone())
            .app_data(table.clone())
            .map(|app| app.wrap(from_fn(api::pass)).wrap(NormalizePath::trim()))
            .service(utoipa_actix_web::scope(base_path.as_str()).configure(api::routes))
            .default_service(web::to(api::not_routed))
            .into_app()
    };
    let server = HttpServer::new(factory)
        .workers(config.server.workers)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        .client_request_timeout(config.server.header_timeout.get())
        // A client that has left frees what its request held.
        .h1_allow_half_closed(false)
        .shutdown_timeout(config.server.shutdown_grace.get().as_secs())
        .disable_signals()
        .listen(listener)
        .context("can't serve the listening socket")?;
    Ok(server.run())
}

/// The one line on standard output: scripts and tests wait for it.
fn announce(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
