//! Checks of the ways that ask elsewhere who calls: LDAP and Kerberos here, JWT and OpenID Connect in `provider.rs`. Called by
//! `access.rs` for each way that `access.mode` lists.

use std::path::Path;

use super::Fail;
use crate::config::error::ConfigError;
use crate::config::keys::{Kerberos, Ldap};

/// The scheme and the host, without port and brackets, of `scheme://host:port/path`; none where it has a user or is no URL.
pub(super) fn scheme_and_host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    (!host.is_empty() && !authority.contains('@') && !url.contains(is_odd)).then_some((scheme, host))
}

/// Whether what is said to this host stays on it. A name other than `localhost` may be anybody's.
pub(super) fn is_this_host(host: &str) -> bool {
    let address: Result<std::net::IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

pub(super) fn check_ldap(ldap: &Ldap, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Ldap {
        url,
        starttls,
        plaintext,
        ca_file,
        bind_dn,
        bind_password_file,
        user_base,
        user_filter,
        user_dn,
        user_attribute,
        group_attribute,
        group_base,
        group_filter,
        group_name,
        groups,
        timeout,
        connections,
        cache: _,
    } = ldap;
    match scheme_and_host(url) {
        Some(("ldaps", _)) => {}
        Some(("ldap", _)) if *starttls => {}
        Some(("ldap", host)) if *plaintext || is_this_host(host) => {}
        Some(("ldap", host)) => {
            let reason = format!(
                "passwords would go to {host} for everybody on the way to read: turn starttls on, or set \
                 access.ldap.plaintext = true if that is meant"
            );
            return fail.because("access.ldap.starttls", reason);
        }
        _ => {
            let reason = "must be the directory's address, such as ldaps://ldap.example.com, without a user";
            return fail.because("access.ldap.url", reason);
        }
    }
    if !ca_file.as_os_str().is_empty() {
        fail.absolute("access.ldap.ca_file", std::slice::from_ref(ca_file))?;
    }
    match (user_base.is_empty(), user_dn.is_empty()) {
        (false, true) if user_filter.contains("{user}") => {}
        (false, true) => {
            return fail.because(
                "access.ldap.user_filter",
                "has no {user}, the name that was typed",
            );
        }
        (true, false) if user_dn.contains("{user}") => {}
        (true, false) => {
            return fail.because("access.ldap.user_dn", "has no {user}, the name that was typed");
        }
        _ => {
            let reason = "access.mode = \"ldap\" needs either access.ldap.user_base, where users are searched, or \
                          access.ldap.user_dn";
            return fail.because("access.ldap.user_base", reason);
        }
    }
    if bind_dn.is_empty() != (bind_password_file == Path::new("")) {
        let reason = "access.ldap.bind_dn and access.ldap.bind_password_file come together";
        return fail.because("access.ldap.bind_dn", reason);
    }
    if user_attribute.is_empty() || group_name.is_empty() {
        return fail.because("access.ldap", "user_attribute and group_name must not be empty");
    }
    if !group_base.is_empty() && !group_filter.contains("{dn}") && !group_filter.contains("{user}") {
        return fail.because("access.ldap.group_filter", "has neither {dn} nor {user}");
    }
    fail.plain(&[
        ("access.ldap.bind_dn", bind_dn),
        ("access.ldap.user_base", user_base),
        ("access.ldap.user_filter", user_filter),
        ("access.ldap.user_dn", user_dn),
        ("access.ldap.user_attribute", user_attribute),
        ("access.ldap.group_attribute", group_attribute),
        ("access.ldap.group_base", group_base),
        ("access.ldap.group_filter", group_filter),
        ("access.ldap.group_name", group_name),
    ])?;
    fail.positive(&[("access.ldap.timeout", *timeout)])?;
    fail.at_least_one(&[
        ("access.ldap.groups", *groups),
        ("access.ldap.connections", *connections),
    ])
}

pub(super) fn check_kerberos(kerberos: &Kerberos, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Kerberos {
        keytab,
        principal,
        realms,
        strip_realm: _,
        services,
        at_once,
    } = kerberos;
    if keytab == Path::new("") {
        let reason = "access.mode = \"kerberos\" needs the file with the key of access.kerberos.principal";
        return fail.because("access.kerberos.keytab", reason);
    }
    fail.absolute("access.kerberos.keytab", std::slice::from_ref(keytab))?;
    let is_whole = principal
        .split_once('/')
        .and_then(|(service, rest)| Some((service, rest.split_once('@')?)))
        .is_some_and(|(service, (host, realm))| ![service, host, realm].contains(&""));
    if !is_whole || principal.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let reason = "must be the server's name with its realm, such as HTTP/spark.example.com@EXAMPLE.COM";
        return fail.because("access.kerberos.principal", reason);
    }
    if realms.iter().any(|realm| realm.is_empty() || realm.contains('@')) {
        return fail.because("access.kerberos.realms", "a realm is a name such as EXAMPLE.COM");
    }
    for service in services {
        let parts: Vec<&str> = service.split('/').collect();
        let is_odd = |c: char| c == '@' || c.is_whitespace() || c.is_control();
        if parts.len() != 2 || parts.contains(&"") || service.contains(is_odd) {
            let reason =
                format!("{service:?} is no service such as \"hue/gateway.example.com\" or \"hue/*\"");
            return fail.because("access.kerberos.services", reason);
        }
    }
    fail.at_least_one(&[("access.kerberos.at_once", *at_once)])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn hosts_are_read_off_addresses() {
        for (url, expected) in [
            (
                "ldaps://ldap.example.com:636/x",
                Some(("ldaps", "ldap.example.com")),
            ),
            ("http://[::1]:80", Some(("http", "::1"))),
            ("ldap://localhost", Some(("ldap", "localhost"))),
            // Whose host is behind the @.
            ("http://localhost@evil.example.com/", None),
            ("http://localhost:1@evil.example.com/", None),
            ("http://local host/", None),
            ("ldap://", None),
            ("/etc/keys", None),
        ] {
            assert_eq!(scheme_and_host(url), expected, "{url}");
        }
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost"] {
            assert!(is_this_host(here), "{here}");
        }
        for other in ["10.0.0.1", "localhost.example.com", "0.0.0.0", ""] {
            assert!(!is_this_host(other), "{other}");
        }
    }

    /// What is said of keys below `access`; empty where all is well.
    pub(in crate::config) fn said(sets: &[&str]) -> String {
        let sets = sets.iter().filter_map(|set| set.split_once(' '));
        let loaded = Config::load(Sources {
            file: None,
            environment: vec![("HOME".to_owned(), "/home/x".to_owned())],
            sets: sets
                .map(|(key, value)| (format!("access.{key}"), value.to_owned()))
                .collect(),
        });
        loaded.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_a_way_is_said() {
        let ldap = [
            "mode ldap",
            "ldap.url ldaps://ldap.example.com",
            "ldap.user_base dc=x",
        ];
        let kerberos = [
            "mode kerberos",
            "kerberos.keytab /k",
            "kerberos.principal HTTP/a.example.com@EXAMPLE.COM",
        ];
        let jwt = [
            "mode jwt",
            "jwt.issuer https://id.example.com",
            "jwt.audience firesteel",
        ];
        for (well, changes) in [
            (
                ldap,
                [
                    ("ldap.url ldap.example.com", "must be the directory's address"),
                    (
                        "ldap.url http://ldap.example.com",
                        "must be the directory's address",
                    ),
                    (
                        "ldap.url ldap://a:b@ldap.example.com",
                        "must be the directory's address",
                    ),
                    ("ldap.user_base ", "needs either"),
                    ("ldap.user_dn uid={user}", "needs either"),
                    ("ldap.user_filter (uid=alice)", "has no {user}"),
                    ("ldap.bind_dn cn=x", "come together"),
                    ("ldap.ca_file x", "not an absolute path"),
                    ("ldap.timeout 0s", "longer than 0s"),
                    ("ldap.connections 0", "at least 1"),
                ],
            ),
            (
                kerberos,
                [
                    ("kerberos.keytab ", "needs the file"),
                    ("kerberos.keytab k", "not an absolute path"),
                    ("kerberos.principal ", "with its realm"),
                    ("kerberos.principal HTTP/a.example.com", "with its realm"),
                    ("kerberos.principal HTTP@EXAMPLE.COM", "with its realm"),
                    ("kerberos.principal HTTP/@EXAMPLE.COM", "with its realm"),
                    ("kerberos.principal HTTP/a b@EXAMPLE.COM", "with its realm"),
                    ("kerberos.realms a@b", "a realm is a name"),
                    ("kerberos.realms [\"\"]", "a realm is a name"),
                    ("kerberos.at_once 0", "at least 1"),
                ],
            ),
            (
                jwt,
                [
                    ("jwt.issuer ", "needs the `iss`"),
                    ("jwt.issuer http://id.example.com", "keys come from an https://"),
                    ("jwt.audience []", "needs the `aud`"),
                    (
                        "jwt.keys http://id.example.com/keys",
                        "keys come from an https://",
                    ),
                    ("jwt.keys keys.json", "keys come from an https://"),
                    ("jwt.algorithms none", "must be some of"),
                    ("jwt.algorithms RS256,HS256", "must be some of"),
                    ("jwt.algorithms []", "must be some of"),
                    ("jwt.user_claim ", "must not be empty"),
                    ("jwt.fetch_interval 0s", "longer than 0s"),
                ],
            ),
        ] {
            assert_eq!(said(&well), "");
            for (change, expected) in changes {
                let told = said(&[&well[..], &[change]].concat());
                assert!(told.contains(expected), "{change}: {told}");
            }
        }
    }
}
