//! The REST API: JSON, status codes and headers, and nothing of processes.
//!
//! One file for each of Livy's resources; `wire` has the exact JSON, `error` the exact error bodies, `guard` the permissions, `caller` who calls,
//! `gate` what every request passes. Called by `serve`; calls `access`, `policy`, `session`, `batch`, `upload`, `tabular`, `web`, and `store` for history.

mod accepted;
mod answered;
mod audited;
mod batches;
mod caller;
mod common;
mod drain;
mod error;
mod events;
mod examples;
mod followed_log;
mod gate;
mod gpus;
mod guard;
mod headers;
mod history;
mod jobs;
mod json;
mod login;
mod metrics;
mod multipart;
mod named_uploads;
mod openapi;
mod pages;
mod pool;
mod quotas;
mod results;
mod service;
mod session_files;
mod sessions;
mod shares;
mod sign_on;
mod statement_body;
mod statement_html;
mod statement_text;
mod statements;
mod tagged;
mod tokens;
mod traced;
mod trail;
mod ui;
mod uploads;
mod wire;

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Data;
use tokio::sync::{Mutex, Semaphore};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::audit::Audit;
use crate::authentication::Authentication;
use crate::background::Background;
use crate::batch::Batches;
use crate::config::{Clusters, Config};
use crate::session::Sessions;
use crate::upload::Uploads;

pub use common::{paths, queries};
pub use gate::pass;
pub use openapi::{RouteTable, document, not_routed};

/// What handlers work with.
#[derive(Debug)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// The clusters, with what holds for the drivers of each.
    pub clusters: Clusters,
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
    /// What is told of each request afterwards.
    pub audit: Audit,
    /// Whether sessions and batches are taken.
    drain: drain::Drain,
    /// Places of clients that follow events or logs.
    followers: Arc<Semaphore>,
    /// One change of quotas at a time, so that what is stored is what holds.
    quota_changes: Mutex<()>,
}

impl App {
    /// The parts put together.
    #[must_use]
    pub fn new(
        clusters: Clusters,
        sessions: Sessions,
        batches: Batches,
        uploads: Uploads,
        background: Background,
        authentication: Authentication,
        audit: Audit,
    ) -> Self {
        let config = Arc::clone(clusters.whole());
        Self {
            followers: Arc::new(Semaphore::new(config.events.clients)),
            drain: drain::Drain::default(),
            quota_changes: Mutex::default(),
            config,
            clusters,
            sessions,
            batches,
            uploads,
            background,
            authentication,
            audit,
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
        .service(statement_html::show)
        .service(results::fetch)
        .service(jobs::submit)
        .service(jobs::run)
        .service(jobs::cancel)
        .service(jobs::show)
        .service(sessions::delete)
        .service(shares::session_shares)
        .service(shares::share_session)
        .service(shares::unshare_session)
        .service(shares::hand_over_session)
        .service(batches::list)
        .service(batches::create)
        .service(batches::state)
        .service(batches::log)
        .service(batches::show)
        .service(batches::delete)
        .service(shares::batch_shares)
        .service(shares::share_batch)
        .service(shares::unshare_batch)
        .service(shares::hand_over_batch)
        .service(uploads::list)
        .service(uploads::create)
        .service(uploads::show)
        .service(uploads::delete)
        .service(history::list)
        .service(history::log)
        .service(history::statement)
        .service(statement_html::show_ended)
        .service(history::statements)
        .service(history::show)
        .service(tokens::list)
        .service(tokens::create)
        .service(tokens::delete)
        .service(gpus::list)
        .service(pool::show)
        .service(quotas::list)
        .service(quotas::change)
        .service(audited::list)
        .service(drain::show)
        .service(drain::change)
        .service(service::ping)
        .service(service::healthcheck)
        .service(service::readiness)
        .service(metrics::show)
        .service(service::metrics_ping)
        .service(service::metrics_healthcheck)
        .service(service::version)
        .service(openapi::serve)
        .service(login::page)
        .service(login::log_in)
        .service(login::log_out)
        .service(sign_on::begin)
        .service(sign_on::finish)
        .service(ui::root)
        .service(ui::page)
        .service(ui::file);
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
    // One that is no plain path could lead a client elsewhere: browsers take `/\t/x` for `//x`.
    let prefix = forwarded
        .filter(|_| server.forwarded)
        .map(|prefix| prefix.trim_end_matches('/'))
        .filter(|prefix| is_plain_path(prefix))
        .unwrap_or("");
    format!("{prefix}{}{path}", server.base_path)
}

/// Whether it is `/` and a plain word, as often as there are words.
fn is_plain_path(path: &str) -> bool {
    let word = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
        !word.is_empty() && word != "." && word != ".." && word.chars().all(plain)
    };
    path.strip_prefix('/')
        .is_some_and(|words| words.split('/').all(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A prefix that is believed leads to this host, and below one path of it.
        #[test]
        fn any_prefix_is_judged(prefix in prop_oneof![".*", r"(/[a-z.%~\\ \t/]{0,3}){0,4}"]) {
            if is_plain_path(&prefix) {
                prop_assert!(prefix.starts_with('/') && !prefix.contains("//") && !prefix.ends_with('/'));
                prop_assert!(prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\%?#@:".contains(&byte)));
                prop_assert!(!prefix.split('/').any(|word| word == "." || word == ".."));
            }
        }
    }
}
