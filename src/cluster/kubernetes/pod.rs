//! A driver's pod as the API server tells it, as far as is needed, and the application that it is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::{DRIVER, SERVER_MAX};
use crate::cluster::application::{Application, Links, Outcome, Place, State};

/// The container that Spark puts its driver into, beside what others may have put into the pod.
const CONTAINER: &str = "spark-kubernetes-driver";
/// The label that Spark gives its application's id in.
const APPLICATION: &str = "spark-app-selector";
/// What a container waits for on the way of every pod.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// What ends a container whose own log knows nothing of it.
const OUT_OF_MEMORY: &str = "OOMKilled";

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pod {
    pub metadata: Metadata,
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub creation_timestamp: String,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<u64>,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    reason: String,
    message: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
    finished_at: Option<String>,
}

/// Where people find what a cluster has of a pod: addresses with `{namespace}`, `{pod}` and `{app}` in them, or none.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub namespace: String,
    pub driver_log: String,
    pub ui: String,
}

impl Addresses {
    fn of(&self, template: &str, pod: &str, app: &str) -> Option<String> {
        let filled = template
            .replace("{namespace}", &self.namespace)
            .replace("{pod}", pod)
            .replace("{app}", app);
        Some(filled).filter(|address| !address.is_empty())
    }
}

impl Metadata {
    /// Whose driver it is about, by its label.
    pub(super) fn driver(&self) -> Option<Uuid> {
        self.labels.get(DRIVER)?.parse().ok()
    }
}

impl Pod {
    /// Whose driver it is, by its label.
    pub(super) fn driver(&self) -> Option<Uuid> {
        self.metadata.driver()
    }

    /// The application, as it is now; `gone`: the pod has been deleted since.
    pub(super) fn application(&self, gone: bool, addresses: &Addresses) -> Application {
        let Metadata {
            name, uid, labels, ..
        } = &self.metadata;
        let id = labels
            .get(APPLICATION)
            .filter(|id| !id.is_empty())
            .unwrap_or(name);
        let ended = self.terminated();
        let state = self.state(gone);
        let (diagnostics, is_decisive) = self.said(state);
        Application {
            id: id.clone(),
            place: Some(Place {
                pod: name.clone(),
                uid: uid.clone(),
                container: self.container().map(|container| container.name.clone()),
            }),
            state,
            links: Links {
                driver_log: addresses.of(&addresses.driver_log, name, id),
                ui: addresses.of(&addresses.ui, name, id),
                node: None,
            },
            exit_code: ended.map(|ended| ended.exit_code),
            diagnostics: Application::shorten(&diagnostics),
            is_decisive,
            ..Application::default()
        }
    }

    /// Livy's words (livy-spec.md, 2.2). Once the driver's container has ended the application has, whatever else the pod runs.
    fn state(&self, gone: bool) -> State {
        let success = match self.terminated() {
            Some(ended) => ended.exit_code == 0,
            None => match self.status.phase.as_str() {
                "Succeeded" => true,
                "Failed" | "Unknown" => false,
                _ if gone => return State::Ended(Outcome::Killed),
                "Running" => return State::Running,
                _ => return State::Starting,
            },
        };
        State::Ended(match success {
            true => Outcome::Success,
            false if self.was_deleted_before() => Outcome::Killed,
            false => Outcome::Dead,
        })
    }

    /// The driver's container: the one of Spark's name, else the only one, which a template may have given another name.
    fn container(&self) -> Option<&Container> {
        let containers = &self.status.container_statuses;
        let named = containers.iter().find(|container| container.name == CONTAINER);
        named.or_else(|| containers.first().filter(|_| containers.len() == 1))
    }

    fn terminated(&self) -> Option<&Terminated> {
        self.container()?.state.terminated.as_ref()
    }

