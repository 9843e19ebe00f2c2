//! What this server gives out for callers to come back with: API tokens and browsers' logins.
//!
//! Each is a name of 64 random bits, by which it is found, and a secret of 256, of which only the SHA-256 is kept, in the store and in
//! memory: whoever reads either can't use what is there. Every look compares in constant time, what is unknown too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::warn;

use super::scope::Scopes;
use crate::clock::now_ms;
use crate::config::AccessMode;
use crate::store::{CredentialRow, Op, Store, StoreError};

/// What every token begins with, so that scanners find one that leaked.
const TOKEN_PREFIX: &str = "fst_";
const NAME_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// What a credential is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Programs send it in `Authorization`.
    Token(Scopes),
    /// A browser sends it in a cookie; with what tells that the password is still the same, where the way can tell.
    Login(Option<String>),
}

/// A token or a login.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) id: String,
    hash: [u8; 32],
    pub(super) kind: Kind,
    pub(super) owner: String,
    pub(super) groups: Vec<String>,
    /// How the owner had proved the name.
    pub(super) way: AccessMode,
    pub(super) label: Option<String>,
    pub(super) created: i64,
    pub(super) expires: i64,
    seen: Mutex<Instant>,
}

/// What is to be made.
#[derive(Debug)]
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) owner: String,
    pub(super) groups: Vec<String>,
    pub(super) way: AccessMode,
    pub(super) label: Option<String>,
    pub(super) expires: i64,
    /// The most of its kind that one user has.
    pub(super) most: usize,
}

/// Why none is made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// There are enough of them.
    #[error(
        "There are {0} tokens already, which is the most that one user can have (access.token.per_user): revoke one first."
    )]
    Full(usize),
    /// It can't be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no random numbers.
    #[error("The system gives no random numbers: {0}")]
    Random(String),
}

/// All that count.
#[derive(Debug)]
pub(super) struct Credentials {
    store: Store,
    held: Mutex<HashMap<String, Arc<Credential>>>,
    /// One is made at a time, so that the bounds hold.
    making: tokio::sync::Mutex<()>,
}

