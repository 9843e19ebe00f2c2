//! API tokens: made, listed and revoked by their owners, and proved by.

use std::sync::Arc;
use std::time::Duration;

use super::credentials::{Credential, Kind, New, NotMade, is_token};
use super::scope::Scopes;
use super::{Authentication, Presented, Proved, Through, Verdict, Way, header};
use crate::access::Caller;
use crate::clock::now_ms;
use crate::config::AccessMode;
use crate::store::StoreError;

/// A token that somebody asks for.
#[derive(Debug)]
pub struct TokenRequest {
    /// What its owner calls it.
    pub label: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// How long it lasts; none: `access.token.age`.
    pub age: Option<Duration>,
}

/// What may be known of a token.
#[derive(Clone, Debug)]
pub struct TokenFacts {
    /// What it is called by.
    pub id: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Whose it is.
    pub owner: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, in epoch milliseconds.
    pub created: i64,
    /// From when on it does not count.
    pub expires: i64,
}

/// A new token.
pub struct MadeToken {
    /// The text that the owner keeps. It can't be had a second time.
    pub text: String,
    /// The rest.
    pub facts: TokenFacts,
}

/// Why no token is made.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// `access.mode` has none.
    #[error("This server takes no tokens: access.mode has no \"token\".")]
    Off,
    /// It would last too long.
    #[error("A token lasts {} at most (access.token.max_age).", humantime::format_duration(*.0))]
    Age(Duration),
    /// A token asks for another that may more than it, or for longer.
    #[error("A token makes none that may more, or lasts longer, than it does itself.")]
    More,
    /// It can't be made.
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

impl TokenFacts {
    fn of(credential: &Credential) -> Option<Self> {
        let Kind::Token(scopes) = &credential.kind else {
            return None;
        };
        Some(Self {
            id: credential.id.clone(),
            label: credential.label.clone(),
            owner: credential.owner.clone(),
            scopes: scopes.clone(),
            created: credential.created,
            expires: credential.expires,
        })
    }
}

impl Authentication {
    /// Makes a token for the caller.
    ///
    /// # Errors
    /// See [`NoToken`].
    pub async fn make_token(&self, proved: &Proved, request: TokenRequest) -> Result<MadeToken, NoToken> {
        let (Some(owner), Some(by)) = (proved.caller.user.clone(), proved.by) else {
            return Err(NoToken::Off);
        };
        if !self.ways.iter().any(|way| matches!(way, Way::Token)) {
            return Err(NoToken::Off);
        }
        let bounds = &self.access.token;
        let longest = bounds.max_age.get();
        let age = request.age.unwrap_or(bounds.age.get());
        if age > longest || age.is_zero() {
            return Err(NoToken::Age(longest));
        }
        let now = now_ms();
        let expires = i64::try_from(age.as_millis()).map_or(i64::MAX, |age| now.saturating_add(age));
        let (way, expires) = match &proved.through {
            Through::Proof | Through::Cookie => (by, expires),
            Through::Token {
                scopes,
                expires: own,
                way,
            } => {
                if !scopes.cover(&request.scopes) || (request.age.is_some() && expires > *own) {
                    return Err(NoToken::More);
                }
                (*way, expires.min(*own))
            }
        };
        let new = New {
            kind: Kind::Token(request.scopes.clone()),
            owner,
            groups: proved.caller.groups().to_vec(),
            way,
            label: request.label,
            expires,
            most: bounds.per_user,
        };
        let (text, credential) = self.credentials.make(new).await?;
        let facts = TokenFacts {
            id: credential.id.clone(),
            label: credential.label.clone(),
            owner: credential.owner.clone(),
            scopes: request.scopes,
            created: credential.created,
            expires: credential.expires,
        };
        Ok(MadeToken { text, facts })
    }

    /// The caller's tokens that count, oldest first; everybody's for a superuser.
    #[must_use]
    pub fn tokens_of(&self, caller: &Caller) -> Vec<TokenFacts> {
        self.credentials
            .tokens()
            .iter()
            .filter(|token| caller.admin || caller.user.as_deref() == Some(&token.owner))
            .filter_map(|token| TokenFacts::of(token))
            .collect()
    }

    /// Revokes a token of the caller's, or anybody's for a superuser; false where there is none.
    ///
    /// # Errors
    /// It can't be stored; then the token goes on counting.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<bool, StoreError> {
        let is_there = self.tokens_of(caller).iter().any(|token| token.id == id);
        if is_there {
            self.credentials.end(id).await?;
        }
        Ok(is_there)
    }

    /// The token of a request: as Bearer, or as the password of the Basic header's `pair`, which is all that some clients can send; then
    /// with the user whose it has to be.
    pub(super) fn token_text<'a>(
        &self,
        presented: &'a Presented,
        pair: Option<&'a (String, String)>,
    ) -> Option<(Option<&'a str>, &'a str)> {
        if !self.ways.iter().any(|way| matches!(way, Way::Token)) {
            return None;
        }
        let found = match presented.authorization.as_deref().and_then(header::bearer) {
            Some(token) => (None, token),
            None => pair.map(|(user, password)| (Some(user.as_str()), password.as_str()))?,
        };
        Some(found).filter(|(_, text)| is_token(text))
    }

    pub(super) fn by_token(&self, shown: Option<(Option<&str>, &str)>) -> Verdict {
        let Some((user, text)) = shown else {
            return Verdict::NotMine;
        };
        let Some(token) = self.credentials.token(text) else {
            return Verdict::NotMine;
        };
        let Kind::Token(scopes) = &token.kind else {
            return Verdict::NotMine;
        };
        let is_owner = user.is_none_or(|user| user == token.owner);
        if !is_owner || !self.still_knows(&token) {
            return Verdict::NotMine;
        }
        Verdict::Proved(Proved {
            caller: Caller::named(&token.owner, token.groups.clone(), &self.access),
            by: Some(AccessMode::Token),
            through: Through::Token {
                scopes: scopes.clone(),
                expires: token.expires,
                way: token.way,
            },
            answer: None,
        })
    }

    /// Whether the way by which the owner had proved the name is one of `access.mode` still, and knows the owner where it can be asked.
    pub(super) fn still_knows(&self, credential: &Arc<Credential>) -> bool {
        self.ways.iter().any(|way| match way {
            Way::Basic(file) if credential.way == AccessMode::Basic => match &credential.kind {
                Kind::Token(_) => file.mark(&credential.owner).is_some(),
                Kind::Login(mark) => mark.is_some() && file.mark(&credential.owner) == *mark,
            },
            // These can be asked only with what the owner has: what was given out lasts as long as it says.
            Way::Ldap(_) => credential.way == AccessMode::Ldap,
            Way::Kerberos(_) => credential.way == AccessMode::Kerberos,
            Way::Jwt(_) => credential.way == AccessMode::Jwt,
            Way::Oidc(_) => credential.way == AccessMode::Oidc,
            Way::Proxy(_) => credential.way == AccessMode::Proxy,
            Way::Basic(_) | Way::Token => false,
        })
    }
}