    /// Whether somebody had the pod deleted while its driver ran.
    fn was_deleted_before(&self) -> bool {
        let Some(due) = &self.metadata.deletion_timestamp else {
            return false;
        };
        let time = |text: &str| humantime::parse_rfc3339(text).ok();
        let grace = self.metadata.deletion_grace_period_seconds.unwrap_or_default();
        let asked = time(due).and_then(|due: SystemTime| due.checked_sub(Duration::from_secs(grace)));
        let ended = self
            .terminated()
            .and_then(|ended| ended.finished_at.as_deref())
            .and_then(time);
        // Both are cut to seconds.
        ended
            .zip(asked)
            .is_none_or(|(ended, asked)| ended + Duration::from_secs(1) >= asked)
    }

    /// What there is to say, and whether it says more than the driver's log does.
    fn said(&self, state: State) -> (String, bool) {
        let status = &self.status;
        let named = |reason: &str, message: &str| match (reason, message) {
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        };
        let condition = |kind: &str, is: &str| {
            let mut conditions = status.conditions.iter();
            let found = conditions.find(|condition| condition.kind == kind && condition.status == is)?;
            Some(named(&found.reason, &found.message)).filter(|said| !said.is_empty())
        };
        match state {
            State::Starting => {
                let containers = status
                    .init_container_statuses
                    .iter()
                    .chain(&status.container_statuses);
                let waiting = containers
                    .filter_map(|container| container.state.waiting.as_ref())
                    .find(|waiting| !waiting.reason.is_empty() && !USUAL.contains(&&*waiting.reason));
                let waiting = waiting.map(|waiting| named(&waiting.reason, &waiting.message));
                (
                    condition("PodScheduled", "False").or(waiting).unwrap_or_default(),
                    false,
                )
            }
            State::Running | State::Ended(Outcome::Success) => (String::new(), false),
            State::Ended(Outcome::Killed) => {
                let why = condition("DisruptionTarget", "True");
                let why = why.map_or(String::new(), |why| format!(" ({why})"));
                (format!("its pod was deleted{why}"), false)
            }
            State::Ended(Outcome::Dead) if !status.reason.is_empty() || !status.message.is_empty() => {
                (named(&status.reason, &status.message), true)
            }
            State::Ended(Outcome::Dead) => match self.terminated() {
                Some(ended) if ended.reason == OUT_OF_MEMORY => (
                    format!(
                        "its driver took more memory than its container may have ({OUT_OF_MEMORY}, exit code {}); ask for more with \
                         spark.driver.memoryOverhead or driverMemory",
                        ended.exit_code
                    ),
                    true,
                ),
                Some(ended) => {
                    let said = named(&ended.reason, &ended.message);
                    (
                        format!("its driver ended with exit code {} ({said})", ended.exit_code),
                        false,
                    )
                }
                None => (format!("its pod is {}", status.phase), false),
            },
        }
    }
}

