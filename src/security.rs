//! `firesteel check --security`: what a configuration leaves open, in words.
//!
//! Each finding says what is open, to whom, and which key closes it. That something is open is no mistake: a server for one person on
//! their own machine needs no more than its defaults. Called by `check`; calls `config` and looks at the files that it names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use firesteel::config::{AccessMode, Clusters, Config, DeployMode, MetricsAccess, RunAsMode, Spark};
use firesteel::policy::LOADS_CODE;
use url::{Host, Url};

/// Bits of a mode that let others than the owner read.
const OTHERS_READ: u32 = 0o044;
/// Bits of a mode that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// What a configuration leaves open; empty where nothing is known to be.
pub(crate) fn findings(config: &Config) -> Vec<String> {
    let mut open = Vec::new();
    callers(config, &mut open);
    requests(config, &mut open);
    drivers(config, &mut open);
    files(config, &mut open);
    open
}

/// Who gets in, and how.
fn callers(config: &Config, open: &mut Vec<String>) {
    let access = &config.access;
    if access.mode.is_open() {
        open.push(
            "Nobody is asked who calls: every user and every program of this host can run code as the server's user \
             (access.mode)."
                .to_owned(),
        );
        return;
    }
    let passwords = [AccessMode::Basic, AccessMode::Ldap, AccessMode::Token];
    let is_local = config.server.listen.ip().to_canonical().is_loopback();
    if !is_local && !config.server.tls.is_on() && access.mode.iter().any(|mode| passwords.contains(mode)) {
        open.push(format!(
            "Passwords and tokens come to {} in clear, unless a reverse proxy or the network sees to it (server.plain_http, server.tls).",
            *config.server.listen
        ));
    }
    if access.mode.contains(&AccessMode::Oidc) {
        sign_on(config, open);
    }
    if access.mode.contains(&AccessMode::Ldap) && access.ldap.plaintext && !access.ldap.starttls {
        open.push(format!(
            "Passwords go to {} in clear, for everybody on the way to read (access.ldap.plaintext).",
            access.ldap.url
        ));
    }
    if config.server.hosts.is_empty() {
        open.push(
            "Every Host is served: name the server's own, so that no other name can be pointed at it (server.hosts)."
                .to_owned(),
        );
    }
    if !access.csrf {
        open.push(
            "State changes need no X-Requested-By: pages of other origins are refused all the same, by Origin and \
             Sec-Fetch-Site, which browsers older than 2020 do not all send (access.csrf)."
                .to_owned(),
        );
    }
    if config.metrics.access == MetricsAccess::Open {
        open.push(
            "Everybody who reaches the server may read its metrics: how many sessions there are, and how much they do (metrics.access)."
                .to_owned(),
        );
    }
    if access.impersonation && !access.superusers.is_empty() {
        open.push(format!(
            "{} may act as anybody (access.superusers, access.impersonation).",
            access.superusers.join(", ")
        ));
    }
}

/// Logins at an identity provider.
fn sign_on(config: &Config, open: &mut Vec<String>) {
    let access = &config.access;
    let redirect_uri = &access.oidc.redirect_uri;
    let is_here = Url::parse(redirect_uri).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    });
    if redirect_uri.starts_with("https://") {
        let knows_https =
            config.server.tls.is_on() || config.server.forwarded || access.mode.contains(&AccessMode::Proxy);
        if !knows_https {
            open.push(
                "Logins' cookies are not for HTTPS alone: nothing tells this server that browsers come by it (server.forwarded)."
                    .to_owned(),
            );
        }
    } else if !is_here {
        open.push(format!(
            "Logins come back to {redirect_uri} in clear, with cookies that everybody on the way can use (access.oidc.redirect_uri)."
        ));
    }
}

/// What requests may ask for.
fn requests(config: &Config, open: &mut Vec<String>) {
    let policy = &config.policy.conf;
    let bare = |key: &str| key.trim_end_matches('*').to_owned();
    let code: Vec<&str> = policy
        .allow
        .iter()
        .map(String::as_str)
        .filter(|allowed| {
            let allowed = bare(allowed);
            LOADS_CODE
                .iter()
                .any(|key| bare(key).starts_with(&allowed) || allowed.starts_with(&bare(key)))
        })
        .collect();
    if !code.is_empty() {
        open.push(format!(
            "Requests may load code into the submit phase and the driver by {} (policy.conf.allow).",
            code.join(", ")
        ));
    }
    for directory in &config.files.allow {
        if directory.parent().is_none() || directory == Path::new("/etc") || directory == Path::new("/home") {
            open.push(format!(
                "Requests may have the server's user read all below {} (files.allow).",
                directory.display()
            ));
        }
    }
    if config.driver.env_pass.iter().any(|name| name.contains('*')) {
        open.push(
            "Drivers get variables of the server's environment by a pattern (driver.env_pass).".to_owned(),
        );
    }
}

