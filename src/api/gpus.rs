//! The GPUs of this host: which there are, how they do, who holds them.

use actix_web::{HttpRequest, HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::{List, OnServer};
use super::json::ok;
use crate::access::Caller;
use crate::gpu::{Holder, Part, Seen};

/// `GET /gpus`.
#[derive(Debug, Serialize, ToSchema)]
pub struct GpusView {
    /// GPUs and slices, those that are not well as well.
    pub gpus: Vec<GpuView>,
    /// Sessions and batches that wait for some.
    pub waiting: usize,
}

/// A GPU or a slice of one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuView {
    /// NVIDIA's.
    #[schema(example = "GPU-9b3a2c51-77e4-0b62-4f1c-8d3a5e6f7081")]
    pub uuid: String,
    /// Such as `NVIDIA H200`.
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Bytes of the memory that are in use, by whomever.
    pub used: u64,
    /// Percent of the last moments in which something ran on it; null where the driver does not tell.
    pub utilization: Option<u32>,
    /// Degrees Celsius; null where the driver does not tell.
    pub temperature: Option<u32>,
    /// Why nobody gets it; null for one that is well.
    pub trouble: Option<String>,
    /// Who holds it.
    pub held: Vec<HeldView>,
}

/// One holder's part of a GPU.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldView {
    /// Such as `session 7`; `another user` for another user's.
    pub by: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// Whether others may have the rest.
    pub shared: bool,
}

impl HeldView {
    fn new(caller: &Caller, is_open: bool, holder: Holder, part: &Part) -> Self {
        let is_told = is_open || caller.admin || holder.owner == caller.user;
        Self {
            by: if is_told {
                holder.who
            } else {
                "another user".to_owned()
            },
            memory: part.bytes,
            shared: part.is_share,
        }
    }
}

/// Shows this host's GPUs as the last look saw them.
#[utoipa::path(operation_id = "listGpus", tag = "service", responses((status = 200, body = GpusView)))]
#[get("/gpus")]
pub async fn list(on: OnServer<List>, request: HttpRequest) -> HttpResponse {
    let gpus = on.app.sessions.gpus();
    let is_open = on.app.config.access.mode.is_open();
    let view = |(seen, held): (Seen, Vec<(Holder, Part)>)| GpuView {
        uuid: seen.device.uuid,
        name: seen.device.name,
        memory: seen.device.memory,
        used: seen.used,
        utilization: seen.utilization,
        temperature: seen.temperature,
        trouble: seen.trouble,
        held: held
            .into_iter()
            .map(|(holder, part)| HeldView::new(on.acting(), is_open, holder, &part))
            .collect(),
    };
    let answer = GpusView {
        gpus: gpus.seen().into_iter().map(view).collect(),
        waiting: gpus.waiting(),
    };
    ok(&request, &answer)
}
