//! Checks of the configuration as a whole. Each table is taken apart completely, so that a new key can't be forgotten here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::check_access::{check_access, check_audit};
use super::check_callers;
use super::check_hadoop::{check_conf_dirs, check_hadoop, check_keytabs};
use super::check_policy::{check_quotas, check_rules};
use super::error::ConfigError;
use super::keys::{
    Access, Cluster, DeployMode, Driver, Events, Files, Gpu, Job, Limits, Link, Log, Output, PolicyConf,
    Pool, Profile, ResultStreams, Retention, RunAs, RunAsMode, Server, Session, Shutdown, Spark, Sql,
    Statement, Store, Upload, Yarn,
};
use super::sources::Origins;
use super::values::{Size, Span};
use super::{Config, Policy};

/// The least `statement.kept`: clients page back through so many.
const KEPT_LEAST: usize = 500;

/// What a frame has beside a result's body: at most 1 MiB of header (docs/link.md), and the lengths.
const FRAME_OVERHEAD: u64 = 2 << 20;

/// The least `driver.memory_max` and `driver.pids_max`: with less no driver starts.
const MEMORY_LEAST: Size = Size::mib(256);
const PIDS_LEAST: u64 = 128;

pub(super) struct Fail<'a>(&'a Origins);

impl Fail<'_> {
    pub(super) fn because<T>(&self, key: &str, reason: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            place: self.0.place(key),
            key: key.to_owned(),
            reason: reason.into(),
        })
    }

    pub(super) fn positive(&self, spans: &[(&str, Span)]) -> Result<(), ConfigError> {
        match spans.iter().find(|(_, span)| span.positive().is_none()) {
            Some((key, _)) => self.because(key, "must be longer than 0s"),
            None => Ok(()),
        }
    }

    pub(super) fn at_least_one(&self, numbers: &[(&str, usize)]) -> Result<(), ConfigError> {
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((key, _)) => self.because(key, "must be at least 1"),
            None => Ok(()),
        }
    }

    pub(super) fn at_least(&self, key: &str, size: Size, least: Size) -> Result<(), ConfigError> {
        if size < least {
            self.because(key, format!("must be at least {least}"))
        } else {
            Ok(())
        }
    }

    pub(super) fn plain(&self, texts: &[(&str, &str)]) -> Result<(), ConfigError> {
        match texts.iter().find(|(_, text)| text.chars().any(char::is_control)) {
            Some((key, _)) => self.because(key, "must not have control characters"),
            None => Ok(()),
        }
    }

    pub(super) fn patterns<'p>(
        &self,
        key: &str,
        patterns: impl IntoIterator<Item = &'p String>,
    ) -> Result<(), ConfigError> {
        let odd = |pattern: &&String| {
            let start = pattern.strip_suffix('*').unwrap_or(pattern);
            start.chars().any(|c| c == '*' || c.is_whitespace())
        };
        match patterns.into_iter().find(odd) {
            Some(_) => self.because(key, "a `*` may stand at the end only, and keys have no blanks"),
            None => Ok(()),
        }
    }

    /// A name of the administrator's, of a table.
    pub(super) fn name(&self, key: &str, name: &str) -> Result<(), ConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_plain) {
            return self.because(key, "a name has letters, digits, - and _ only");
        }
        Ok(())
    }

    pub(super) fn absolute(&self, key: &str, paths: &[PathBuf]) -> Result<(), ConfigError> {
        match paths.iter().find(|path| !path.is_absolute()) {
            Some(path) => self.because(key, format!("{path:?} is not an absolute path")),
            None => Ok(()),
        }
    }
}

