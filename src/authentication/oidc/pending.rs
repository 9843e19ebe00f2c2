//! Logins that are at the provider: what each must come back with. Bounded in number and time, and each is answered once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::authentication::throttle::network;

/// Bytes of each secret; as base64url they are a verifier of 43 letters (RFC 7636, 4.1).
const SECRET_BYTES: usize = 32;

/// The logins. What finds one, and what its browser must show, are kept as hashes.
#[derive(Debug)]
pub(super) struct Pending {
    most: usize,
    lasting: Duration,
    held: Mutex<HashMap<[u8; 32], Held>>,
}

#[derive(Debug)]
struct Held {
    browser: [u8; 32],
    nonce: String,
    verifier: String,
    to: String,
    from: Option<u128>,
    begun: Instant,
}

/// What a login begins with.
#[derive(Debug)]
pub(super) struct Begun {
    /// Goes to the provider and comes back; finds the login.
    pub(super) state: String,
    /// Stays with the browser.
    pub(super) browser: String,
    /// Comes back in the ID token.
    pub(super) nonce: String,
    /// What the code is bound to (RFC 7636, 4.2, S256).
    pub(super) challenge: String,
}

/// A login that has come back.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Where the browser wanted to go.
    pub(super) to: String,
}

impl Pending {
    pub(super) fn new(most: usize, lasting: Duration) -> Self {
        Self {
            most,
            lasting,
            held: Mutex::default(),
        }
    }

    /// Begins a login of a browser at this address. Where there are too many, the oldest of the address that has most of them ends: who begins
    /// many gets rid of their own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn begin(
        &self,
        address: Option<IpAddr>,
        to: String,
        now: Instant,
    ) -> Result<Begun, getrandom::Error> {
        let [state, browser, nonce, verifier] = [secret()?, secret()?, secret()?, secret()?];
        let begun = Begun {
            challenge: BASE64_URL_SAFE_NO_PAD.encode(hash(&verifier)),
            state,
            browser,
            nonce,
        };
        let held = Held {
            browser: hash(&begun.browser),
            nonce: begun.nonce.clone(),
            verifier,
            to,
            from: network(address),
            begun: now,
        };
        let mut all = self.lock(now);
        while all.len() >= self.most {
            let Some(oldest) = oldest_of_most(&all) else {
                break;
            };
            all.remove(&oldest);
        }
        all.insert(hash(&begun.state), held);
        Ok(begun)
    }

    /// The login of this state, if this browser began it; from now on there is none.
    pub(super) fn take(&self, state: &str, browser: &str, now: Instant) -> Option<Returned> {
        let (state, browser) = (hash(state), hash(browser));
        let mut all = self.lock(now);
        let is_its = |held: &Held| bool::from(held.browser.ct_eq(&browser));
        let held = match all.get(&state).is_some_and(is_its) {
            true => all.remove(&state)?,
            false => return None,
        };
        Some(Returned {
            nonce: held.nonce,
            verifier: held.verifier,
            to: held.to,
        })
    }

    /// Those that may still come back.
    fn lock(&self, now: Instant) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        // The map is whole after any panic.
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| now.saturating_duration_since(held.begun) < self.lasting);
        all
    }
}

/// The oldest login of the address that has most of them.
fn oldest_of_most(all: &HashMap<[u8; 32], Held>) -> Option<[u8; 32]> {
    let mut counts: HashMap<Option<u128>, (usize, Instant, [u8; 32])> = HashMap::new();
    for (state, held) in all {
        let entry = counts.entry(held.from).or_insert((0, held.begun, *state));
        entry.0 += 1;
        if held.begun < entry.1 {
            (entry.1, entry.2) = (held.begun, *state);
        }
    }
    let most = counts
        .into_values()
        .max_by_key(|(count, begun, _)| (*count, std::cmp::Reverse(*begun)));
    most.map(|(_, _, state)| state)
}

fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn a_login_comes_back_once_and_to_its_browser() {
        let (pending, now) = (Pending::new(10, Duration::from_secs(60)), Instant::now());
        let begun = pending.begin(from("10.0.0.1"), "/ui".to_owned(), now).unwrap();
        let other = pending.begin(from("10.0.0.1"), "/ui".to_owned(), now).unwrap();
        assert!(pending.take(&begun.state, &other.browser, now).is_none());
        assert!(pending.take(&begun.state, "", now).is_none());
        assert!(pending.take(&begun.browser, &begun.state, now).is_none());
        let returned = pending.take(&begun.state, &begun.browser, now).unwrap();
        assert_eq!((returned.nonce, returned.to), (begun.nonce, "/ui".to_owned()));
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(hash(&returned.verifier)),
            begun.challenge
        );
        assert!(pending.take(&begun.state, &begun.browser, now).is_none());
        let later = now + Duration::from_secs(60);
        assert!(pending.take(&other.state, &other.browser, later).is_none());
        assert!(pending.lock(later).is_empty());
    }

    #[test]
    fn who_begins_many_gets_rid_of_their_own() {
        let (pending, now) = (Pending::new(10, Duration::from_secs(60)), Instant::now());
        let first = pending.begin(from("10.0.0.1"), String::new(), now).unwrap();
        let many = (1..100).map(|second| {
            let at = now + Duration::from_millis(second);
            pending.begin(from("10.0.0.2"), String::new(), at).unwrap()
        });
        let many: Vec<_> = many.collect();
        let late = now + Duration::from_secs(1);
        assert_eq!(pending.lock(late).len(), 10);
        let is_there = |begun: &Begun| pending.take(&begun.state, &begun.browser, late).is_some();
        assert!(is_there(&first));
        assert!(many[..90].iter().all(|begun| !is_there(begun)));
        assert!(many[90..].iter().all(is_there));
    }

    /// The example of RFC 7636, appendix B.
    #[test]
    fn a_challenge_is_the_hash_of_its_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(hash(verifier));
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
