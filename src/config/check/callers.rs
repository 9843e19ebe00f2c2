//! Checks of TLS, of the ways in which callers prove who they are, and of what slows those who guess. Called by `mod.rs`.

use super::Fail;
use crate::config::error::ConfigError;
use crate::config::keys::{AccessMode, Login, Proxy, Server, Throttle, Tls, Token};
use crate::config::modes::Modes;
use crate::config::values::Span;

/// The most that one user's tokens or logins may be, since each is kept in memory.
const MOST: usize = 10_000;

pub(super) fn tls(tls: &Tls, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Tls {
        cert,
        key,
        client_ca,
        client_required,
        look_interval,
        handshake_timeout,
        hsts: _,
    } = tls;
    for (name, path) in [
        ("server.tls.cert", cert),
        ("server.tls.key", key),
        ("server.tls.client_ca", client_ca),
    ] {
        if !path.as_os_str().is_empty() {
            fail.absolute(name, std::slice::from_ref(path))?;
        }
    }
    let is_there = |path: &std::path::PathBuf| !path.as_os_str().is_empty();
    if is_there(cert) != is_there(key) {
        let missing = if is_there(cert) {
            "server.tls.key"
        } else {
            "server.tls.cert"
        };
        return fail.because(missing, "TLS needs both server.tls.cert and server.tls.key");
    }
    if is_there(client_ca) && !is_there(cert) {
        return fail.because(
            "server.tls.client_ca",
            "clients show certificates where the server does: set server.tls.cert and server.tls.key",
        );
    }
    if *client_required && !is_there(client_ca) {
        return fail.because(
            "server.tls.client_required",
            "needs the authorities of clients' certificates: set server.tls.client_ca",
        );
    }
    fail.positive(&[
        ("server.tls.look_interval", *look_interval),
        ("server.tls.handshake_timeout", *handshake_timeout),
    ])
}

pub(super) fn tokens_and_logins(token: &Token, login: &Login, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Token {
        age,
        max_age,
        per_user: tokens,
    } = token;
    let Login {
        age: login_age,
        idle,
        per_user: logins,
    } = login;
    fail.positive(&[
        ("access.token.age", *age),
        ("access.token.max_age", *max_age),
        ("access.login.age", *login_age),
        ("access.login.idle", *idle),
    ])?;
    if age > max_age {
        return fail.because("access.token.age", "is over access.token.max_age");
    }
    for (key, number) in [
        ("access.token.per_user", tokens),
        ("access.login.per_user", logins),
    ] {
        if !(1..=MOST).contains(number) {
            return fail.because(key, format!("must be from 1 to {MOST}"));
        }
    }
    Ok(())
}

pub(super) fn proxy(
    proxy: &Proxy,
    mode: &Modes,
    server: &Server,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Proxy {
        header,
        groups_header,
        groups,
        peers,
        certificates,
    } = proxy;
    fail.at_least_one(&[("access.proxy.groups", *groups)])?;
    let is_header = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !is_header(header) {
        return fail.because("access.proxy.header", format!("{header:?} is no header's name"));
    }
    if !groups_header.is_empty() && !is_header(groups_header) {
        return fail.because(
            "access.proxy.groups_header",
            format!("{groups_header:?} is no header's name"),
        );
    }
    for (key, names) in [
        ("access.proxy.peers", peers),
        ("access.proxy.certificates", certificates),
    ] {
        if names
            .iter()
            .any(|name| name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            return fail.because(key, "a name must not be empty or have blanks");
        }
    }
    if !mode.contains(&AccessMode::Proxy) {
        return Ok(());
    }
    let over_socket = !server.unix_socket.as_os_str().is_empty() && !peers.is_empty();
    let by_certificate = !server.tls.client_ca.as_os_str().is_empty() && !certificates.is_empty();
    if !over_socket && !by_certificate {
        return fail.because(
            "access.mode",
            "`proxy` believes a reverse proxy that has proved itself: set server.unix_socket and access.proxy.peers, or \
             server.tls.client_ca and access.proxy.certificates",
        );
    }
    Ok(())
}

pub(super) fn throttle(throttle: &Throttle, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Throttle {
        free: _,
        address_free: _,
        first_wait,
        longest_wait,
        user_free: _,
        user_delay,
        forget,
        entries,
    } = throttle;
    fail.positive(&[
        ("access.throttle.first_wait", *first_wait),
        ("access.throttle.forget", *forget),
    ])?;
    if first_wait > longest_wait {
        return fail.because(
            "access.throttle.longest_wait",
            "is under access.throttle.first_wait",
        );
    }
    if *user_delay > Span::secs(30) {
        return fail.because(
            "access.throttle.user_delay",
            "must be 30s at most: requests are held for so long",
        );
    }
    fail.at_least_one(&[("access.throttle.entries", *entries)])
}
