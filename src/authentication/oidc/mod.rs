//! Browsers' logins at an identity provider: OpenID Connect's authorization code flow (Core 1.0, 3.1) with PKCE (RFC 7636, S256), state and nonce.
//!
//! Here: how a login begins and what it must come back with. Those that are at the provider are `pending.rs`, where the provider has what
//! `endpoints.rs`, a code becomes a token in `exchange.rs`; the token is looked at by `jwt`. Called by `authentication`; calls `config`.

mod endpoints;
mod exchange;
mod pending;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::Semaphore;

use super::credentials::NotMade;
use super::jwt::{self, Expected, Vouched, Wrong};
use crate::background::Background;
use crate::config;
use endpoints::{Endpoints, KnownEndpoints};
use exchange::{NoToken, exchange};
use pending::{Pending, Returned};

/// The most letters of what the provider says of an error that are shown.
const MOST_SAID: usize = 300;

/// A login that has begun: the browser is sent to the provider.
#[derive(Debug)]
pub struct Begun {
    /// Where.
    pub location: String,
    /// What the browser keeps meanwhile, as a cookie.
    pub cookie: String,
    /// For how many seconds.
    pub seconds: u64,
}

/// What the browser comes back with (RFC 6749, 4.1.2; RFC 9207).
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
}

/// Why nobody is logged in. Each is a sentence for the browser's page.
#[derive(Debug, thiserror::Error)]
pub enum NoSignOn {
    /// `access.mode` has no such way.
    #[error("This server has no login at an identity provider (access.mode).")]
    Off,
    /// It was begun elsewhere, or too long ago, or has come back already.
    #[error(
        "This login was not begun in this browser at this address, or too long ago, or it was answered already. Log in again."
    )]
    Unknown,
    /// The provider says so.
    #[error("The identity provider has logged nobody in: {0}.")]
    Denied(String),
    /// There is neither a code nor an error, or another provider sent it.
    #[error("The identity provider's answer can't be used: {0}. Log in again.")]
    Malformed(&'static str),
    /// The provider does not take the code.
    #[error(
        "The identity provider does not take its code: it was used already, or it is too old. Log in again."
    )]
    Code,
    /// The token proves nothing.
    #[error("The identity provider's token is refused: {0}.")]
    Wrong(Wrong),
    /// Who it is may not call.
    #[error("{0} may not use this server (access.allowed_users).")]
    Unwelcome(String),
    /// The provider can't be asked.
    #[error("The identity provider does not answer. Try again later.")]
    Silent,
    /// The provider and this server don't agree on who it is.
    #[error(
        "The identity provider refuses this server. The administrator has to see to it; the server's log says why."
    )]
    Refused,
    /// Too many come back at once.
    #[error("Too many log in at this moment. Try again.")]
    Busy,
    /// It can't be made.
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

/// The identity provider, as browsers' logins use it.
#[derive(Debug)]
pub(super) struct Provider {
    settings: config::Oidc,
    issuer: String,
    timeout: Duration,
    client: Client,
    tokens: Arc<jwt::Issuer>,
    endpoints: KnownEndpoints,
    pending: Pending,
    exchanges: Semaphore,
    /// Whether the last exchange has failed for want of the provider or its trust, which is told once.
    has_failed: AtomicBool,
}

impl Provider {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// The certificates can't be read.
    pub(super) fn open(
        settings: &config::Oidc,
        provider: &config::Jwt,
        tokens: Arc<jwt::Issuer>,
    ) -> anyhow::Result<Self> {
        let client = jwt::source::client(provider)?;
        Ok(Self {
            issuer: provider.issuer.clone(),
            timeout: provider.timeout.get(),
            endpoints: KnownEndpoints::new(client.clone(), provider),
            pending: Pending::new(settings.pending, settings.pending_time.get()),
            exchanges: Semaphore::new(settings.at_once),
            has_failed: AtomicBool::new(false),
            settings: settings.clone(),
            client,
            tokens,
        })
    }

    /// What the provider is called.
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether browsers come back by HTTPS.
    pub(super) fn is_secure(&self) -> bool {
        self.settings.redirect_uri.starts_with("https://")
    }

