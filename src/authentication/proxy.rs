//! A reverse proxy that says who calls (Knox, JupyterHub): believed where its connection proves that it is the proxy, by the user of
//! its process at the other end of a Unix socket, or by the name in its certificate. The header of anybody else is not looked at.

use anyhow::Context as _;
use nix::unistd::User;

use super::Presented;
use crate::access::valid_user;
use crate::config;
use crate::peer::Peer;

/// Whom to believe.
#[derive(Debug)]
pub(super) struct TrustedProxy {
    users: Vec<u32>,
    certificates: Vec<String>,
    groups: usize,
}

impl TrustedProxy {
    /// Finds the numbers of `access.proxy.peers`.
    ///
    /// # Errors
    /// This host has no such user.
    pub(super) fn open(proxy: &config::Proxy) -> anyhow::Result<Self> {
        let number = |name: &String| {
            if let Ok(number) = name.parse() {
                return Ok(number);
            }
            let user = User::from_name(name).with_context(|| format!("access.proxy.peers: {name}"))?;
            let user = user.with_context(|| format!("access.proxy.peers: this host has no user {name:?}"))?;
            Ok(user.uid.as_raw())
        };
        Ok(Self {
            users: proxy.peers.iter().map(number).collect::<anyhow::Result<_>>()?,
            certificates: proxy.certificates.clone(),
            groups: proxy.groups,
        })
    }

    /// Whether that is the proxy.
    pub(super) fn is(&self, peer: &Peer) -> bool {
        let by_socket = peer.unix_user.is_some_and(|user| self.users.contains(&user));
        let by_certificate = peer.certificate.iter().any(|name| {
            self.certificates
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        });
        by_socket || by_certificate
    }

    /// Whom it says to call, with the groups; none where it is not the proxy, or says nobody or nobody that can be.
    pub(super) fn caller(&self, presented: &Presented) -> Option<(String, Vec<String>)> {
        if !self.is(&presented.peer) {
            return None;
        }
        let user = presented
            .proxied_user
            .as_deref()
            .filter(|user| valid_user(user))?;
        let groups = presented.proxied_groups.as_deref().unwrap_or("");
        let groups: Vec<String> = groups
            .split(',')
            .map(str::trim)
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect();
        let fit = |group: &String| group.len() <= 256 && !group.chars().any(char::is_control);
        (groups.len() <= self.groups && groups.iter().all(fit)).then(|| (user.to_owned(), groups))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxy() -> TrustedProxy {
        TrustedProxy::open(&config::Proxy {
            peers: vec!["1234".to_owned(), "root".to_owned()],
            certificates: vec!["proxy.example.com".to_owned()],
            groups: 2,
            ..config::Proxy::default()
        })
        .unwrap()
    }

    fn presented(peer: Peer, user: &str, groups: &str) -> Presented {
        Presented {
            peer,
            proxied_user: Some(user.to_owned()),
            proxied_groups: Some(groups.to_owned()),
            ..Presented::default()
        }
    }

    fn socket(user: u32) -> Peer {
        Peer {
            unix_user: Some(user),
            ..Peer::default()
        }
    }

    fn certificate(name: &str) -> Peer {
        Peer {
            address: Some([10, 0, 0, 1].into()),
            certificate: [name.to_owned()].into(),
            is_tls: true,
            ..Peer::default()
        }
    }

    #[test]
    fn only_the_proxy_is_believed() {
        let who = |peer| proxy().caller(&presented(peer, "ada", "")).map(|(user, _)| user);
        for peer in [socket(1234), socket(0), certificate("PROXY.example.com")] {
            assert_eq!(who(peer), Some("ada".to_owned()));
        }
        for peer in [
            Peer::default(),
            socket(1),
            certificate("proxy.example.com.evil.com"),
            certificate("*.example.com"),
            certificate(""),
        ] {
            assert_eq!(who(peer), None);
        }
    }

    #[test]
    fn what_it_says_must_be_names() {
        let said = |user: &str, groups: &str| proxy().caller(&presented(socket(0), user, groups));
        assert_eq!(
            said("ada", " a , b,"),
            Some(("ada".to_owned(), vec!["a".to_owned(), "b".to_owned()]))
        );
        assert_eq!(said("ada", "a,b,c"), None, "more than access.proxy.groups");
        for user in ["", " ", "ada ", "ada,bob", "-x", "a\0", "../x"] {
            assert_eq!(said(user, ""), None, "{user:?}");
        }
    }

    #[test]
    fn a_user_that_is_not_there() {
        let proxy = config::Proxy {
            peers: vec!["no-such-user-here".to_owned()],
            ..config::Proxy::default()
        };
        let error = TrustedProxy::open(&proxy).unwrap_err();
        assert!(error.to_string().contains("no-such-user-here"), "{error}");
    }

    proptest! {
        /// Whatever the proxy says, its caller is a user that can be, in no more groups than may be.
        #[test]
        fn any_caller_can_be(user in prop_oneof![".*", "[a-z]{1,5}"], groups in prop_oneof![".*", "([a-z ]{0,3},){0,4}"]) {
            if let Some((named, of)) = proxy().caller(&presented(socket(1234), &user, &groups)) {
                prop_assert!(valid_user(&named) && named == user);
                prop_assert!(of.len() <= 2 && of.iter().all(|group| !group.is_empty() && group.trim() == group));
            }
        }
    }
}
