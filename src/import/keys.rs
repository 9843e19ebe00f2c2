//! Livy's keys, a row each: what it becomes here, or why nothing stands for it.

use How::{By, Bytes, Count, Flag, List, Nothing, Secret, Span, Text};

use super::rules::{self, Rule};

/// How a value is taken over.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Not at all.
    Nothing,
    /// Not at all, and it is never shown.
    Secret,
    /// As it is.
    Text,
    /// `true` or `false`.
    Flag,
    /// A duration.
    Span,
    /// A number of bytes.
    Bytes,
    /// Entries between commas and blanks.
    List,
    /// A whole number, which becomes at least this one.
    Count(i64),
    /// As other keys decide.
    By(Rule),
}

/// One of Livy's keys.
pub(super) struct Row {
    /// Its name. A `*` stands for anything.
    pub key: &'static str,
    /// Names that it had before, which Livy still reads.
    pub old: &'static [&'static str],
    pub how: How,
    /// The keys that it may set here.
    pub to: &'static [&'static str],
    /// What is different here, or why it sets nothing.
    pub about: &'static str,
}

impl Row {
    const fn was(mut self, old: &'static [&'static str]) -> Self {
        self.old = old;
        self
    }
}

const fn row(key: &'static str, how: How, to: &'static [&'static str], about: &'static str) -> Row {
    Row {
        key,
        old: &[],
        how,
        to,
        about,
    }
}

const fn none(key: &'static str, about: &'static str) -> Row {
    row(key, Nothing, &[], about)
}

const fn secret(key: &'static str, about: &'static str) -> Row {
    row(key, Secret, &[], about)
}

const PEM: &str = "files in PEM have none";
const HEADERS: &str =
    "every answer forbids framing, sniffing and foreign scripts; server.tls.hsts is for HTTPS";
const SHIPPED: &str = "drivers get what they need from Firesteel itself";
const STORE: &str =
    "the store is SQLite in server.state_dir, and sessions outlive a restart (shutdown.sessions)";
const KUBECONFIG: &str =
    "cluster.kubernetes.kubeconfig, else the service account of the pod, tells who asks the API server";
const CLIENT: &str = "of Livy's HTTP client, which goes on reading it";
const RPC: &str = "drivers speak Firesteel's own link (link.*)";
const LEAKAGE: &str = "an application is known by its tag, so none is left behind";
const THREADS: &str = "a session needs no threads of its own";
const INGRESS: &str = "no ingress is made: cluster.kubernetes.ui_url names the page of one that there is";
const GRAFANA: &str = "cluster.kubernetes.driver_log_url names the page of a driver's log";
const CANCEL: &str =
    "statement.interrupt_again and statement.cancel_grace say how soon a cancelled statement stops";
const HADOOP: &str = "HADOOP_CONF_DIR, SPARK_HOME and the like go into the environment of Firesteel's service, or into driver.env";
const LOGS: &str = "log.level, log.format and log.access are for the server's log";
const FILTER: &str = "a filter that was written for Livy does not run here (docs/authentication.md)";

/// Every key of Livy's, of its drivers and of its clients, and its other files.
pub(super) static ROWS: &[Row] = &[
    row(
        "livy.server.host",
        By(rules::host),
        &["server.listen"],
        "off loopback with authentication and TLS only",
    ),
    row("livy.server.port", By(rules::port), &["server.listen"], ""),
    none(
        "livy.ui.basePath",
        "pages find their addresses behind a proxy that takes a path off; server.base_path would move the REST API too",
    ),
    none(
        "livy.ui.enabled",
        "the pages are always there, for those who may see what they show",
    ),
    row("livy.ui.history-server-url", Text, &["spark.history_server"], ""),
    none("livy.server.request-header.size", "the size of headers is fixed"),
    none("livy.server.response-header.size", "the size of headers is fixed"),
    none(
        "livy.server.send-server-version",
        "no answer tells the server's version",
    ),
    row("livy.server.csrf-protection.enabled", Flag, &["access.csrf"], "")
        .was(&["livy.server.csrf_protection.enabled"]),
    none("livy.server.security-headers.enabled", HEADERS),
    none("livy.server.http.header.*", HEADERS),
    none(
        "livy.server.request-log-retain.days",
        "log.access writes requests to the log, which the system keeps",
    ),
    none("livy.environment", "there is no development mode"),
    row(
        "livy.file.upload.max.size",
        Bytes,
        &["upload.max_bytes"],
        "upload.owner_bytes and upload.total_bytes bound uploads too",
    ),
    row(
        "livy.keystore",
        By(rules::keystore),
        &["server.tls.cert", "server.tls.key"],
        "TLS takes PEM files",
    ),
    secret("livy.keystore.password", PEM),
    secret("livy.key-password", PEM),
    none("livy.keystore.type", "TLS takes PEM files"),
    none(
        "livy.hadoop.security.credential.provider.path",
        "server.tls.key is a PEM file, which its mode protects",
    ),
    row(
        "livy.server.spark-home",
        Text,
        &["spark.home"],
        "SPARK_HOME in the environment comes first",
    ),
    row(
        "livy.spark.master",
        By(rules::master),
        &["spark.master", "spark.deploy_mode"],
        "",
    ),
    row(
        "livy.spark.deploy-mode",
        By(rules::deploy_mode),
        &["spark.deploy_mode"],
        "",
    )
    .was(&["livy.spark.deployMode"]),
    none("livy.spark.scala-version", "it is Spark's own").was(&["livy.spark.scalaVersion"]),
    none("livy.spark.version", "Spark is asked for it"),
    row("livy.repl.enable-hive-context", Flag, &["spark.hive"], "").was(&["livy.repl.enableHiveContext"]),
    none("livy.repl.jars", SHIPPED),
    none(
        "livy.spark.file-list-configs",
        "files.allow holds for every key that Spark knows to name files",
    ),
    row(
        "livy.file.local-dir-whitelist",
        List,
        &["files.allow"],
        "links are followed before they are compared",
    ),
    none("livy.session.staging-dir", "uploads are in server.state_dir"),
    row(
        "livy.server.session.timeout-check",
        By(rules::timeout_check),
        &["session.idle_timeout"],
        "off is `0s`, never",
    ),
    none(
        "livy.server.session.timeout-check.skip-busy",
        "a busy session is never idle; session.ttl bounds a session's life",
    ),
    row(
        "livy.server.session.timeout",
        By(rules::timeout),
        &["session.idle_timeout"],
        "a busy session is never idle; `0s` is never",
    ),
    row(
        "livy.server.session.state-retain.sec",
        Span,
        &["session.ended_shown", "batch.ended_shown"],
        "milliseconds where it has no unit",
    ),
    row(
        "livy.server.session.ttl-check",
        By(rules::ttl_check),
        &["session.ttl"],
        "off is `0s`, no limit",
    ),
    row("livy.server.session.ttl", By(rules::ttl), &["session.ttl"], ""),
    row(
        "livy.server.session.max-creation",
        By(rules::max_creation),
        &["limits.sessions", "limits.starting"],
        "over it, sessions wait instead of being refused; in cluster mode it bounds drivers that start",
    ),
    none(
        "livy.server.session.allow-custom-classpath",
        "policy.conf.allow names keys that load code (docs/policy.md)",
    ),
    none("livy.server.session.manage.*", THREADS),
    none(
        "livy.server.heartbeat-watchdog.interval",
        "session.watch_interval is how often heartbeats are looked at",
    ),
    none(
        "livy.cache-log.size",
        "log.max_bytes bounds a driver's log, in bytes",
    ),
    row(
        "livy.impersonation.enabled",
        By(rules::impersonation),
        &["access.impersonation", "hadoop.proxy_user"],
        "",
    ),
    row("livy.superusers", List, &["access.superusers"], ""),
    none(
        "livy.server.access-control.enabled",
        "always on (docs/access.md): what is off in Livy would be access.modify_users = [\"*\"] here",
    )
    .was(&["livy.server.access_control.enabled"]),
    row(
        "livy.server.access-control.allowed-users",
        By(rules::allowed_users),
        &["access.allowed_users"],
        "",
    ),
    none(
        "livy.server.access_control.users",
        "Livy ignores it; access.allowed_users says who may call",
    ),
    row(
        "livy.server.access-control.modify-users",
        By(rules::modify_users),
        &["access.modify_users"],
        "",
    ),
    row(
        "livy.server.access-control.view-users",
        By(rules::view_users),
        &["access.view_users"],
        "",
    ),
    row(
        "livy.server.auth.type",
        By(rules::auth_type),
        &["access.mode", "access.basic_file"],
        "`kerberos`, `ldap`; a filter of one's own can't run here",
    ),
    row(
        "livy.server.auth.kerberos.principal",
        By(rules::kerberos_principal),
        &["access.kerberos.principal"],
        "`_HOST` becomes `livy.server.host` where that is a name",
    ),
    row(
        "livy.server.auth.kerberos.keytab",
        By(rules::kerberos_keytab),
        &["access.kerberos.keytab"],
        "",
    ),
    none(
        "livy.server.auth.kerberos.name-rules",
        "access.kerberos.realms and access.kerberos.strip_realm; `hue/host@REALM` and the like are let in by access.kerberos.services",
    )
    .was(&["livy.server.auth.kerberos.name_rules"]),
    row(
        "livy.server.auth.ldap.url",
        By(rules::ldap_url),
        &["access.ldap.url", "access.ldap.starttls"],
        "TLS comes before any password",
    ),
    row(
        "livy.server.auth.ldap.base-dn",
        By(rules::ldap_base_dn),
        &["access.ldap.user_dn"],
        "users are `uid={user},BASE`",
    ),
    row(
        "livy.server.auth.ldap.username-domain",
        By(rules::ldap_domain),
        &[
            "access.ldap.user_base",
            "access.ldap.user_filter",
            "access.ldap.user_attribute",
        ],
        "with a base DN part of `access.ldap.user_dn`",
    ),
    none(
        "livy.server.auth.ldap.enable-start-tls",
        "on by default: access.ldap.starttls",
    ),
    none(
        "livy.server.auth.ldap.security-authentication",
        "users bind by name and password",
    ),
    none("livy.server.auth.*.class", FILTER),
    secret("livy.server.auth.*.param.*", FILTER),
    row(
        "livy.server.launch.kerberos.principal",
        By(rules::launch_principal),
        &["hadoop.principal"],
        "`_HOST` becomes `livy.server.host` where that is a name",
    ),
    row(
        "livy.server.launch.kerberos.keytab",
        By(rules::launch_keytab),
        &["hadoop.keytab"],
        "drivers then act for their users always",
    ),
    row(
        "livy.server.launch.kerberos.refresh-interval",
        Span,
        &["hadoop.renew_interval"],
        "",
    )
    .was(&["livy.server.launch.kerberos.refresh_interval"]),
    none(
        "livy.server.launch.kerberos.kinit-fail-threshold",
        "a ticket is tried for each hadoop.retry_interval, without end",
    )
    .was(&["livy.server.launch.kerberos.kinit_fail_threshold"]),
    none("livy.server.recovery.*", STORE),
    none(
        "livy.server.ha.*",
        "one server has a state directory; sessions outlive its restart",
    ),
    none("livy.server.zookeeper.url", STORE),
    secret("livy.server.zk.*.password", STORE),
    none("livy.server.zk.*", STORE),
    none("livy.server.hdfs.safe-mode.*", STORE),
    row(
        "livy.server.yarn.poll-interval",
        By(rules::yarn_poll),
        &["cluster.poll_interval"],
        "one request for all applications",
    ),
    row(
        "livy.server.yarn.app-lookup-timeout",
        By(rules::yarn_lookup),
        &["cluster.lookup_timeout"],
        "",
    ),
    none("livy.server.yarn.app-leakage.*", LEAKAGE),
    row(
        "livy.server.kubernetes.poll-interval",
        By(rules::kubernetes_poll),
        &["cluster.poll_interval"],
        "pods are watched; it is for those that are not seen",
    ),
    row(
        "livy.server.kubernetes.app-lookup-timeout",
        By(rules::kubernetes_lookup),
        &["cluster.lookup_timeout"],
        "",
    ),
    none(
        "livy.server.kubernetes.app-lookup.*",
        "one watch follows all pods",
    ),
    none("livy.server.kubernetes.app-leakage.*", LEAKAGE),
    none("livy.server.kubernetes.oauthTokenFile", KUBECONFIG),
    secret("livy.server.kubernetes.oauthTokenValue", KUBECONFIG),
    none("livy.server.kubernetes.caCertFile", KUBECONFIG),
    none("livy.server.kubernetes.clientKeyFile", KUBECONFIG),
    none("livy.server.kubernetes.clientCertFile", KUBECONFIG),
    none("livy.server.kubernetes.ingress.*", INGRESS),
    none("livy.server.kubernetes.grafana.*", GRAFANA),
    none("livy.server.kubernetes.spark.*", GRAFANA),
    row("livy.rsc.server.idle-timeout", Span, &["driver.orphan_grace"], "")
        .was(&["livy.rsc.server.idle_timeout"]),
    row(
        "livy.rsc.server.connect.timeout",
        Span,
        &["session.start_timeout"],
        "until the session is ready",
    ),
    row(
        "livy.rsc.retained-statements",
        Count(500),
        &["statement.kept"],
        "500 at least",
    )
    .was(&["livy.rsc.retained_statements"]),
    row(
        "livy.rsc.sql.num-rows",
        By(rules::sql_rows),
        &["sql.max_rows", "sql.max_rows_ceiling"],
        "",
    ),
    none(
        "livy.rsc.retained.share-variables",
        "job.kept and job.kept_bytes bound what is kept of jobs",
    ),
    none("livy.rsc.job-cancel.trigger-interval", CANCEL).was(&["livy.rsc.job_cancel.trigger_interval"]),
    none("livy.rsc.job-cancel.timeout", CANCEL).was(&["livy.rsc.job_cancel.timeout"]),
    none("livy.rsc.jars", SHIPPED),
    none("livy.rsc.sparkr.package", SHIPPED),
    none("livy.rsc.pyspark.archives", SHIPPED),
    none("livy.rsc.driver-class", SHIPPED).was(&["livy.rsc.driver_class"]),
    none("livy.rsc.session.kind", "a request says its session's kind"),
    none(
        "livy.rsc.proxy-user",
        "a request says its proxyUser, where access.impersonation is on",
    )
    .was(&["livy.rsc.proxy_user"]),
    none("livy.rsc.client.auth.id", RPC),
    secret(
        "livy.rsc.client.auth.secret",
        "each driver gets a secret of its own",
    ),
    none("livy.rsc.client.shutdown-timeout", RPC).was(&["livy.rsc.client.shutdown_timeout"]),
    none("livy.rsc.client.connect.timeout", RPC),
    none("livy.rsc.channel.log.level", RPC),
    none("livy.rsc.launcher.address", RPC),
    none(
        "livy.rsc.launcher.port.range",
        "one port, that of link.listen, takes all drivers' calls",
    ),
    none(
        "livy.rsc.rpc.max.size",
        "link.max_frame and output.max_bytes bound what drivers send",
    ),
    none("livy.rsc.rpc.*", RPC),
    none("livy.rsc.secret.bits", RPC),
    none("livy.client.http.*", CLIENT),
    none(
        "livy.server.thrift.*",
        "there is no Thrift or JDBC server: SQL goes through sessions of kind sql",
    ),
    none(
        "spark.*",
        "it is Spark's conf: write what is needed into spark.conf",
    ),
    row(
        "spark-blacklist.conf",
        List,
        &["policy.conf.deny"],
        "compared without regard to case",
    ),
    none("livy-env.sh", HADOOP),
    none("log4j*", LOGS),
];

/// A key's row, by its name or an earlier one. A row for this very key comes before one with a `*`.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    let own = |row: &&Row| row.key == key || row.old.contains(&key);
    ROWS.iter()
        .find(own)
        .or_else(|| ROWS.iter().find(|row| matches(row.key, key)))
}