/// Gives `server.state_dir` its default and makes it absolute.
pub(super) fn resolve(
    config: &mut Config,
    environment: &[(String, String)],
    origins: &Origins,
) -> Result<(), ConfigError> {
    let fail = Fail(origins);
    let absolute = |name: &str| {
        let (_, value) = environment.iter().find(|(key, _)| key == name)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    let state_dir = &mut config.server.state_dir;
    if state_dir.as_os_str().is_empty() {
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        match base {
            Some(base) => *state_dir = base.join("firesteel"),
            None => {
                return fail.because(
                    "server.state_dir",
                    "is empty, and neither XDG_STATE_HOME nor HOME is set",
                );
            }
        }
    }
    match std::path::absolute(state_dir.as_path()) {
        Ok(path) => *state_dir = path,
        Err(error) => return fail.because("server.state_dir", format!("cannot be made absolute: {error}")),
    }
    Ok(())
}

/// Checks values against their bounds and against one another.
pub(super) fn check(config: &Config, origins: &Origins) -> Result<(), ConfigError> {
    let Config {
        server,
        store,
        retention,
        spark,
        hadoop,
        conf_dir,
        driver,
        run_as,
        session,
        batch,
        cluster,
        upload,
        statement,
        job: Job { kept, kept_bytes: _ },
        output,
        events: Events {
            replay_bytes,
            clients,
        },
        result,
        gpu,
        profile,
        pool,
        sql,
        log,
        limits,
        link,
        files: Files { allow },
        policy: Policy { conf, rule },
        quota,
        access,
        audit,
        shutdown: Shutdown { sessions: _ },
    } = config;
    let fail = Fail(origins);
    check_server(server, &fail)?;
    check_spark(spark, &fail)?;
    check_hadoop(config, hadoop, &fail)?;
    check_conf_dirs(conf_dir, &fail)?;
    check_driver(driver, &fail)?;
    check_run_as(run_as, access, &fail)?;
    check_session(session, statement, &fail)?;
    fail.positive(&[("batch.ended_shown", batch.ended_shown)])?;
    fail.at_least_one(&[("job.kept", *kept)])?;
    check_cluster(cluster, &fail)?;
    check_upload(upload, &fail)?;
    check_kept(store, retention, &fail)?;
    check_sizes(output, log, link, limits, &fail)?;
    fail.at_least("events.replay_bytes", *replay_bytes, Size::kib(4))?;
    fail.at_least_one(&[("events.clients", *clients)])?;
    check_limits(sql, limits, &fail)?;
    check_result(result, &fail)?;
    check_gpu(gpu, &fail)?;
    check_profiles(profile, &fail)?;
    check_pool(pool, profile, spark, &fail)?;
    fail.at_least_one(&[("batch.ended_kept", batch.ended_kept)])?;
    fail.absolute("files.allow", allow)?;
    let PolicyConf { mode: _, deny, allow } = conf;
    for (key, patterns) in [("policy.conf.deny", deny), ("policy.conf.allow", allow)] {
        fail.patterns(key, patterns)?;
    }
    check_audit(audit, &fail)?;
    check_rules(rule, &fail)?;
    check_quotas(quota, &fail)?;
    check_access(access, server, &fail)
}

fn check_server(server: &Server, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Server {
        listen: _,
        hosts,
        base_path,
        forwarded: _,
        cors,
        plain_http: _,
        unix_socket,
        state_dir: _,
        workers,
        header_timeout,
        body_timeout,
        keep_alive,
        write_timeout,
        connections,
        connections_per_address: _,
        shutdown_grace: _,
        tls,
    } = server;
    check_callers::tls(tls, fail)?;
    if !unix_socket.as_os_str().is_empty() {
        fail.absolute("server.unix_socket", std::slice::from_ref(unix_socket))?;
    }
    let odd = |host: &&String| {
        let name = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let literal = name.parse::<std::net::Ipv6Addr>().is_ok();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !literal && (name.is_empty() || !name.chars().all(word))
    };
    if let Some(host) = hosts.iter().find(odd) {
        return fail.because(
            "server.hosts",
            format!("{host:?} is not a bare host name (no scheme, port, path or `*`)"),
        );
    }
    if let Some(origin) = cors.iter().find(|origin| !is_origin(origin)) {
        return fail.because(
            "server.cors",
            format!("{origin:?} is no origin as browsers write it, such as \"https://lab.example.org\": scheme, name in lower case, and the port unless it is the scheme's own"),
        );
    }
    let segment = |part: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(word)
    };
    let well_formed = base_path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(segment));
    if !base_path.is_empty() && !well_formed {
        let reason =
            format!("{base_path:?} must start with `/`, not end with it, and hold plain path segments");
        return fail.because("server.base_path", reason);
    }
    fail.at_least_one(&[("server.workers", *workers)])?;
    fail.positive(&[
        ("server.header_timeout", *header_timeout),
        ("server.body_timeout", *body_timeout),
        ("server.keep_alive", *keep_alive),
        ("server.write_timeout", *write_timeout),
    ])?;
    fail.at_least_one(&[("server.connections", *connections)])
}

