//! Checks of the server itself and of what it keeps. Called by `mod.rs`.

use super::logins::{is_this_host, scheme_and_host};
use super::{Fail, callers};
use crate::config::error::ConfigError;
use crate::config::keys::{Retention, Server, Store, Traces};

pub(super) fn check_server(server: &Server, fail: &Fail<'_>) -> Result<(), ConfigError> {
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
    callers::tls(tls, fail)?;
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

pub(super) fn check_traces(traces: &Traces, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Traces {
        endpoint,
        plaintext,
        sample,
        queue,
        interval,
        timeout,
    } = traces;
    if !(0.0..=1.0).contains(sample) {
        return fail.because("traces.sample", format!("{sample} is not from 0.0 to 1.0"));
    }
    fail.at_least_one(&[("traces.queue", *queue)])?;
    fail.positive(&[("traces.interval", *interval), ("traces.timeout", *timeout)])?;
    if endpoint.is_empty() {
        return Ok(());
    }
    match scheme_and_host(endpoint) {
        _ if endpoint.contains(['?', '#']) => {
            return fail.because("traces.endpoint", "has a query, which would be in the log");
        }
        Some(("https", _)) => {}
        Some(("http", host)) if *plaintext || is_this_host(host) => {}
        Some(("http", host)) => {
            let reason = format!(
                "traces would go to {host} for everybody on the way to read: use https, or set traces.plaintext = true if that is meant"
            );
            return fail.because("traces.endpoint", reason);
        }
        _ => {
            let reason = format!("{endpoint:?} is not such as \"http://127.0.0.1:4318\" (no user in it)");
            return fail.because("traces.endpoint", reason);
        }
    }
    if !cfg!(feature = "otel") {
        let reason = "this server is built without OpenTelemetry: build it with `--features otel`, or leave the key out";
        return fail.because("traces.endpoint", reason);
    }
    Ok(())
}

pub(super) fn check_kept(store: &Store, retention: &Retention, fail: &Fail<'_>) -> Result<(), ConfigError> {
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
