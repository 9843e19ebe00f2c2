//! Checks of who may call and what callers may do, and of the audit log. Called by `mod.rs`; calls `callers.rs`, `logins.rs` and `provider.rs`.

use std::net::SocketAddr;
use std::path::Path;

use super::Fail;
use super::callers;
use super::logins::{check_kerberos, check_ldap};
use super::provider::{check_jwt, check_oidc};
use crate::config::error::ConfigError;
use crate::config::keys::{Access, AccessMode, Audit, Server, UserCase};
use crate::config::modes::Modes;
use crate::config::values::Size;

pub(super) fn check_access(access: &Access, server: &Server, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Access {
        mode,
        basic_file,
        csrf: _,
        lists: _,
        impersonation: _,
        impersonate,
        superusers,
        modify_users,
        view_users,
        allowed_users,
        groups,
        user_case,
        cache: _,
        token,
        login,
        proxy,
        throttle,
        ldap,
        kerberos,
        jwt,
        oidc,
    } = access;
    let is_lower = *user_case == UserCase::Lower;
    for (key, list) in [
        ("access.superusers", superusers),
        ("access.modify_users", modify_users),
        ("access.view_users", view_users),
        ("access.allowed_users", allowed_users),
    ] {
        check_names(key, list, is_lower, fail)?;
    }
    if superusers.iter().any(|entry| entry == "*") {
        return fail.because("access.superusers", "`*` would make everybody a superuser");
    }
    for (name, users) in groups.iter() {
        check_names("access.groups", users, is_lower, fail)?;
        if name.is_empty()
            || name.starts_with('@')
            || users.iter().any(|user| user == "*" || user.starts_with('@'))
        {
            return fail.because(
                "access.groups",
                format!("{name:?}: a group has a name without `@`, and users by name"),
            );
        }
    }
    for (who, whom) in impersonate.iter() {
        check_names("access.impersonate", whom, is_lower, fail)?;
        check_names("access.impersonate", std::slice::from_ref(who), is_lower, fail)?;
        let unknown = whom
            .iter()
            .filter_map(|entry| entry.strip_prefix('@'))
            .find(|group| !groups.contains_key(*group));
        if let Some(group) = unknown {
            return fail.because(
                "access.impersonate",
                format!("{who:?} as \"@{group}\": only the groups of access.groups are known of somebody who does not call"),
            );
        }
        if who == "*" {
            return fail.because(
                "access.impersonate",
                "`*` can't act as others: name users or groups",
            );
        }
    }
    callers::tokens_and_logins(token, login, fail)?;
    callers::proxy(proxy, mode, server, fail)?;
    callers::throttle(throttle, fail)?;
    if let Err(exposed) = may_listen(mode, server, *server.listen) {
        return fail.because("server.listen", exposed.to_string());
    }
    for mode in mode.iter() {
        match mode {
            AccessMode::Basic if basic_file == Path::new("") => {
                return fail.because(
                    "access.basic_file",
                    "access.mode = \"basic\" needs a file of users; `firesteel passwd` makes one",
                );
            }
            AccessMode::Token if access.mode.len() == 1 => {
                return fail.because(
                    "access.mode",
                    "`token` alone lets nobody in: a token is made by somebody whom another way has let in; add one, such as \"basic\"",
                );
            }
            AccessMode::Basic | AccessMode::Token | AccessMode::Proxy => {}
            AccessMode::Ldap => check_ldap(ldap, fail)?,
            AccessMode::Kerberos => check_kerberos(kerberos, fail)?,
            AccessMode::Jwt => check_jwt(jwt, fail)?,
            AccessMode::Oidc => check_oidc(oidc, jwt, server, fail)?,
        }
    }
    Ok(())
}

/// Checks a list of users, groups as `@group` and `*`: an entry that no name can be is a mistake.
fn check_names(key: &str, list: &[String], is_lower: bool, fail: &Fail<'_>) -> Result<(), ConfigError> {
    for entry in list {
        let name = entry.strip_prefix('@');
        let bare = name.unwrap_or(entry);
        if bare.is_empty() || bare.trim() != bare || bare.chars().any(char::is_control) {
            return fail.because(
                key,
                format!("{entry:?}: a name must not be empty, and have no blanks around it and no control characters"),
            );
        }
        if is_lower && name.is_none() && entry.to_lowercase() != *entry {
            return fail.because(
                key,
                format!("{entry:?} is nobody's name with access.user_case = \"lower\""),
            );
        }
    }
    Ok(())
}

/// An address that others reach, and what would happen there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// Nobody is asked for a name.
    #[error(
        "{0} can be reached from other hosts, and access.mode = \"none\" lets everybody who reaches it run code as the \
         server's user: listen on 127.0.0.1, or set access.mode = \"basic\""
    )]
    Nameless(SocketAddr),
    /// Everybody on the way reads.
    #[error(
        "{0} can be reached from other hosts, and over plain HTTP everybody on the way reads passwords, code and results: set \
         server.tls.cert and server.tls.key, or listen on 127.0.0.1 behind a reverse proxy; where the network is private, \
         set server.plain_http = true"
    )]
    Readable(SocketAddr),
}

/// Without authentication only this host may reach the server, and without TLS, unless that is said; whoever made the socket.
pub(in crate::config) fn may_listen(
    mode: &Modes,
    server: &Server,
    address: SocketAddr,
) -> Result<(), Exposed> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if mode.is_open() {
        return Err(Exposed::Nameless(address));
    }
    if !server.tls.is_on() && !server.plain_http {
        return Err(Exposed::Readable(address));
    }
    Ok(())
}

pub(super) fn check_audit(audit: &Audit, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Audit {
        file,
        max_bytes,
        kept,
        reads: _,
        code: _,
        code_bytes: _,
        queue,
        strict: _,
    } = audit;
    if !file.as_os_str().is_empty() {
        fail.absolute("audit.file", std::slice::from_ref(file))?;
    }
    fail.at_least("audit.max_bytes", *max_bytes, Size::kib(4))?;
    fail.at_least_one(&[("audit.kept", *kept), ("audit.queue", *queue)])
}
