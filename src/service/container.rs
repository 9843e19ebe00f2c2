//! Whether this server runs in a container, whose end is the end of the drivers that it has started.

use std::fs;
use std::path::Path;

use crate::config::{Config, DeployMode};

/// Files that container engines leave.
const MARKS: [&str; 2] = ["/run/.containerenv", "/.dockerenv"];
/// Programs that are process 1 of a container for the one program that they start.
const INITS: [&str; 6] = [
    "tini",
    "dumb-init",
    "catatonit",
    "docker-init",
    "podman-init",
    "s6-svscan",
];

/// What the log says at start of a server in a container whose drivers would end with it; none elsewhere.
#[must_use]
pub fn notice(config: &Config) -> Option<String> {
    let outlives =
        |master: &str, mode: DeployMode| mode == DeployMode::Cluster && !master.starts_with("local");
    let clusters = config.clusters.values();
    let mut all = clusters
        .map(|cluster| (cluster.master.as_str(), cluster.deploy_mode))
        .chain([(config.spark.master.as_str(), config.spark.deploy_mode)]);
    if all.all(|(master, mode)| outlives(master, mode)) {
        return None;
    }
    Some(format!(
        "this server runs in a container ({}), and its drivers run beside it: when the container ends, they end too. Drivers \
         survive a restart of the container only in cluster mode (spark.deploy_mode = \"cluster\")",
        found()?
    ))
}

/// What shows that it is one.
fn found() -> Option<String> {
    if let Some(mark) = MARKS.into_iter().find(|mark| Path::new(mark).exists()) {
        return Some(format!("{mark} is there"));
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("KUBERNETES_SERVICE_HOST is set".to_owned());
    }
    if std::process::id() == 1 {
        return Some("it is process 1".to_owned());
    }
    let is_below_init = nix::unistd::getppid().as_raw() == 1;
    let init = fs::read_to_string("/proc/1/comm")
        .ok()
        .filter(|_| is_below_init)?;
    let init = init.trim();
    INITS.contains(&init).then(|| format!("process 1 is {init}"))
}
