//! Checks of Spark and of the clusters in which drivers run. Called by `mod.rs`.

use super::Fail;
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::keys::{Cluster, DeployMode, Kubernetes, RunAsMode, Spark, Yarn};
use crate::config::values::Size;

/// The keys of `[spark]`, or of a cluster's table, which has the same.
pub(super) fn check_spark(table: &str, spark: &Spark, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Spark {
        home,
        python,
        master,
        deploy_mode,
        hive: _,
        local_ip,
        conf,
        history_server,
    } = spark;
    let key = |name: &str| format!("{table}.{name}");
    if !home.as_os_str().is_empty() {
        fail.absolute(&key("home"), std::slice::from_ref(home))?;
    }
    if master.trim().is_empty() {
        return fail.because(&key("master"), "must not be empty");
    }
    if *deploy_mode == DeployMode::Cluster && !spark.is_yarn() && !spark.is_kubernetes() {
        return fail.because(
            &key("deploy_mode"),
            format!(
                "\"cluster\" works with {table}.master = \"yarn\" or \"k8s://...\" only, not with {master:?} (docs/clusters.md)"
            ),
        );
    }
    fail.plain(&[
        (&key("python"), python),
        (&key("master"), master),
        (&key("local_ip"), local_ip),
    ])?;
    if !local_ip.is_empty() && local_ip.parse::<std::net::IpAddr>().is_err() {
        return fail.because(&key("local_ip"), format!("{local_ip:?} is no IP address"));
    }
    if !history_server.is_empty() && !is_http(history_server) {
        return fail.because(
            &key("history_server"),
            format!("{history_server:?} is no address such as \"http://history:18080\""),
        );
    }
    let odd = |key: &&String| key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control());
    match conf.keys().find(odd) {
        Some(odd) => fail.because(
            &key("conf"),
            format!("{odd:?} is no conf key: it is empty or has blanks"),
        ),
        None => Ok(()),
    }
}

pub(super) fn check_cluster(cluster: &Cluster, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Cluster {
        poll_interval,
        timeout,
        longest_wait,
        lookup_timeout,
        max_answer,
        yarn:
            Yarn {
                resource_manager,
                user,
                log_server,
                staging_timeout,
            },
        kubernetes,
    } = cluster;
    fail.positive(&[
        ("cluster.poll_interval", *poll_interval),
        ("cluster.timeout", *timeout),
        ("cluster.yarn.staging_timeout", *staging_timeout),
        ("cluster.longest_wait", *longest_wait),
        ("cluster.lookup_timeout", *lookup_timeout),
    ])?;
    fail.at_least("cluster.max_answer", *max_answer, Size::kib(64))?;
    fail.plain(&[("cluster.yarn.user", user)])?;
    if !log_server.is_empty() && !is_http(log_server) {
        return fail.because(
            "cluster.yarn.log_server",
            format!("{log_server:?} is no address such as \"http://history:19888/ws/v1/history\""),
        );
    }
    check_kubernetes(kubernetes, fail)?;
    check_resource_managers("cluster.yarn.resource_manager", resource_manager, fail)
}

pub(super) fn check_resource_managers(
    key: &str,
    addresses: &[String],
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    match addresses.iter().find(|address| !is_http(address)) {
        Some(address) => fail.because(
            key,
            format!("{address:?} is no address such as \"http://rm:8088\""),
        ),
        None => Ok(()),
    }
}

/// Submits to Kubernetes act with the server's own credentials.
pub(super) fn check_submits(config: &Config, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let spark = &config.spark;
    if spark.is_kubernetes() && spark.runs_in_cluster() && config.run_as.mode == RunAsMode::Owner {
        return fail.because(
            "run_as.mode",
            "\"owner\" is not for drivers in Kubernetes (spark.deploy_mode = \"cluster\"): their submits would run as users who can't read the server's \
             credentials",
        );
    }
    Ok(())
}

fn check_kubernetes(kubernetes: &Kubernetes, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Kubernetes {
        namespace,
        kubeconfig,
        context,
        grace,
        keep_pods: _,
        followed_logs: _,
        driver_log_url,
        ui_url,
    } = kubernetes;
    let is_label = |name: &str| {
        name.len() <= 63
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if !is_label(namespace) {
        return fail.because(
            "cluster.kubernetes.namespace",
            format!(
                "{namespace:?} is no namespace's name: at most 63 lower-case letters, digits and hyphens"
            ),
        );
    }
    fail.positive(&[("cluster.kubernetes.grace", *grace)])?;
    if !kubeconfig.as_os_str().is_empty() {
        fail.absolute("cluster.kubernetes.kubeconfig", std::slice::from_ref(kubeconfig))?;
    }
    fail.plain(&[("cluster.kubernetes.context", context)])?;
    for (key, address) in [
        ("cluster.kubernetes.driver_log_url", driver_log_url),
        ("cluster.kubernetes.ui_url", ui_url),
    ] {
        fail.plain(&[(key, address)])?;
        if !address.is_empty() && !address.starts_with("http://") && !address.starts_with("https://") {
            return fail.because(
                key,
                format!("{address:?} is no address such as \"https://host/{{namespace}}/{{pod}}\""),
            );
        }
    }
    Ok(())
}

/// Whether a text is the address of a web server, without a query or a name in it.
fn is_http(address: &str) -> bool {
    let rest = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let is_odd = |c: char| matches!(c, '@' | '?' | '#') || c.is_whitespace() || c.is_control();
        !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(is_odd)
    })
}
