//! Where the provider has what a login needs, of its own description: remembered, and asked for again when it is old.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};

use crate::authentication::jwt::source::{Description, describe};
use crate::background::Background;
use crate::config;

/// What a login needs of the description (OpenID Connect Discovery 1.0, 3).
#[derive(Debug)]
pub(super) struct Endpoints {
    /// Where browsers are sent.
    pub(super) authorization: Url,
    /// Where codes become tokens.
    pub(super) token: Url,
    /// Whether browsers come back with the provider's name (RFC 9207).
    pub(super) names_itself: bool,
}

impl TryFrom<Description> for Endpoints {
    type Error = String;

    fn try_from(description: Description) -> Result<Self, String> {
        Ok(Self {
            authorization: description.address("authorization_endpoint")?,
            token: description.address("token_endpoint")?,
            names_itself: description.says("authorization_response_iss_parameter_supported"),
        })
    }
}

/// What is known of them. How long it counts, and how often it is asked for, are those of the keys (`access.jwt`).
#[derive(Debug)]
pub(super) struct KnownEndpoints {
    client: Client,
    issuer: String,
    refresh: Duration,
    interval: Duration,
    stale: Duration,
    known: Arc<Mutex<Known>>,
    /// Held while they are fetched: one fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    found: Option<(Arc<Endpoints>, Instant)>,
    /// When it was last tried.
    tried: Option<Instant>,
    has_failed: bool,
}

impl KnownEndpoints {
    pub(super) fn new(client: Client, settings: &config::Jwt) -> Self {
        Self {
            client,
            issuer: settings.issuer.clone(),
            refresh: settings.refresh.get(),
            interval: settings.fetch_interval.get(),
            stale: settings.stale.get(),
            known: Arc::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Those of now; none where the provider can't be asked, or was not a short while ago. Cancel safe.
    pub(super) async fn get(&self, background: &Background) -> Option<Arc<Endpoints>> {
        if self.known().is_due(self.refresh, self.interval) {
            let is_needed = self.known().younger_than(self.stale).is_none();
            let turn = if is_needed {
                Some(self.fetching.lock().await)
            } else {
                // Somebody else asks already, and what is known does meanwhile.
                self.fetching.try_lock().ok()
            };
            if turn.is_some() && self.known().is_due(self.refresh, self.interval) {
                self.fetch(background).await;
            }
        }
        self.known().younger_than(self.stale)
    }

    /// On the main runtime, since connections outlive the worker that asked, and to its end, though the client may leave.
    async fn fetch(&self, background: &Background) {
        self.known().tried = Some(Instant::now());
        let (client, issuer) = (self.client.clone(), self.issuer.clone());
        let known = Arc::clone(&self.known);
        let fetched = background.spawn(async move {
            let described = describe(&client, &issuer).await;
            let found = described.and_then(Endpoints::try_from);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let had_failed = known.has_failed;
            known.has_failed = found.is_err();
            match found {
                Ok(found) => {
                    if had_failed {
                        tracing::info!("access.oidc: {issuer} answers again");
                    }
                    known.found = Some((Arc::new(found), Instant::now()));
                }
                Err(why) if !had_failed => {
                    tracing::warn!("access.oidc: nobody can log in at {issuer}: {why}");
                }
                Err(_) => {}
            }
        });
        // One that panicked has found nothing.
        let _ = fetched.await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is behind it is whole after any panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn younger_than(&self, age: Duration) -> Option<Arc<Endpoints>> {
        let (found, at) = self.found.as_ref()?;
        (at.elapsed() <= age).then(|| Arc::clone(found))
    }

    fn is_due(&self, refresh: Duration, interval: Duration) -> bool {
        let may = self.tried.is_none_or(|tried| tried.elapsed() > interval);
        may && self.younger_than(refresh).is_none()
    }
}