impl Credentials {
    /// Reads those that count from the store.
    pub(super) async fn open(store: &Store) -> Result<Self, StoreError> {
        let mut held = HashMap::new();
        for row in store.credentials(now_ms()).await? {
            let id = row.id.clone();
            match read(row) {
                Some(credential) => {
                    held.insert(id, Arc::new(credential));
                }
                None => warn!(
                    credential.id = id,
                    "a stored token or login can't be read; it does not count"
                ),
            }
        }
        Ok(Self {
            store: store.clone(),
            held: Mutex::new(held),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// The token that a client sent, if it is one and counts.
    pub(super) fn token(&self, text: &str) -> Option<Arc<Credential>> {
        let found = self.find(text.strip_prefix(TOKEN_PREFIX)?)?;
        matches!(found.kind, Kind::Token(_)).then_some(found)
    }

    /// The login that a browser's cookie names, if it counts and was used within `idle`; from now on it was.
    pub(super) fn login(&self, text: &str, idle: Duration) -> Option<Arc<Credential>> {
        let found = self.find(text)?;
        if !matches!(found.kind, Kind::Login(_)) {
            return None;
        }
        let mut seen = found.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.elapsed() >= idle {
            return None;
        }
        *seen = Instant::now();
        drop(seen);
        Some(found)
    }

    /// Makes one and stores it; gives the text that only its owner knows from then on. Of a login too many the oldest goes.
    pub(super) async fn make(&self, new: New) -> Result<(String, Arc<Credential>), NotMade> {
        let _turn = self.making.lock().await;
        let is_token = matches!(new.kind, Kind::Token(_));
        let mut own: Vec<_> = self
            .all()
            .into_iter()
            .filter(|held| held.owner == new.owner && matches!(held.kind, Kind::Token(_)) == is_token)
            .collect();
        // Each is later than the one before it, so that the oldest is known whatever the clock does.
        let created = own
            .last()
            .map_or(now_ms(), |last| now_ms().max(last.created.saturating_add(1)));
        if own.len() >= new.most {
            if is_token {
                return Err(NotMade::Full(own.len()));
            }
            own.truncate(own.len() + 1 - new.most);
            for oldest in own {
                self.end(&oldest.id).await?;
            }
        }
        let mut bytes = [0; NAME_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| NotMade::Random(error.to_string()))?;
        let (name, secret) = bytes.split_at(NAME_BYTES);
        let credential = Credential {
            id: hex(name),
            hash: Sha256::digest(secret).into(),
            kind: new.kind,
            owner: new.owner,
            groups: new.groups,
            way: new.way,
            label: new.label,
            created,
            expires: new.expires,
            seen: Mutex::new(Instant::now()),
        };
        self.store
            .write(Op::InsertCredential(Box::new(row(&credential))))
            .await?;
        let credential = Arc::new(credential);
        self.lock().insert(credential.id.clone(), Arc::clone(&credential));
        let prefix = if is_token { TOKEN_PREFIX } else { "" };
        Ok((
            format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
            credential,
        ))
    }

    /// The tokens that count, oldest first.
    pub(super) fn tokens(&self) -> Vec<Arc<Credential>> {
        let mut all = self.all();
        all.retain(|held| matches!(held.kind, Kind::Token(_)));
        all
    }

    /// Ends one: once this is answered nothing is proved by it any more, and no restart brings it back.
    pub(super) async fn end(&self, id: &str) -> Result<(), StoreError> {
        self.store
            .write(Op::DeleteCredential { id: id.to_owned() })
            .await?;
        self.lock().remove(id);
        Ok(())
    }

    /// Those that have not expired, oldest first; the others are forgotten, and the store does so with the next insert.
    fn all(&self) -> Vec<Arc<Credential>> {
        let now = now_ms();
        let mut held = self.lock();
        held.retain(|_, credential| credential.expires > now);
        let mut all: Vec<_> = held.values().cloned().collect();
        drop(held);
        all.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        all
    }

    fn find(&self, text: &str) -> Option<Arc<Credential>> {
        let bytes = decoded(text)?;
        let (name, secret) = bytes.split_at(NAME_BYTES);
        let found = self.lock().get(&hex(name)).cloned();
        let sent: [u8; 32] = Sha256::digest(secret).into();
        let kept = found.as_ref().map_or([0; 32], |credential| credential.hash);
        let is_it = bool::from(sent.ct_eq(&kept));
        found.filter(|credential| is_it && credential.expires > now_ms())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Credential>>> {
        // The map is whole after any panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether that has the form of a token, so that it is nobody's password.
pub(super) fn is_token(text: &str) -> bool {
    text.strip_prefix(TOKEN_PREFIX).and_then(decoded).is_some()
}

fn decoded(text: &str) -> Option<[u8; NAME_BYTES + SECRET_BYTES]> {
    let mut bytes = [0; NAME_BYTES + SECRET_BYTES];
    let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == bytes.len()).then_some(bytes)
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn row(credential: &Credential) -> CredentialRow {
    let (kind, scopes, mark) = match &credential.kind {
        Kind::Token(scopes) => ("token", scopes.to_string(), None),
        Kind::Login(mark) => ("login", String::new(), mark.clone()),
    };
    CredentialRow {
        id: credential.id.clone(),
        kind: kind.to_owned(),
        hash: hex(&credential.hash),
        owner: credential.owner.clone(),
        member_of: serde_json::json!(credential.groups).to_string(),
        way: credential.way.as_str().to_owned(),
        scopes,
        label: credential.label.clone(),
        mark,
        created: credential.created,
        expires: credential.expires,
    }
}

fn read(row: CredentialRow) -> Option<Credential> {
    let way = serde_json::from_value(row.way.into()).ok()?;
    let mut hash = [0; 32];
    if row.hash.len() != 2 * hash.len() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(row.hash.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Credential {
        kind: match row.kind.as_str() {
            "token" => Kind::Token(row.scopes.parse().ok()?),
            "login" => Kind::Login(row.mark),
            _ => return None,
        },
        id: row.id,
        hash,
        owner: row.owner,
        groups: serde_json::from_str(&row.member_of).ok()?,
        way,
        label: row.label,
        created: row.created,
        expires: row.expires,
        seen: Mutex::new(Instant::now()),
    })
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "credentials_timing.rs"]
mod timing;