/// What a driver's processes are open to, and what they can reach.
fn drivers(config: &Config, open: &mut Vec<String>) {
    let clusters = Clusters::of(Arc::new(config.clone()));
    let all = clusters.all().map(|(name, config)| {
        let table = name.map_or("spark".to_owned(), |name| format!("clusters.{name}"));
        (table, &config.spark)
    });
    for (table, spark) in all {
        in_cluster(&table, spark, !config.access.mode.is_open(), open);
    }
    if !config.access.mode.is_open() {
        among_users(config, open);
    }
    on_hadoop(config, open);
}

/// What drivers in a cluster are open to; its keys are in this table.
fn in_cluster(table: &str, spark: &Spark, has_names: bool, open: &mut Vec<String>) {
    if spark.master.starts_with("spark://") {
        open.push(format!(
            "A standalone cluster has one secret for all applications: whoever may run code in one can read the others' \
             blocks ({table}.master)."
        ));
    }
    let is_on = |key: &str| spark.conf.get(key).is_some_and(|value| value == "true");
    if has_names && is_on("spark.ui.enabled") {
        open.push(format!(
            "Spark's own UI is on, and asks nobody for a name: whoever reaches its port sees jobs, SQL and conf \
             ({table}.conf.\"spark.ui.enabled\")."
        ));
    }
}

/// What users' drivers are open to from one another's.
fn among_users(config: &Config, open: &mut Vec<String>) {
    if config.run_as.mode == RunAsMode::Server {
        open.push(
            "All drivers run as the server's own user: what one session can read on this host, every session can \
             (run_as.mode)."
                .to_owned(),
        );
    }
    for (is_open, what, key) in [
        (config.driver.memory_max.is_empty(), "memory", "driver.memory_max"),
        (
            config.driver.pids_max == 0,
            "processes and threads",
            "driver.pids_max",
        ),
        (
            config.driver.disk_max.is_empty(),
            "room on the disk",
            "driver.disk_max",
        ),
    ] {
        if is_open {
            open.push(format!(
                "A session may take as much of the host's {what} as there is ({key})."
            ));
        }
    }
}

/// What drivers may do on a secured Hadoop.
fn on_hadoop(config: &Config, open: &mut Vec<String>) {
    if !config.hadoop.has_keytab() {
        return;
    }
    let principal = &config.hadoop.principal;
    if config.access.mode.is_open() {
        open.push(format!(
            "Nobody has a name, so drivers act on the cluster as {principal} itself (hadoop.keytab, access.mode)."
        ));
    }
    let modes = config.clusters.values().map(|cluster| cluster.deploy_mode);
    if modes
        .chain([config.spark.deploy_mode])
        .any(|mode| mode != DeployMode::Cluster)
    {
        open.push(format!(
            "Code in a session can read the server's keytab and its Kerberos ticket, so act on the cluster as {principal} and for everybody for whom that \
             may (hadoop.keytab): run_as.keytabs gives drivers their users' own instead, and spark.deploy_mode = \"cluster\" has them run elsewhere."
        ));
    }
}

/// Files that others may read or change.
fn files(config: &Config, open: &mut Vec<String>) {
    let mut look = |path: &Path, bits: u32, what: &str| {
        if path
            .metadata()
            .is_ok_and(|data| data.permissions().mode() & bits != 0)
        {
            open.push(format!("{}: {what} by other users of this host.", path.display()));
        }
    };
    look(
        &config.server.state_dir,
        OTHERS_READ | OTHERS_WRITE,
        "can be read or changed",
    );
    if config.access.mode.contains(&AccessMode::Basic) {
        look(
            &config.access.basic_file,
            OTHERS_READ,
            "password hashes can be read",
        );
        look(
            &config.access.basic_file,
            OTHERS_WRITE,
            "users can be added or changed",
        );
    }
    if config.server.tls.is_on() {
        look(&config.server.tls.key, OTHERS_READ, "the private key can be read");
    }
    for (mode, path, what) in [
        (
            AccessMode::Ldap,
            &config.access.ldap.bind_password_file,
            "the directory's password can be read",
        ),
        (
            AccessMode::Kerberos,
            &config.access.kerberos.keytab,
            "the Kerberos key can be read",
        ),
        (
            AccessMode::Oidc,
            &config.access.oidc.client_secret_file,
            "the client's secret can be read",
        ),
    ] {
        if config.access.mode.contains(&mode) {
            look(path, OTHERS_READ, what);
        }
    }
    if config.hadoop.has_keytab() {
        look(&config.hadoop.keytab, OTHERS_READ, "the Kerberos key can be read");
    }
    for dirs in config.conf_dir.values() {
        for path in [&dirs.spark, &dirs.hadoop] {
            if !path.as_os_str().is_empty() {
                look(path, OTHERS_WRITE, "what drivers start with can be changed");
            }
        }
    }
    for directory in &config.files.allow {
        look(directory, OTHERS_WRITE, "what requests may name can be changed");
    }
}
