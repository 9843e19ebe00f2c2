//! The REST API: JSON, status codes and headers, and nothing of processes.
//!
//! One file for each of Livy's resources; `wire` has the exact JSON, `error` the exact error bodies, `guard` the permissions,
//! `gate` what every request passes. Called by `serve`; calls `access`, `policy`, `session`, `batch`, `upload`, `tabular`, `web`, and `store` for history.

mod accepted;
mod answered;
mod batches;
mod error;
mod events;
mod followed_log;
mod gate;
mod gpus;
mod guard;
mod history;
mod jobs;
mod json;
mod multipart;
mod named_uploads;
mod openapi;
mod pages;
mod pool;
mod results;
mod service;
mod session_files;
mod sessions;
mod statement_body;
mod statement_text;
mod statements;
mod tagged;
mod ui;
mod uploads;
mod wire;

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Data;
use tokio::sync::Semaphore;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::authentication::Authentication;
use crate::background::Background;
use crate::batch::Batches;
use crate::config::Config;
use crate::session::Sessions;
use crate::upload::Uploads;

pub use gate::pass;
pub use openapi::{RouteTable, document, not_routed};

/// What handlers work with.
#[derive(Debug)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// The sessions.
    pub sessions: Sessions,
    /// The batches.
    pub batches: Batches,
    /// The uploads.
    pub uploads: Uploads,
    /// For work that must not block a worker.
    pub background: Background,
    /// Who calls.
    pub authentication: Authentication,
    /// Places of clients that follow events or logs.
    followers: Arc<Semaphore>,
}

impl App {
    /// The parts put together.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        sessions: Sessions,
        batches: Batches,
        uploads: Uploads,
        background: Background,
        authentication: Authentication,
    ) -> Self {
        Self {
            followers: Arc::new(Semaphore::new(config.events.clients)),
            config,
            sessions,
            batches,
            uploads,
            background,
            authentication,
        }
    }
}

/// Every route. The OpenAPI document is made from the same list, so neither can be without the other.
pub fn routes(config: &mut ServiceConfig<'_>) {
    // They are tried in this order: what is polled comes first.
    config
        .service(statements::show)
        .service(sessions::state)
        .service(sessions::show)
        .service(sessions::list)
        .service(sessions::create)
        .service(sessions::log)
        .service(events::follow)
        .service(sessions::connect)
        .service(sessions::interrupt)
        .service(session_files::upload_jar)
        .service(session_files::upload_py_file)
        .service(session_files::upload_file)
        .service(session_files::add_jar)
        .service(session_files::add_py_file)
        .service(session_files::add_file)
        .service(statements::complete)
        .service(statements::list)
        .service(statements::run)
        .service(statements::cancel)
        .service(statement_text::show_text)
        .service(results::fetch)
        .service(jobs::submit)
        .service(jobs::run)
        .service(jobs::cancel)
        .service(jobs::show)
        .service(sessions::delete)
        .service(batches::list)
        .service(batches::create)
        .service(batches::state)
        .service(batches::log)
        .service(batches::show)
        .service(batches::delete)
        .service(uploads::list)
        .service(uploads::create)
        .service(uploads::show)
        .service(uploads::delete)
        .service(history::list)
        .service(history::log)
        .service(history::statement)
        .service(history::statements)
        .service(history::show)
        .service(gpus::list)
        .service(pool::show)
        .service(service::ping)
        .service(service::healthcheck)
        .service(service::readiness)
        .service(service::metrics_ping)
        .service(service::metrics_healthcheck)
        .service(service::version)
        .service(openapi::serve)
        .service(ui::root)
        .service(ui::page);
}

/// A path of this server as the client must ask for it: below the base path, and below a proxy's prefix where that is believed.
fn link_to(request: &HttpRequest, path: &str) -> String {
    let Some(app) = request.app_data::<Data<App>>() else {
        return path.to_owned();
    };
    let server = &app.config.server;
    let forwarded = request
        .headers()
        .get("x-forwarded-prefix")
        .and_then(|prefix| prefix.to_str().ok());
    // A prefix that is no plain path can't lead a client elsewhere.
    let prefix = forwarded
        .filter(|_| server.forwarded)
        .map(|prefix| prefix.trim_end_matches('/'))
        .filter(|prefix| prefix.starts_with('/') && !prefix.starts_with("//") && !prefix.contains("\\"))
        .unwrap_or("");
    format!("{prefix}{}{path}", server.base_path)
}