/// Whether browsers would write this origin so (RFC 6454, 6.2): no path, no `*`, and no port that goes without saying.
fn is_origin(origin: &str) -> bool {
    let (own_port, rest) = match origin.split_once("://") {
        Some(("http", rest)) => (":80", rest),
        Some(("https", rest)) => (":443", rest),
        _ => return false,
    };
    let (name, port) = match rest.rfind(':').filter(|at| !rest[*at..].contains(']')) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = match literal {
        Some(literal) => literal
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|ip| ip.to_string() == literal),
        None => !name.is_empty() && name.chars().all(word),
    };
    let number: Option<u16> = port.strip_prefix(':').and_then(|port| port.parse().ok());
    let is_port =
        port.is_empty() || (port != own_port && number.is_some_and(|number| port == format!(":{number}")));
    is_name && is_port
}

fn check_spark(spark: &Spark, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Spark {
        home,
        python,
        master,
        deploy_mode,
        hive: _,
        local_ip,
        conf,
    } = spark;
    if !home.as_os_str().is_empty() {
        fail.absolute("spark.home", std::slice::from_ref(home))?;
    }
    if master.trim().is_empty() {
        return fail.because("spark.master", "must not be empty");
    }
    if *deploy_mode == DeployMode::Cluster && !spark.is_yarn() {
        return fail.because(
            "spark.deploy_mode",
            format!(
                "\"cluster\" works with spark.master = \"yarn\" only, not with {master:?} (docs/clusters.md)"
            ),
        );
    }
    fail.plain(&[
        ("spark.python", python),
        ("spark.master", master),
        ("spark.local_ip", local_ip),
    ])?;
    if !local_ip.is_empty() && local_ip.parse::<std::net::IpAddr>().is_err() {
        return fail.because("spark.local_ip", format!("{local_ip:?} is no IP address"));
    }
    let odd = |key: &&String| key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control());
    match conf.keys().find(odd) {
        Some(key) => fail.because(
            "spark.conf",
            format!("{key:?} is no conf key: it is empty or has blanks"),
        ),
        None => Ok(()),
    }
}

fn check_driver(driver: &Driver, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Driver {
        orphan_grace,
        stop_grace: _,
        kill_grace: _,
        oom_score_adj,
        background_nice,
        max_result_percent,
        class_archive: _,
        class_archive_delay: _,
        class_archive_bytes: _,
        quick_jvm: _,
        warm_up: _,
        memory_max,
        cpu_percent: _,
        pids_max,
        disk_max: _,
        watch_interval,
        cgroups: _,
        env,
        env_pass,
    } = driver;
    fail.positive(&[
        ("driver.orphan_grace", *orphan_grace),
        ("driver.watch_interval", *watch_interval),
    ])?;
    if !memory_max.is_empty() {
        fail.at_least("driver.memory_max", *memory_max, MEMORY_LEAST)?;
    }
    if *pids_max != 0 && *pids_max < PIDS_LEAST {
        return fail.because(
            "driver.pids_max",
            format!("must be at least {PIDS_LEAST}, which a driver needs to start, or 0"),
        );
    }
    if !(-1000..=1000).contains(oom_score_adj) {
        return fail.because("driver.oom_score_adj", "must be from -1000 to 1000");
    }
    if *background_nice > 19 {
        return fail.because("driver.background_nice", "must be from 0 to 19");
    }
    if *max_result_percent > 100 {
        return fail.because("driver.max_result_percent", "must be from 0 to 100");
    }
    let odd = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    for (key, names) in [
        ("driver.env", env.keys().collect::<Vec<_>>()),
        ("driver.env_pass", env_pass.iter().collect()),
    ] {
        if let Some(name) = names.into_iter().find(odd) {
            return fail.because(key, format!("{name:?} is no name of a variable"));
        }
    }
    match env.values().any(|value| value.contains('\0')) {
        true => fail.because("driver.env", "a value must not have NUL characters"),
        false => Ok(()),
    }
}

