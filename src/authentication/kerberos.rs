//! Kerberos tickets, as browsers and `requests-kerberos` send them (SPNEGO, RFC 4559). The server proves itself in turn, which sparkmagic insists
//! on. One round: a client that begins with anything but a ticket is refused.
//!
//! The work itself is a C library's (`sys/gssapi.rs`), which also remembers tickets, so that none counts twice. Called by `mod.rs`; calls
//! `access` (names), `config` and `sys`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::Semaphore;

use crate::access::valid_user;
use crate::background::Background;
use crate::config;
use crate::sys::gssapi::{GssError, Gssapi};

/// The most bytes of a token. Tickets of Active Directory, which list groups, take up to 48,000.
pub(super) const MOST_TOKEN_BYTES: usize = 64 << 10;

/// A user who showed a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The user's name here.
    pub user: String,
    /// The header `WWW-Authenticate` that proves the server.
    pub answer: Option<String>,
}

/// The server's own key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the server's Kerberos key can't be used")]
pub(super) struct Keyless;

/// What is needed to look at tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    settings: config::Kerberos,
    gssapi: Arc<Gssapi>,
    keytab: CString,
    principal: CString,
    places: Semaphore,
    /// Whether the log says that the key can't be used.
    is_keyless: AtomicBool,
}

impl Tickets {
    /// Loads the library and looks at the key.
    ///
    /// # Errors
    /// The library is not installed, or the keytab has no key of the principal.
    pub(super) fn open(settings: &config::Kerberos) -> anyhow::Result<Self> {
        let gssapi = Gssapi::load().context(
            "access.mode: \"kerberos\" needs MIT's Kerberos library (Debian: libgssapi-krb5-2, Red Hat: krb5-libs)",
        )?;
        let keytab = CString::new(settings.keytab.as_os_str().as_bytes())?;
        let principal = CString::new(settings.principal.as_str())?;
        gssapi
            .look_at_key(&keytab, &principal)
            .with_context(|| format!("access.kerberos.keytab: {}", settings.keytab.display()))?;
        Ok(Self {
            places: Semaphore::new(settings.at_once),
            settings: settings.clone(),
            gssapi: Arc::new(gssapi),
            keytab,
            principal,
            is_keyless: AtomicBool::new(false),
        })
    }

    /// Whose ticket this is; none where it proves nothing, or is of a user of another realm. The debug log says why. Cancel safe.
    ///
    /// # Errors
    /// The server's own key can't be used; the log says why.
    pub(super) async fn verify(
        &self,
        token: Vec<u8>,
        background: &Background,
    ) -> Result<Option<Shown>, Keyless> {
        let Ok(place) = self.places.acquire().await else {
            return Ok(None);
        };
        let gssapi = Arc::clone(&self.gssapi);
        let (keytab, principal) = (self.keytab.clone(), self.principal.clone());
        let looked = background
            .blocking(move || gssapi.accept(&keytab, &principal, &token))
            .await;
        drop(place);
        let accepted = match looked {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(GssError::Token(why))) => {
                tracing::debug!("access.kerberos: a token is refused: {why}");
                return Ok(None);
            }
            Ok(Err(GssError::OwnKey(why))) => {
                if !self.is_keyless.swap(true, Ordering::Relaxed) {
                    let keytab = self.settings.keytab.display();
                    tracing::warn!(
                        "access.kerberos.keytab: {keytab}: {why}; until it can be used, tickets get 503"
                    );
                }
                return Err(Keyless);
            }
            Err(_) => return Err(Keyless),
        };
        if self.is_keyless.swap(false, Ordering::Relaxed) {
            tracing::info!("access.kerberos.keytab can be used again");
        }
        let Some(user) = user(&accepted.client, &self.settings) else {
            tracing::debug!("access.kerberos: {:?} is no user here", accepted.client);
            return Ok(None);
        };
        let proof = (!accepted.answer.is_empty()).then(|| BASE64_STANDARD.encode(&accepted.answer));
        Ok(Some(Shown {
            user,
            answer: proof.map(|proof| format!("Negotiate {proof}")),
        }))
    }
}

