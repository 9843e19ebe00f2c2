//! Which names a request's `Host` may have. A page on a foreign name that was made to resolve to this server (DNS
//! rebinding) is stopped here, which matters most where nobody has to log in.

use std::net::IpAddr;

use crate::config::{Modes, Server};

/// Whether the server answers to this `Host`; else the answer is 421. Any port will do.
///
/// Accepted are localhost, 127.0.0.1, `[::1]`, the listen address and `server.hosts`. With authentication and an empty
/// `server.hosts`, every well-formed name is, and so is none at all.
#[must_use]
pub fn host_allowed(host: Option<&str>, server: &Server, mode: &Modes) -> bool {
    let open = !mode.is_open() && server.hosts.is_empty();
    let Some(host) = host else {
        return open;
    };
    let Some((name, _)) = split_host(host) else {
        return false;
    };
    open || is_local(&name, server) || server.hosts.iter().any(|known| same_host(known, &name))
}

fn is_local(name: &str, server: &Server) -> bool {
    let listen = server.listen.ip().to_canonical();
    name == "localhost"
        || address(name).is_some_and(|ip| {
            let ip = ip.to_canonical();
            ip == IpAddr::from([127, 0, 0, 1])
                || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
                || (ip == listen && !listen.is_unspecified())
        })
}

/// Whether a name of `server.hosts` is this one, which [`split_host`] gave.
pub(super) fn same_host(known: &str, name: &str) -> bool {
    match (address(known), address(name)) {
        (Some(known), Some(name)) => known == name,
        (None, None) => known.trim_end_matches('.').eq_ignore_ascii_case(name),
        _ => false,
    }
}

fn address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    bare.unwrap_or(name).parse().ok()
}

/// The name in lower case, without the dot of a complete name at its end, and the port of a `Host` header or an origin's
/// authority. `None` when it is malformed.
pub(super) fn split_host(host: &str) -> Option<(String, Option<u16>)> {
    let end = match host.strip_prefix('[') {
        Some(_) => host.find(']')? + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    let port = match rest.strip_prefix(':') {
        Some("") => None,
        Some(port) if port.chars().all(|c| c.is_ascii_digit()) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        _ => return None,
    };
    if name.starts_with('[') {
        let literal = name.get(1..name.len() - 1)?;
        literal.parse::<std::net::Ipv6Addr>().ok()?;
        return Some((name.to_ascii_lowercase(), port));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let well_formed = !name.is_empty() && name.chars().all(word) && !name.split('.').any(str::is_empty);
    well_formed.then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::AccessMode;

    fn basic() -> Modes {
        Modes::of(vec![AccessMode::Basic])
    }
    use crate::config::Listen;

    fn server(listen: &str, hosts: &[&str]) -> Server {
        let listen: Listen = listen.parse().unwrap();
        Server {
            listen,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Server::default()
        }
    }

    #[test]
    fn without_authentication_only_known_names() {
        let server = server("127.0.0.5:8998", &["Spark.Example.com", "[fd00::1]"]);
        for host in [
            "localhost",
            "localhost:8998",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8998",
            "127.0.0.5",
            "127.0.0.5:8998",
            "[0:0:0:0:0:0:0:1]",
            "spark.example.com",
            "SPARK.example.COM:443",
            "spark.example.com.",
            "[fd00::1]:80",
            "[FD00:0::1]",
            "localhost:",
        ] {
            assert!(host_allowed(Some(host), &server, &Modes::default()), "{host}");
        }
        for host in [
            "",
            ":",
            ":80",
            "evil.com",
            "evil.com:8998",
            "localhost.evil.com",
            "evil-localhost",
            "xlocalhost",
            "localhost:80:80",
            "localhost@evil.com",
            "evil.com#localhost",
            "evil.com/localhost",
            "localhost evil",
            "127.0.0.2",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "::1",
            "[::1]x",
            "[evil]",
            "spark.example.com.evil.com",
            "spark.example.com..",
            "sparkxexample.com",
            "example.com",
            "localhost:99999",
            "localhost:+1",
            "localhost:8o",
            "локалхост",
            "localhost\0",
            "ⓛocalhost",
            "[::2]",
            "app.localhost",
        ] {
            assert!(!host_allowed(Some(host), &server, &Modes::default()), "{host:?}");
        }
        assert!(!host_allowed(None, &server, &Modes::default()));
    }

    #[test]
    fn with_authentication() {
        let open = server("0.0.0.0:8998", &[]);
        assert!(host_allowed(Some("any.name:80"), &open, &basic()));
        assert!(host_allowed(None, &open, &basic()));
        assert!(!host_allowed(Some("a b"), &open, &basic()));
        let named = server("0.0.0.0:8998", &["spark.example.com"]);
        assert!(host_allowed(Some("spark.example.com"), &named, &basic()));
        assert!(host_allowed(Some("localhost:8998"), &named, &basic()));
        assert!(!host_allowed(Some("other.example.com"), &named, &basic()));
        assert!(!host_allowed(Some("0.0.0.0"), &named, &basic()));
        assert!(!host_allowed(None, &named, &basic()));
    }

    proptest! {
        #[test]
        fn nothing_panics(host in prop_oneof![".*", "(\\[)?.{0,20}(\\])?(:.{0,6})?"]) {
            let _ = host_allowed(Some(&host), &Server::default(), &Modes::default());
            let _ = split_host(&host);
        }
    }
}
