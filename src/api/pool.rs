//! The warm drivers: how many are ready, and what became of the others.

use actix_web::{HttpRequest, HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::{Administer, OnServer};
use super::json::ok;
use crate::pool::Stock;

/// `GET /pool`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolView {
    /// One for each profile that keeps warm drivers; with `run_as.mode = "owner"`, of each user who has some.
    pub pool: Vec<StockView>,
}

/// The warm drivers of one profile, and of one user with `run_as.mode = "owner"`. Counts are of this start of the server, or since the user has some.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockView {
    /// As whom they run, and whose sessions take them; null where all drivers run as the server.
    #[schema(example = "ada")]
    pub user: Option<String>,
    /// The profile; null for sessions without one.
    #[schema(example = "gpu")]
    pub profile: Option<String>,
    /// How many are kept.
    pub size: usize,
    /// How many can be taken now.
    pub ready: usize,
    /// How many are on their way.
    pub starting: usize,
    /// How many became ready.
    pub started: u64,
    /// How many a session took.
    pub claimed: u64,
    /// Sessions that would have taken one when none was ready.
    pub missed: u64,
    /// How many did not become ready, or ended while they waited.
    pub failed: u64,
    /// How many became too old, or left their GPUs to one that waited for them.
    pub retired: u64,
}

impl From<Stock> for StockView {
    fn from(stock: Stock) -> Self {
        let counts = stock.counts;
        Self {
            user: stock.user,
            profile: stock.profile,
            size: stock.size,
            ready: stock.ready,
            starting: stock.starting,
            started: counts.started,
            claimed: counts.claimed,
            missed: counts.missed,
            failed: counts.failed,
            retired: counts.retired,
        }
    }
}

/// Shows the warm drivers, with authentication to administrators only.
#[utoipa::path(operation_id = "showPool", tag = "service", responses((status = 200, body = PoolView), (status = 403)))]
#[get("/pool")]
pub async fn show(on: OnServer<Administer>, request: HttpRequest) -> HttpResponse {
    let stock = on.app.sessions.pool().stock();
    let pool = stock.into_iter().map(StockView::from).collect();
    ok(&request, &PoolView { pool })
}
