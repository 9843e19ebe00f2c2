//! The provider's public keys: which are known, how old they are, and when they are fetched again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::Silent;
use super::source::Source;
use crate::background::Background;
use crate::config;

/// The most keys of a provider; further ones are not used.
const MOST_KEYS: usize = 100;

/// How often a file is looked at. One that is gone lets nobody in.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// The keys that are known.
#[derive(Debug)]
pub(super) struct Keys {
    source: Arc<Source>,
    refresh: Duration,
    interval: Duration,
    stale: Duration,
    known: Arc<Mutex<Known>>,
    /// Held while they are fetched: one fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Arc<Key>>,
    /// When they were fetched.
    fetched: Option<Instant>,
    /// When it was last tried.
    tried: Option<Instant>,
    has_failed: bool,
}

/// A key, and what it is for.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What the provider says that it signs with, where it says so.
    declared: Option<String>,
    fits: &'static [Algorithm],
    decoding: DecodingKey,
}

impl Keys {
    pub(super) fn open(settings: &config::Jwt) -> anyhow::Result<Self> {
        let source = Source::open(settings)?;
        let (refresh, interval, stale) = if source.is_file() {
            (FILE_LOOK, FILE_LOOK, FILE_LOOK * 2)
        } else {
            let stale = settings.stale.get();
            (settings.refresh.get(), settings.fetch_interval.get(), stale)
        };
        Ok(Self {
            refresh,
            interval,
            stale,
            source: Arc::new(source),
            known: Arc::default(),
            fetching: tokio::sync::Mutex::new(()),
        })
    }

    /// The key of this id for this algorithm. One that is not known has the keys fetched again, at most once in
    /// `access.jwt.fetch_interval`; a token without an id is for the one key that fits. Cancel safe.
    ///
    /// # Errors
    /// No keys are known, or they are too old, or the one that is wanted is not known and the last fetch has failed.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        background: &Background,
    ) -> Result<Option<DecodingKey>, Silent> {
        if self.is_due(id, algorithm) {
            let is_needed = self.known().find(id, algorithm).is_none() || self.is_stale();
            let fetching = if is_needed {
                Some(self.fetching.lock().await)
            } else {
                // Somebody else fetches them already, and what is known does meanwhile.
                self.fetching.try_lock().ok()
            };
            if fetching.is_some() && self.is_due(id, algorithm) {
                self.fetch(background).await;
            }
        }
        let known = self.known();
        let is_stale = known.fetched.is_none_or(|fetched| fetched.elapsed() > self.stale);
        match known.find(id, algorithm) {
            _ if is_stale => Err(Silent),
            None if known.has_failed => Err(Silent),
            found => Ok(found.map(|key| key.decoding.clone())),
        }
    }

    fn is_stale(&self) -> bool {
        self.known()
            .fetched
            .is_none_or(|fetched| fetched.elapsed() > self.stale)
    }

    fn is_due(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let known = self.known();
        let is_old = known
            .fetched
            .is_none_or(|fetched| fetched.elapsed() > self.refresh);
        let may = known.tried.is_none_or(|tried| tried.elapsed() > self.interval);
        may && (is_old || known.find(id, algorithm).is_none())
    }

    /// On the main runtime, since connections outlive the worker that asked, and to its end, though the client may leave.
    async fn fetch(&self, background: &Background) {
        self.known().tried = Some(Instant::now());
        let (source, known) = (Arc::clone(&self.source), Arc::clone(&self.known));
        let fetched = background.spawn(async move {
            let fetched = source.fetch().await.and_then(|text| parse(&text));
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match fetched {
                Ok(keys) => {
                    if known.has_failed {
                        tracing::info!("access.jwt: {source} answers again");
                    }
                    known.keys = keys;
                    known.fetched = Some(Instant::now());
                    known.has_failed = false;
                }
                Err(why) => {
                    if !known.has_failed {
                        tracing::warn!("access.jwt: the keys can't be had from {source}: {why}");
                    }
                    known.has_failed = true;
                }
            }
        });
        if fetched.await.is_err() {
            self.known().has_failed = true;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is behind it is whole after any panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut fitting = self.keys.iter().filter(|key| key.is_for(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl Key {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let name = format!("{algorithm:?}");
        self.fits.contains(&algorithm) && self.declared.as_ref().is_none_or(|declared| *declared == name)
    }
}

/// The keys of a JWK set (RFC 7517) that can check signatures. Others, of kinds that are not known too, are left out; so are shared
/// secrets, which a public key could be mistaken for.
fn parse(text: &str) -> Result<Vec<Arc<Key>>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_str(text).map_err(|error| format!("no JWK set: {error}"))?;
    let keys: Vec<Arc<Key>> = set.keys.into_iter().take(MOST_KEYS).filter_map(key).collect();
    if keys.is_empty() {
        return Err("the JWK set has no key that checks signatures".to_owned());
    }
    Ok(keys)
}

fn key(value: Value) -> Option<Arc<Key>> {
    let declared = value.get("alg").and_then(Value::as_str).map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|of| *of != PublicKeyUse::Signature)
    {
        return None;
    }
    let fits: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
        _ => return None,
    };
    Some(Arc::new(Key {
        id: jwk.common.key_id.clone(),
        declared,
        fits,
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of each kind; the numbers are no real keys, which nothing here asks for.
    const SET: &str = r#"{"keys": [
        {"kty": "RSA", "kid": "rsa", "use": "sig", "n": "sXchDaQ", "e": "AQAB"},
        {"kty": "RSA", "kid": "declared", "alg": "RS256", "n": "sXchDaQ", "e": "AQAB"},
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": "sXchDaQ", "e": "AQAB"},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "MKBC", "y": "4Etl"},
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "11qY"},
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "new", "kid": "unknown"},
        "no key"
    ]}"#;

    #[test]
    fn a_key_is_for_its_algorithms_only() {
        let known = Known {
            keys: parse(SET).unwrap(),
            ..Known::default()
        };
        let ids: Vec<_> = known.keys.iter().filter_map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, ["rsa", "declared", "ec", "ed"]);
        let finds = |id, algorithm| known.find(id, algorithm).is_some();
        assert!(finds(Some("rsa"), Algorithm::RS256) && finds(Some("rsa"), Algorithm::PS512));
        assert!(finds(Some("declared"), Algorithm::RS256) && !finds(Some("declared"), Algorithm::RS384));
        assert!(finds(Some("ec"), Algorithm::ES256) && !finds(Some("ec"), Algorithm::ES384));
        assert!(finds(Some("ed"), Algorithm::EdDSA) && !finds(Some("ed"), Algorithm::ES256));
        for secret in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for id in ["rsa", "ec", "ed", "secret"] {
                assert!(!finds(Some(id), secret), "{id}");
            }
        }
        // Without an id, the one that fits; of two, none.
        assert!(finds(None, Algorithm::ES256) && finds(None, Algorithm::PS256));
        assert!(!finds(None, Algorithm::RS256));
    }

    #[test]
    fn a_set_without_keys_is_said() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "oct", "k": "eA"}]}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