/// A label's value that tells one server from another: at most 63 characters that Kubernetes takes there.
pub(super) fn server_label(group: &str) -> &str {
    let value = group.strip_prefix("firesteel-server-").unwrap_or(group);
    let end = value
        .char_indices()
        .nth(SERVER_MAX)
        .map_or(value.len(), |(at, _)| at);
    value[..end].trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, gone: bool) -> Application {
        let pod: Pod = serde_json::from_str(text).unwrap();
        let addresses = Addresses {
            namespace: "spark".to_owned(),
            driver_log: "https://logs/{namespace}/{pod}".to_owned(),
            ui: String::new(),
        };
        pod.application(gone, &addresses)
    }

    fn pod(status: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"p","uid":"u","labels":{{"spark-app-selector":"spark-1"}}}},"status":{status}}}"#
        )
    }

    #[test]
    fn phases_are_livys_words() {
        for (status, gone, expected) in [
            ("{}", false, State::Starting),
            (r#"{"phase":"Pending"}"#, false, State::Starting),
            (r#"{"phase":"Running"}"#, false, State::Running),
            (r#"{"phase":"Succeeded"}"#, false, State::Ended(Outcome::Success)),
            (r#"{"phase":"Failed"}"#, false, State::Ended(Outcome::Dead)),
            (r#"{"phase":"Unknown"}"#, false, State::Ended(Outcome::Dead)),
            (r#"{"phase":"Pending"}"#, true, State::Ended(Outcome::Killed)),
            (r#"{"phase":"Running"}"#, true, State::Ended(Outcome::Killed)),
            (r#"{"phase":"Succeeded"}"#, true, State::Ended(Outcome::Success)),
            (r#"{"phase":"Failed"}"#, true, State::Ended(Outcome::Dead)),
        ] {
            assert_eq!(told(&pod(status), gone).state, expected, "{status} {gone}");
        }
        let application = told(&pod(r#"{"phase":"Running"}"#), false);
        assert_eq!(application.id, "spark-1");
        assert_eq!(
            application.links.driver_log.as_deref(),
            Some("https://logs/spark/p")
        );
        assert_eq!(application.links.ui, None);
    }

    #[test]
    fn a_driver_that_has_ended_counts_whatever_runs_beside_it() {
        let ended = r#"{"phase":"Running","containerStatuses":[{"name":"proxy","state":{"running":{}}},
            {"name":"spark-kubernetes-driver","state":{"terminated":{"exitCode":3,"reason":"Error"}}}]}"#;
        let application = told(&pod(ended), false);
        assert_eq!(application.state, State::Ended(Outcome::Dead));
        assert_eq!(application.exit_code, Some(3));
        assert_eq!(
            application.diagnostics,
            "its driver ended with exit code 3 (Error)"
        );
        assert!(!application.is_decisive);
    }

    #[test]
    fn a_pod_that_was_deleted_while_it_ran_was_killed() {
        let pod = |finished: &str| {
            format!(
                r#"{{"metadata":{{"deletionTimestamp":"2026-11-29T00:00:30Z","deletionGracePeriodSeconds":30}},"status":{{"phase":"Failed",
                "containerStatuses":[{{"name":"spark-kubernetes-driver","state":{{"terminated":{{"exitCode":143,"finishedAt":"{finished}"}}}}}}]}}}}"#
            )
        };
        assert_eq!(
            told(&pod("2026-11-29T00:00:02Z"), false).state,
            State::Ended(Outcome::Killed)
        );
        assert_eq!(
            told(&pod("2026-11-28T23:50:00Z"), true).state,
            State::Ended(Outcome::Dead)
        );
    }

    #[test]
    fn why_nothing_runs_is_said() {
        let said = |status: &str| told(&pod(status), false).sentence();
        assert_eq!(said(r#"{"phase":"Pending"}"#), None);
        assert_eq!(
            said(
                r#"{"phase":"Pending","containerStatuses":[{"name":"x","state":{"waiting":{"reason":"ContainerCreating"}}}]}"#
            ),
            None
        );
        assert_eq!(
            said(
                r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable",
                "message":"0/1 nodes are available: 1 Insufficient cpu."}]}"#
            )
            .as_deref(),
            Some("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.")
        );
        assert_eq!(
            said(
                r#"{"phase":"Pending","containerStatuses":[{"name":"x","state":{"waiting":{"reason":"ImagePullBackOff",
                "message":"Back-off pulling image \"x\""}}}]}"#
            )
            .as_deref(),
            Some("ImagePullBackOff: Back-off pulling image \"x\".")
        );
        let evicted = told(
            &pod(
                r#"{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: memory."}"#,
            ),
            false,
        );
        assert_eq!(
            evicted.sentence().as_deref(),
            Some("Evicted: The node was low on resource: memory.")
        );
        assert!(evicted.is_decisive);
    }

    #[test]
    fn a_servers_label_is_short() {
        let id = Uuid::new_v4();
        assert_eq!(server_label(&format!("firesteel-server-{id}")), id.to_string());
        let long = format!("firesteel-server-{id}-{}-{}", "x".repeat(25), "y".repeat(25));
        let label = server_label(&long);
        assert!(label.len() <= SERVER_MAX && label.ends_with('x'), "{label}");
    }
}