/// The user that a principal is: of a realm that is let in, and without a second part, as `alice/admin` has, which is another's role or a host, unless it is
/// a service that is let in.
fn user(principal: &str, settings: &config::Kerberos) -> Option<String> {
    let (name, realm) = principal.rsplit_once('@')?;
    let (_, own) = settings.principal.rsplit_once('@')?;
    let is_let_in = if settings.realms.is_empty() {
        realm == own
    } else {
        settings.realms.iter().any(|one| one == realm)
    };
    let name = service(name, settings).unwrap_or(name);
    let user = match settings.strip_realm && realm == own {
        true => name.to_owned(),
        false => format!("{name}@{realm}"),
    };
    // A name with @ of its own could pass for one of another realm.
    (is_let_in && !name.contains('@') && valid_user(&user)).then_some(user)
}

/// What a service is called, where it is let in.
fn service<'a>(name: &'a str, settings: &config::Kerberos) -> Option<&'a str> {
    let (service, host) = name.split_once('/').filter(|(_, host)| !host.contains('/'))?;
    let is_it = |listed: &String| {
        listed
            .split_once('/')
            .is_some_and(|(one, of)| one == service && (of == "*" || of == host))
    };
    settings.services.iter().any(is_it).then_some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_become_users() {
        let mut settings = config::Kerberos {
            principal: "HTTP/spark.example.com@EXAMPLE.COM".to_owned(),
            ..config::Kerberos::default()
        };
        let ask = |principal: &str, settings: &config::Kerberos| user(principal, settings);
        assert_eq!(ask("alice@EXAMPLE.COM", &settings), Some("alice".to_owned()));
        for refused in [
            "alice@OTHER.COM",
            "alice@example.com",
            "alice/admin@EXAMPLE.COM",
            "HTTP/spark.example.com@EXAMPLE.COM",
            "alice",
            "@EXAMPLE.COM",
            r"alice\@OTHER.COM@EXAMPLE.COM",
            "alice@OTHER.COM@EXAMPLE.COM",
            "-alice@EXAMPLE.COM",
            "alice@EXAMPLE.COM\0",
        ] {
            assert_eq!(ask(refused, &settings), None, "{refused}");
        }
        settings.services = vec!["hue/gate.example.com".to_owned(), "knox/*".to_owned()];
        for (principal, expected) in [
            ("hue/gate.example.com@EXAMPLE.COM", Some("hue")),
            ("hue/other.example.com@EXAMPLE.COM", None),
            ("hue/gate.example.com@OTHER.COM", None),
            ("hue/gate.example.com/x@EXAMPLE.COM", None),
            ("knox/any.example.com@EXAMPLE.COM", Some("knox")),
            ("knox/a/b@EXAMPLE.COM", None),
            ("knox@EXAMPLE.COM", Some("knox")),
            ("alice/admin@EXAMPLE.COM", None),
        ] {
            assert_eq!(ask(principal, &settings).as_deref(), expected, "{principal}");
        }
        settings.realms = vec!["EXAMPLE.COM".to_owned(), "OTHER.COM".to_owned()];
        assert_eq!(
            ask("knox/a@OTHER.COM", &settings),
            Some("knox@OTHER.COM".to_owned())
        );
        assert_eq!(ask("alice@EXAMPLE.COM", &settings), Some("alice".to_owned()));
        assert_eq!(
            ask("alice@OTHER.COM", &settings),
            Some("alice@OTHER.COM".to_owned())
        );
        settings.strip_realm = false;
        assert_eq!(
            ask("alice@EXAMPLE.COM", &settings),
            Some("alice@EXAMPLE.COM".to_owned())
        );
        settings.realms = vec!["OTHER.COM".to_owned()];
        assert_eq!(ask("alice@EXAMPLE.COM", &settings), None);
    }
}