/// Whether a name with a `*` in it is this key's.
fn matches(pattern: &str, key: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == key;
    };
    let Some(after) = key.strip_prefix(start) else {
        return false;
    };
    let mut ends = after
        .char_indices()
        .map(|(at, _)| at)
        .chain([after.len()])
        .skip(1);
    ends.any(|at| after.get(at..).is_some_and(|after| matches(rest, after)))
}

/// The known key that looks most like this one.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let names = ROWS.iter().map(|row| row.key).filter(|name| !name.contains('*'));
    let (distance, name) = names.map(|name| (strsim::levenshtein(key, name), name)).min()?;
    (distance <= key.len() / 5).then_some(name)
}

/// The table of docs/from-livy.md.
#[must_use]
pub fn table() -> String {
    let code = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        keys.join(", ")
    };
    let row = |row: &Row| {
        let old = match row.old {
            [] => String::new(),
            old => format!(", once {}", code(old)),
        };
        let here = match row.how {
            Nothing => "–".to_owned(),
            Secret => "–, and it is never shown".to_owned(),
            _ => code(row.to),
        };
        format!("| `{}`{old} | {here} | {} |\n", row.key, row.about)
    };
    let head = "| Livy's key, or file | here | what is different, or why there is none |\n|---|---|---|\n";
    head.to_owned() + &ROWS.iter().map(row).collect::<String>()
}