fn check_run_as(run_as: &RunAs, access: &Access, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let RunAs {
        mode,
        min_uid: _,
        users,
        keytabs,
        principal,
    } = run_as;
    let is_name =
        |name: &str| !name.is_empty() && !name.contains([':', '/']) && !name.chars().any(char::is_control);
    if let Some((user, unix)) = users
        .iter()
        .find(|(user, unix)| user.is_empty() || !is_name(unix))
    {
        return fail.because("run_as.users", format!("{user:?} = {unix:?} names no user"));
    }
    check_keytabs(*mode, keytabs, principal, fail)?;
    if *mode == RunAsMode::Owner && access.mode.is_open() {
        return fail.because(
            "run_as.mode",
            "drivers can run as their users only where callers prove who they are: set access.mode",
        );
    }
    Ok(())
}

fn check_session(session: &Session, statement: &Statement, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Session {
        idle_timeout: _,
        start_timeout,
        recover_timeout,
        ttl: _,
        ended_shown,
        add_timeout,
        watch_interval,
    } = session;
    fail.positive(&[
        ("session.start_timeout", *start_timeout),
        ("session.recover_timeout", *recover_timeout),
        ("session.ended_shown", *ended_shown),
        ("session.add_timeout", *add_timeout),
        ("session.watch_interval", *watch_interval),
    ])?;
    let Statement {
        answer_within: _,
        interrupt_again,
        cancel_grace,
        kept,
    } = statement;
    fail.positive(&[
        ("statement.interrupt_again", *interrupt_again),
        ("statement.cancel_grace", *cancel_grace),
    ])?;
    if *kept < KEPT_LEAST {
        return fail.because(
            "statement.kept",
            format!("must be at least {KEPT_LEAST}, which clients page back through"),
        );
    }
    Ok(())
}

fn check_upload(upload: &Upload, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Upload {
        max_bytes: _,
        owner_bytes,
        total_bytes,
        at_once,
        kept: _,
    } = upload;
    if owner_bytes > total_bytes {
        return fail.because(
            "upload.owner_bytes",
            format!("is over upload.total_bytes = {total_bytes}"),
        );
    }
    fail.at_least_one(&[("upload.at_once", *at_once)])
}

fn check_kept(store: &Store, retention: &Retention, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Store {
        durability: _,
        busy_timeout,
    } = store;
    let Retention {
        sessions,
        age: _,
        idempotency,
        interval,
    } = retention;
    fail.positive(&[
        ("store.busy_timeout", *busy_timeout),
        ("retention.idempotency", *idempotency),
        ("retention.interval", *interval),
    ])?;
    fail.at_least_one(&[("retention.sessions", *sessions)])
}

