//! What a batch was asked for.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::driver::{DriverSpec, Drivers};
use crate::gpu::Ask;
use crate::policy;
use crate::quota::Cost;

/// A request that the policy has passed: all that is needed to start its driver, now or after a restart of the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewBatch {
    /// The batch's name, if it has one.
    pub name: Option<String>,
    /// Who asks; none without authentication.
    pub owner: Option<String>,
    /// As whom the driver runs.
    pub proxy_user: Option<String>,
    /// What the driver is started with.
    pub driver: DriverSpec,
    /// Lines for the batch's log: what of the request was ignored.
    pub notes: Vec<String>,
    /// The uploads that it names: they stay as long as the batch lives.
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
    /// Whether its driver runs in a cluster that has a name: what counts once that is not configured any more.
    #[serde(default)]
    pub is_remote: bool,
}

impl NewBatch {
    /// Whose the driver is: the user that it acts for, else its owner.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.proxy_user.as_deref().or(self.owner.as_deref())
    }

    /// Whether its application goes on when its submit has ended.
    #[must_use]
    pub fn is_remote(&self, drivers: &Drivers) -> bool {
        drivers.runs_in_cluster(&self.driver).unwrap_or(self.is_remote)
    }

    /// What is stored of it once it has ended; none where that is all of it.
    #[must_use]
    pub fn without_secrets(&self) -> Option<String> {
        policy::without_secrets(&serde_json::to_string(self).ok()?)
    }
}
