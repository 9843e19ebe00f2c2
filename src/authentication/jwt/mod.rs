//! Bearer tokens that an identity provider signed (RFC 7519; OpenID Connect's tokens are such): signature, issuer, audience and times are
//! checked, then a claim is the user's name.
//!
//! Here: what a token must have. The provider's keys are `keys.rs`, where they come from `source.rs`. Called by `authentication`; calls
//! `access` (names) and `config`.

mod keys;
mod source;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::keys::Keys;
use crate::access::valid_user;
use crate::background::Background;
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
        if token.len() > MOST_TOKEN_BYTES {
            return Ok(None);
        }
        let Ok(header) = decode_header(token) else {
            return Ok(None);
        };
        if has_critical(token) {
            tracing::debug!(
                "access.jwt: a token has a header that must be understood (crit), which none is here"
            );
            return Ok(None);
        }
        if !self.algorithms.contains(&header.alg) {
            tracing::debug!(
                "access.jwt: a token is signed with {:?}, which access.jwt.algorithms lacks",
                header.alg
            );
            return Ok(None);
        }
        let found = self
            .keys
            .find(header.kid.as_deref(), header.alg, background)
            .await?;
        let Some(key) = found else {
            tracing::debug!("access.jwt: a token names no key of the provider's");
            return Ok(None);
        };
        let claims = match decode::<Map<String, Value>>(token, &key, &self.validation(header.alg)) {
            Ok(decoded) => decoded.claims,
            Err(reason) => {
                tracing::debug!("access.jwt: a token is refused: {reason}");
                return Ok(None);
            }
        };
        Ok(self.vouched(&claims))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.get().as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&self.settings.audience);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn vouched(&self, claims: &Map<String, Value>) -> Option<Vouched> {
        // The library lets a time pass that is no number.
        if claims.get("nbf").is_some_and(|time| !time.is_number()) {
            return None;
        }
        let user = claims.get(&self.settings.user_claim).and_then(Value::as_str);
        let Some(user) = user.filter(|user| valid_user(user)) else {
            let claim = &self.settings.user_claim;
            tracing::debug!("access.jwt: a token has no {claim} that a user's name can be");
            return None;
        };
        let groups = self.groups(claims);
        tracing::debug!("access.jwt: {user} is in {groups:?}");
        Some(Vouched {
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