fn check_sizes(
    output: &Output,
    log: &Log,
    link: &Link,
    limits: &Limits,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Output {
        max_bytes,
        inline_bytes: _,
        session_bytes,
        total_bytes,
        live_interval: _,
        live_bytes,
        rich: _,
    } = output;
    let Link {
        max_frame,
        keep_bytes: _,
        outbox_bytes: _,
        hello_timeout,
    } = link;
    let Log {
        max_bytes: log_bytes,
        level,
        format: _,
        access: _,
    } = log;
    fail.at_least("output.max_bytes", *max_bytes, Size::kib(4))?;
    fail.at_least("output.live_bytes", *live_bytes, Size::kib(4))?;
    if session_bytes > total_bytes {
        return fail.because(
            "output.session_bytes",
            format!("is over output.total_bytes = {total_bytes}"),
        );
    }
    fail.at_least("log.max_bytes", *log_bytes, Size::kib(64))?;
    fail.positive(&[("link.hello_timeout", *hello_timeout)])?;
    if level.trim().is_empty() {
        return fail.because("log.level", "must not be empty");
    }
    fail.plain(&[("log.level", level)])?;
    if max_frame.bytes() > u64::from(u32::MAX) {
        return fail.because(
            "link.max_frame",
            "must be below 4GiB: a frame's length is a 32-bit number",
        );
    }
    let needed = max_bytes.bytes() * 2 + FRAME_OVERHEAD;
    if max_frame.bytes() < needed {
        let least = Size::mib(needed.div_ceil(1 << 20));
        let reason = format!(
            "a result of {max_bytes} does not fit link.max_frame = {max_frame}: as JSON it may be twice as long, so \
             link.max_frame must be at least {least}"
        );
        return fail.because("output.max_bytes", reason);
    }
    let request_body = limits.request_body;
    if max_frame.bytes() < request_body.bytes() + FRAME_OVERHEAD {
        let reason = format!("a statement of {request_body} does not fit link.max_frame = {max_frame}");
        return fail.because("limits.request_body", reason);
    }
    Ok(())
}

fn check_gpu(gpu: &Gpu, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Gpu {
        devices: _,
        sharing: _,
        owner_limit: _,
        limit: _,
        wait,
        look_interval,
        idle_timeout,
        idle_warning,
        idle_action: _,
        rapids,
    } = gpu;
    fail.positive(&[("gpu.wait", *wait), ("gpu.look_interval", *look_interval)])?;
    if idle_timeout.positive().is_some() && idle_warning >= idle_timeout {
        return fail.because("gpu.idle_warning", "must be shorter than gpu.idle_timeout");
    }
    fail.plain(&[("gpu.rapids", rapids)])?;
    let is_coordinate = rapids.split(':').filter(|part| !part.is_empty()).count() == 3;
    if !rapids.is_empty() && !rapids.starts_with('/') && !is_coordinate {
        return fail.because(
            "gpu.rapids",
            "is neither the absolute path of a jar nor a Maven coordinate, such as com.nvidia:rapids-4-spark_2.13:26.06.0",
        );
    }
    Ok(())
}

fn check_profiles(profiles: &BTreeMap<String, Profile>, fail: &Fail<'_>) -> Result<(), ConfigError> {
    for (name, Profile { about, conf, pool: _ }) in profiles {
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() || !is_name {
            return fail.because(
                &format!("profile.{name}"),
                "a profile's name has letters, digits, - and _ only",
            );
        }
        fail.plain(&[(&format!("profile.{name}.about"), about)])?;
        let key_of_conf = format!("profile.{name}.conf");
        let bad = conf.keys().find(|key| {
            key.is_empty()
                || key
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '=')
        });
        if let Some(key) = bad {
            return fail.because(
                &key_of_conf,
                format!("{key:?} is no conf key: it is empty, or has blanks or `=`"),
            );
        }
        if let Some((key, _)) = conf.iter().find(|(_, value)| value.contains('\0')) {
            return fail.because(&key_of_conf, format!("the value of {key} has a NUL character"));
        }
        if conf.contains_key("firesteel.profile") {
            return fail.because(
                &key_of_conf,
                "a profile can't choose another one (firesteel.profile)",
            );
        }
    }
    Ok(())
}

fn check_pool(
    pool: &Pool,
    profiles: &BTreeMap<String, Profile>,
    spark: &Spark,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Pool {
        size,
        owners,
        owner_idle,
        imports,
        first_job: _,
        refill_delay: _,
        max_age: _,
        memory_available: _,
    } = pool;
    let is_name = |part: &str| {
        let mut characters = part.chars();
        let first = characters.next();
        first.is_some_and(|c| c.is_alphabetic() || c == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_')
    };
    if let Some(import) = imports.iter().find(|import| !import.split('.').all(is_name)) {
        return fail.because("pool.imports", format!("{import:?} is no module's name"));
    }
    fail.at_least_one(&[("pool.owners", *owners)])?;
    fail.positive(&[("pool.owner_idle", *owner_idle)])?;
    if spark.deploy_mode == DeployMode::Cluster {
        let mut sizes = vec![("pool.size".to_owned(), *size)];
        sizes.extend(
            profiles
                .iter()
                .map(|(name, profile)| (format!("profile.{name}.pool"), profile.pool)),
        );
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size > 0) {
            return fail.because(
                key,
                "warm drivers run on this host: not with spark.deploy_mode = \"cluster\"",
            );
        }
    }
    Ok(())
}

