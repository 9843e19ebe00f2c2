//! Which limits are whose: the configuration's quotas, and what an administrator has changed since. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Quota;

/// A user's limits; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that run.
    pub sessions: Option<u64>,
    /// Batches that run.
    pub batches: Option<u64>,
    /// Sessions that wait, and batches that wait.
    pub queued: Option<u64>,
    /// Cores.
    pub cores: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// GPUs in thousandths.
    pub gpus: Option<u64>,
    /// Bytes of uploads.
    pub uploads: Option<u64>,
    /// Statements and jobs.
    pub statements_per_minute: Option<u64>,
}

/// What an administrator has changed of one user's limits; none: as the configuration has it, 0: no limit. Stored as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Changes {
    /// Sessions that run.
    pub sessions: Option<u64>,
    /// Batches that run.
    pub batches: Option<u64>,
    /// Sessions that wait, and batches that wait.
    pub queued: Option<u64>,
    /// Cores.
    pub cores: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// GPUs.
    pub gpus: Option<u64>,
    /// Bytes of uploads.
    pub uploads: Option<u64>,
    /// Statements and jobs.
    pub statements_per_minute: Option<u64>,
}

/// One GPU.
pub(super) const GPU: u64 = 1000;

fn limit(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
}

impl Limits {
    /// Those of a quota.
    #[must_use]
    pub fn of(quota: &Quota) -> Self {
        Self {
            sessions: limit(quota.sessions as u64),
            batches: limit(quota.batches as u64),
            queued: limit(quota.queued as u64),
            cores: limit(quota.cores.into()),
            memory: limit(quota.memory.bytes()),
            gpus: limit(u64::from(quota.gpus) * GPU),
            uploads: limit(quota.uploads.bytes()),
            statements_per_minute: limit(quota.statements_per_minute.into()),
        }
    }

    /// These with what was changed.
    #[must_use]
    pub fn with(self, changes: &Changes) -> Self {
        let changed = |own: Option<u64>, change: Option<u64>| change.map_or(own, limit);
        Self {
            sessions: changed(self.sessions, changes.sessions),
            batches: changed(self.batches, changes.batches),
            queued: changed(self.queued, changes.queued),
            cores: changed(self.cores, changes.cores),
            memory: changed(self.memory, changes.memory),
            gpus: changed(self.gpus, changes.gpus.map(|gpus| gpus.saturating_mul(GPU))),
            uploads: changed(self.uploads, changes.uploads),
            statements_per_minute: changed(self.statements_per_minute, changes.statements_per_minute),
        }
    }
}

impl From<&Changes> for Limits {
    /// The changed amounts alone, 0 where there is no limit.
    fn from(changes: &Changes) -> Self {
        Self {
            sessions: changes.sessions,
            batches: changes.batches,
            queued: changes.queued,
            cores: changes.cores,
            memory: changes.memory,
            gpus: changes.gpus.map(|gpus| gpus.saturating_mul(GPU)),
            uploads: changes.uploads,
            statements_per_minute: changes.statements_per_minute,
        }
    }
}

/// The quota that is a user's: one that names them, else one that names a group of theirs, else one that names nobody; of several the
/// first by name.
pub(super) fn quota_of<'a>(
    all: &'a BTreeMap<String, Quota>,
    user: Option<&str>,
    groups: &[String],
) -> Option<(&'a str, &'a Quota)> {
    let by_user = |quota: &Quota| quota.users.iter().any(|name| Some(name.as_str()) == user);
    let by_group = |quota: &Quota| quota.groups.iter().any(|group| groups.contains(group));
    let by_nobody = |quota: &Quota| quota.users.is_empty() && quota.groups.is_empty();
    let first = |is_for: &dyn Fn(&Quota) -> bool| all.iter().find(|(_, quota)| is_for(quota));
    first(&by_user)
        .or_else(|| first(&by_group))
        .or_else(|| first(&by_nobody))
        .map(|(name, quota)| (name.as_str(), quota))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(text: &str) -> Quota {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn whose_quota_is_which() {
        let all = BTreeMap::from([
            ("a".to_owned(), quota("groups = ['staff']")),
            ("b".to_owned(), quota("groups = ['staff', 'others']")),
            ("default".to_owned(), quota("")),
            ("z".to_owned(), quota("users = ['ada']")),
        ]);
        let of = |user: Option<&str>, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            quota_of(&all, user, &groups).map(|(name, _)| name)
        };
        assert_eq!(of(Some("ada"), &["staff"]), Some("z"));
        assert_eq!(of(Some("bob"), &["staff", "others"]), Some("a"));
        assert_eq!(of(Some("bob"), &["others"]), Some("b"));
        assert_eq!(of(Some("bob"), &[]), Some("default"));
        assert_eq!(of(None, &[]), Some("default"));
        assert!(quota_of(&BTreeMap::new(), Some("ada"), &[]).is_none());
    }

    #[test]
    fn what_is_changed_wins() {
        let limits = Limits::of(&quota("sessions = 2 \n memory = '1GiB' \n gpus = 1"));
        assert_eq!(limits.sessions, Some(2));
        assert_eq!(limits.gpus, Some(1000));
        assert_eq!(limits.cores, None);
        let changes = Changes {
            sessions: Some(0),
            cores: Some(4),
            gpus: Some(2),
            ..Changes::default()
        };
        let changed = limits.with(&changes);
        assert_eq!(changed.sessions, None);
        assert_eq!(changed.cores, Some(4));
        assert_eq!(changed.gpus, Some(2000));
        assert_eq!(changed.memory, limits.memory);
    }
}