    /// Begins a login of a browser that wants to go there. Cancel safe.
    ///
    /// # Errors
    /// The provider can't be asked where it wants the browser.
    pub(super) async fn begin(
        &self,
        address: Option<IpAddr>,
        to: String,
        background: &Background,
    ) -> Result<Begun, NoSignOn> {
        let endpoints = self.endpoints.get(background).await.ok_or(NoSignOn::Silent)?;
        let begun = self.pending.begin(address, to, Instant::now());
        let begun = begun.map_err(|error| NotMade::Random(error.to_string()))?;
        let mut location = endpoints.authorization.clone();
        location.set_fragment(None);
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.settings.redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &begun.state)
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &begun.challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Begun {
            location: location.into(),
            cookie: begun.browser,
            seconds: self.settings.pending_time.get().as_secs().max(1),
        })
    }

    /// Whom the provider vouches for, and where they wanted to go. Cancelled, the login is over.
    ///
    /// # Errors
    /// See [`NoSignOn`].
    pub(super) async fn finish(
        self: &Arc<Self>,
        browser: Option<&str>,
        answer: Answer,
        background: &Background,
    ) -> Result<(Vouched, String), NoSignOn> {
        let (Some(state), Some(browser)) = (&answer.state, browser) else {
            return Err(NoSignOn::Unknown);
        };
        let returned = self.pending.take(state, browser, Instant::now());
        let returned = returned.ok_or(NoSignOn::Unknown)?;
        let endpoints = self.endpoints.get(background).await.ok_or(NoSignOn::Silent)?;
        let code = self.code(answer, &endpoints)?;
        let token = self.token(code, &returned, &endpoints, background).await?;
        let expected = Expected {
            client_id: &self.settings.client_id,
            nonce: &returned.nonce,
        };
        let verified = self.tokens.verify_id_token(&token, expected, background).await;
        let vouched = verified.map_err(|_| NoSignOn::Silent)?;
        let vouched = vouched
            .inspect_err(|wrong| {
                tracing::debug!("access.oidc: a token of the provider's is refused: {wrong}")
            })
            .map_err(NoSignOn::Wrong)?;
        Ok((vouched, returned.to))
    }

    /// The code of an answer of this provider's.
    fn code(&self, answer: Answer, endpoints: &Endpoints) -> Result<String, NoSignOn> {
        let is_its_own = match &answer.iss {
            Some(issuer) => *issuer == self.issuer,
            None => !endpoints.names_itself,
        };
        if !is_its_own {
            return Err(NoSignOn::Malformed("it is of another provider (iss)"));
        }
        if let Some(error) = answer.error {
            return Err(NoSignOn::Denied(said(
                &error,
                answer.error_description.as_deref(),
            )));
        }
        let code = answer.code.filter(|code| !code.is_empty());
        code.ok_or(NoSignOn::Malformed("there is no code in it"))
    }

    async fn token(
        self: &Arc<Self>,
        code: String,
        returned: &Returned,
        endpoints: &Endpoints,
        background: &Background,
    ) -> Result<String, NoSignOn> {
        let turn = tokio::time::timeout(self.timeout, self.exchanges.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(NoSignOn::Busy);
        };
        let (own, endpoint) = (Arc::clone(self), endpoints.token.clone());
        let verifier = returned.verifier.clone();
        // On the main runtime, since connections outlive the worker that asked.
        let exchanged = background
            .spawn(async move { exchange(&own.client, endpoint, &own.settings, &code, &verifier).await });
        let exchanged = exchanged.await.map_err(|_| NoSignOn::Silent)?;
        let why = match exchanged {
            Ok(token) => {
                if self.has_failed.swap(false, Ordering::Relaxed) {
                    tracing::info!("access.oidc: {} takes codes again", self.issuer);
                }
                return Ok(token);
            }
            // Whoever makes one up gets this, so it is no matter for the log.
            Err(NoToken::Code) => return Err(NoSignOn::Code),
            Err(why) => why,
        };
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!("access.oidc: a login at {} has failed: {why}", self.issuer);
        }
        Err(match why {
            NoToken::Refused(_) | NoToken::Secret(_) => NoSignOn::Refused,
            NoToken::Silent(_) | NoToken::Code => NoSignOn::Silent,
        })
    }
}

/// Reads the secret, where there is to be one, for `firesteel check`.
///
/// # Errors
/// It can't be read, or is empty.
pub(super) fn look_at_secret(settings: &config::Oidc) -> anyhow::Result<()> {
    let path = &settings.client_secret_file;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let shown = format!("access.oidc.client_secret_file: {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    anyhow::ensure!(
        exchange::first_line(&text).is_some(),
        "{shown}: the first line is empty"
    );
    Ok(())
}

/// What the provider says of an error, as a part of a sentence.
fn said(error: &str, description: Option<&str>) -> String {
    let text = match description {
        Some(description) if !description.is_empty() => format!("{error}, {description}"),
        _ => error.to_owned(),
    };
    let letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = letters.take(MOST_SAID).collect();
    text.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn what_a_provider_says_is_cut() {
        assert_eq!(said("access_denied", None), "access_denied");
        assert_eq!(said("x", Some("No\nway.")), "x, No way");
        assert_eq!(said("x", Some("")), "x");
        assert_eq!(said("ä", Some(&"ä".repeat(1000))).chars().count(), 300);
    }
}
