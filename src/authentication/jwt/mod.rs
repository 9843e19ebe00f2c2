//! Bearer tokens that an identity provider signed (RFC 7519; OpenID Connect's tokens are such): signature, issuer, audience and times are
//! checked, then a claim is the user's name.
//!
//! Here: what a token must have. The provider's keys are `keys.rs`, what is asked of it `source.rs`. Called by `authentication` and its `oidc`;
//! calls `access` (names) and `config`.

mod keys;
pub(super) mod source;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use self::keys::Keys;
use crate::access::valid_user;
use crate::background::Background;
use crate::clock::now_ms;
use crate::config;

/// The most bytes of a token.
const MOST_TOKEN_BYTES: usize = 16 << 10;

/// The most bytes of a group's name; longer ones don't count.
const MOST_GROUP_BYTES: usize = 256;

/// A user whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vouched {
    /// The name, as the token has it.
    pub user: String,
    /// The groups' names.
    pub groups: Vec<String>,
}

/// The provider's keys are not known, so nothing can be said of a token.
#[derive(Debug, thiserror::Error)]
#[error("the identity provider whose keys are needed does not answer")]
pub(super) struct Silent;

/// Why a token proves nothing, as the end of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It is too long, or no token at all.
    #[error("it is no token that can be read")]
    Unreadable,
    /// Its header has `crit` (RFC 7515, 4.1.11).
    #[error("it has a header that must be understood (crit), which none is here")]
    Critical,
    /// It is signed in a way that is not listed.
    #[error("it is signed with {0}, which access.jwt.algorithms lacks")]
    Algorithm(String),
    /// Its key is none of the provider's.
    #[error("it names no key of the provider's")]
    Key,
    /// It has ended, or has not begun.
    #[error(
        "it does not count at this time: this server's clock or the provider's is wrong, or it is an old one"
    )]
    Time,
    /// The nonce is not the one of the login.
    #[error("it is for another login (nonce)")]
    Nonce,
    /// It was given to another client.
    #[error("it was given to another client (aud, azp)")]
    Party,
    /// There is no user in it.
    #[error("it has no {0} that a user's name can be (access.jwt.user_claim)")]
    User(String),
    /// The signature or a claim is not as it must be.
    #[error("{0}")]
    Claims(String),
}

/// What an ID token must have beside what every token must.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The client that it is for.
    pub client_id: &'a str,
    /// The nonce of the login.
    pub nonce: &'a str,
}

/// An identity provider, and what its tokens must have.
#[derive(Debug)]
pub(super) struct Issuer {
    settings: config::Jwt,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

impl Issuer {
    /// Reads what is needed; the keys are fetched when the first token comes.
    ///
    /// # Errors
    /// An algorithm is none, or the certificates can't be read.
    pub(super) fn open(settings: &config::Jwt) -> anyhow::Result<Self> {
        let algorithms = settings.algorithms.iter().map(|name| name.parse::<Algorithm>());
        Ok(Self {
            settings: settings.clone(),
            algorithms: algorithms.collect::<Result<_, _>>()?,
            keys: Keys::open(settings)?,
        })
    }

    /// Whom the token is of; none where it is no token of this provider, for somebody else, not valid now, or of a user that can't be. The
    /// debug log says why. Cancel safe.
    ///
    /// # Errors
    /// The keys can't be fetched.
    pub(super) async fn verify(
        &self,
        token: &str,
        background: &Background,
    ) -> Result<Option<Vouched>, Silent> {
        let claims = self.claims(token, &self.settings.audience, background).await?;
        let vouched = claims.and_then(|claims| self.vouched(&claims));
        Ok(vouched
            .inspect_err(|wrong| tracing::debug!("access.jwt: a token is refused: {wrong}"))
            .ok())
    }

    /// Whom an ID token is of (OpenID Connect Core 1.0, 3.1.3.7), or why of nobody. Cancel safe.
    ///
    /// # Errors
    /// The keys can't be fetched.
    pub(super) async fn verify_id_token(
        &self,
        token: &str,
        expected: Expected<'_>,
        background: &Background,
    ) -> Result<Result<Vouched, Wrong>, Silent> {
        let audience = [expected.client_id.to_owned()];
        let claims = self.claims(token, &audience, background).await?;
        Ok(claims.and_then(|claims| {
            self.is_expected(&claims, expected)?;
            self.vouched(&claims)
        }))
    }