fn check_cluster(cluster: &Cluster, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Cluster {
        poll_interval,
        timeout,
        longest_wait,
        lookup_timeout,
        max_answer,
        yarn: Yarn {
            resource_manager,
            user,
        },
    } = cluster;
    fail.positive(&[
        ("cluster.poll_interval", *poll_interval),
        ("cluster.timeout", *timeout),
        ("cluster.longest_wait", *longest_wait),
        ("cluster.lookup_timeout", *lookup_timeout),
    ])?;
    fail.at_least("cluster.max_answer", *max_answer, Size::kib(64))?;
    fail.plain(&[("cluster.yarn.user", user)])?;
    let is_http = |address: &&String| {
        let rest = address
            .strip_prefix("http://")
            .or_else(|| address.strip_prefix("https://"));
        rest.is_none_or(|rest| {
            rest.is_empty() || rest.starts_with(['/', ':']) || rest.contains(['@', ' ', '?', '#'])
        })
    };
    match resource_manager.iter().find(is_http) {
        Some(address) => fail.because(
            "cluster.yarn.resource_manager",
            format!("{address:?} is no address such as \"http://rm:8088\""),
        ),
        None => Ok(()),
    }
}

fn check_result(result: &ResultStreams, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let ResultStreams {
        kept: _,
        at_once,
        total_at_once,
        max_rows: _,
        max_bytes: _,
        stall_timeout,
    } = result;
    fail.at_least_one(&[
        ("result.at_once", *at_once),
        ("result.total_at_once", *total_at_once),
    ])?;
    fail.positive(&[("result.stall_timeout", *stall_timeout)])
}

fn check_limits(sql: &Sql, limits: &Limits, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Sql {
        max_rows,
        max_rows_ceiling,
    } = sql;
    let Limits {
        request_body,
        sessions,
        sessions_queued: _,
        batches,
        batches_queued: _,
        starting: _,
        starting_session,
        starting_batch,
        statements_waiting,
        name_bytes,
        code_bytes,
        query_bytes,
        conf_keys,
        conf_value_bytes,
        list_entries,
        args_bytes,
        page,
        shares,
    } = limits;
    fail.at_least_one(&[
        ("sql.max_rows", *max_rows),
        ("limits.sessions", *sessions),
        ("limits.batches", *batches),
        ("limits.statements_waiting", *statements_waiting),
        ("limits.name_bytes", *name_bytes),
        ("limits.conf_keys", *conf_keys),
        ("limits.list_entries", *list_entries),
        ("limits.page", *page),
        ("limits.shares", *shares),
    ])?;
    fail.positive(&[
        ("limits.starting_session", *starting_session),
        ("limits.starting_batch", *starting_batch),
    ])?;
    if max_rows > max_rows_ceiling {
        return fail.because(
            "sql.max_rows",
            format!("is over sql.max_rows_ceiling = {max_rows_ceiling}"),
        );
    }
    fail.at_least("limits.code_bytes", *code_bytes, Size::kib(1))?;
    fail.at_least("limits.query_bytes", *query_bytes, Size::kib(1))?;
    fail.at_least("limits.conf_value_bytes", *conf_value_bytes, Size::kib(1))?;
    fail.at_least("limits.args_bytes", *args_bytes, Size::kib(1))?;
    if *args_bytes > Size::mib(1) {
        let reason = "must be at most 1MiB: Linux gives a program's arguments and environment 2 MiB together";
        return fail.because("limits.args_bytes", reason);
    }
    fail.at_least("limits.request_body", *request_body, Size::kib(1))
}
