//! What a session was asked for: echoed as it came, and, once the policy has looked at it, what its driver is started with.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::kind::Kind;
use crate::driver::DriverSpec;
use crate::gpu::Ask;
use crate::policy;
use crate::quota::Cost;
use crate::traces;

/// A session's request as `GET /sessions/{id}` echoes it (livy-spec.md, 1.3), and as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Echo {
    /// Livy's duration string.
    pub ttl: Option<String>,
    /// Livy's duration string.
    pub idle_timeout: Option<String>,
    /// Such as `1g`.
    pub driver_memory: Option<String>,
    /// 0 when the request has none.
    pub driver_cores: i64,
    /// Such as `1g`.
    pub executor_memory: Option<String>,
    /// 0 when the request has none.
    pub executor_cores: i64,
    /// The conf, in the request's order.
    pub conf: Map<String, Value>,
    /// As they came.
    pub archives: Vec<String>,
    /// As they came.
    pub files: Vec<String>,
    /// Seconds; 0 for none.
    pub heartbeat_timeout_in_second: i64,
    /// As they came.
    pub jars: Vec<String>,
    /// 0 when the request has none.
    pub num_executors: i64,
    /// As they came.
    pub py_files: Vec<String>,
    /// The cluster's queue.
    pub queue: Option<String>,
}

/// A request that the policy has passed: all that is needed to start its driver, now or after a restart of the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewSession {
    /// The session's name, if it has one.
    pub name: Option<String>,
    /// Its language.
    pub kind: Kind,
    /// Who asks; none without authentication.
    pub owner: Option<String>,
    /// As whom the driver runs.
    pub proxy_user: Option<String>,
    /// The request as it came.
    pub echo: Echo,
    /// What the driver is started with; its name is filled in with the session's id.
    pub driver: DriverSpec,
    /// Ended after so long; none for no limit.
    pub ttl: Option<Duration>,
    /// Ended after so long without activity; none for never.
    pub idle_timeout: Option<Duration>,
    /// Lines for the session's log: what of the request was ignored.
    pub notes: Vec<String>,
    /// The uploads that it names: they stay as long as the session lives.
    #[serde(default)]
    pub uploads: Vec<Uuid>,
    /// The GPUs that it asks for.
    #[serde(default)]
    pub gpus: Option<Ask>,
    /// What it costs of its owner's quota.
    #[serde(default)]
    pub cost: Cost,
    /// The groups that its owner was in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The trace that its start belongs to: the request's.
    #[serde(skip)]
    pub trace: Option<traces::Context>,
}

impl NewSession {
    /// Whose the driver is: the user that it acts for, else its owner.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.proxy_user.as_deref().or(self.owner.as_deref())
    }

    /// What is stored of it once it has ended; none where that is all of it.
    #[must_use]
    pub fn without_secrets(&self) -> Option<String> {
        policy::without_secrets(&serde_json::to_string(self).ok()?)
    }
}