    fn is_expected(&self, claims: &Map<String, Value>, expected: Expected<'_>) -> Result<(), Wrong> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let nonce = text("nonce").unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return Err(Wrong::Nonce);
        }
        // One that is for others too says to whom it was given.
        let is_shared = claims
            .get("aud")
            .and_then(Value::as_array)
            .is_some_and(|all| all.len() > 1);
        let is_ours = match claims.get("azp") {
            Some(party) => party.as_str() == Some(expected.client_id),
            None => !is_shared,
        };
        if !is_ours {
            return Err(Wrong::Party);
        }
        if text("sub").is_none_or(str::is_empty) {
            return Err(Wrong::Claims("it has no sub".to_owned()));
        }
        let Some(issued) = claims.get("iat").and_then(Value::as_f64) else {
            return Err(Wrong::Claims("it does not say when it was made (iat)".to_owned()));
        };
        let latest = Duration::from_millis(u64::try_from(now_ms()).unwrap_or_default())
            .saturating_add(self.settings.leeway.get());
        if issued > latest.as_secs_f64() {
            return Err(Wrong::Time);
        }
        Ok(())
    }

    /// The claims of a token that this provider signed for one of these, if it counts now.
    async fn claims(
        &self,
        token: &str,
        audience: &[String],
        background: &Background,
    ) -> Result<Result<Map<String, Value>, Wrong>, Silent> {
        if token.len() > MOST_TOKEN_BYTES {
            return Ok(Err(Wrong::Unreadable));
        }
        let Ok(header) = decode_header(token) else {
            return Ok(Err(Wrong::Unreadable));
        };
        if has_critical(token) {
            return Ok(Err(Wrong::Critical));
        }
        if !self.algorithms.contains(&header.alg) {
            return Ok(Err(Wrong::Algorithm(format!("{:?}", header.alg))));
        }
        let found = self
            .keys
            .find(header.kid.as_deref(), header.alg, background)
            .await?;
        let Some(key) = found else {
            return Ok(Err(Wrong::Key));
        };
        let claims = decode::<Map<String, Value>>(token, &key, &self.validation(header.alg, audience));
        Ok(match claims.map(|decoded| decoded.claims) {
            // The library lets a time pass that is no number.
            Ok(claims) if claims.get("nbf").is_some_and(|time| !time.is_number()) => {
                Err(Wrong::Claims("its nbf is no time".to_owned()))
            }
            Ok(claims) => Ok(claims),
            Err(reason) => Err(match reason.kind() {
                ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => Wrong::Time,
                ErrorKind::InvalidAudience => Wrong::Party,
                _ => Wrong::Claims(reason.to_string()),
            }),
        })
    }

    fn validation(&self, algorithm: Algorithm, audience: &[String]) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.get().as_secs();
        validation.validate_nbf = true;
        validation.set_audience(audience);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn vouched(&self, claims: &Map<String, Value>) -> Result<Vouched, Wrong> {
        let claim = &self.settings.user_claim;
        let user = claims.get(claim).and_then(Value::as_str);
        let user = user.filter(|user| valid_user(user));
        let user = user.ok_or_else(|| Wrong::User(claim.clone()))?;
        let groups = self.groups(claims);
        tracing::debug!("access.jwt: {user} is in {groups:?}");
        Ok(Vouched {
            user: user.to_owned(),
            groups,
        })
    }

    fn groups(&self, claims: &Map<String, Value>) -> Vec<String> {
        let listed = match claims.get(&self.settings.groups_claim) {
            Some(Value::Array(listed)) => listed.as_slice(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            _ => &[],
        };
        let is_fit = |name: &&str| {
            !name.is_empty() && name.len() <= MOST_GROUP_BYTES && !name.contains(char::is_control)
        };
        let names = listed.iter().filter_map(Value::as_str).filter(is_fit);
        names.take(self.settings.groups).map(str::to_owned).collect()
    }
}

/// Whether a token's header says that something in it must be understood (RFC 7515, 4.1.11).
fn has_critical(token: &str) -> bool {
    let header = token
        .split('.')
        .next()
        .and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let header: Option<Map<String, Value>> = header.and_then(|json| serde_json::from_slice(&json).ok());
    header.is_none_or(|header| header.contains_key("crit"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any text, and any bytes where a token has its parts, is a token or none.
        #[test]
        fn any_token_is_read(text in ".*", parts: [Vec<u8>; 3], json in r#"\{("(alg|kid|crit|typ|jwk)":("[A-Z0-9]{0,6}"|[0-9]|null|\[\]|\{\}),?){0,4}\}"#) {
            let [_, claims, signature] = parts.clone().map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let headers = [parts[0].clone(), json.into_bytes()].map(|header| BASE64_URL_SAFE_NO_PAD.encode(header));
            let tokens = headers.map(|header| format!("{header}.{claims}.{signature}"));
            for token in [text.as_str(), &tokens[0], &tokens[1]] {
                if decode_header(token).is_ok() && !has_critical(token) {
                    prop_assert!(token.matches('.').count() == 2, "{token}");
                }
            }
        }
    }
}
