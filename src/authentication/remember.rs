//! What was proved a short while ago, so that it need not be proved again with each request. Called by the ways that check passwords.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The most proofs that are remembered.
pub(super) const MOST: usize = 4096;

/// What a proof is remembered by: not to be turned back without the key, which is this process's own.
pub(super) type Fingerprint = [u8; 32];

/// Proofs, each with what it proved. Passwords themselves are not kept.
pub(super) struct Remembered<T> {
    lasting: Duration,
    /// As long as a block of SHA-256, which HMAC takes as it is.
    key: [u8; 64],
    proofs: Mutex<HashMap<Fingerprint, (Instant, T)>>,
}

impl<T: Clone> Remembered<T> {
    /// Remembers each proof for so long; not at all where it is zero.
    ///
    /// # Errors
    /// The system gave no random key.
    pub(super) fn new(lasting: Duration) -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self {
            lasting,
            key,
            proofs: Mutex::new(HashMap::new()),
        })
    }

    /// What these texts together are remembered by.
    pub(super) fn fingerprint(&self, parts: [&str; 3]) -> Fingerprint {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// What was proved by this, unless it is too long ago.
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<T> {
        let proofs = self.proofs();
        let (until, proved) = proofs.get(fingerprint)?;
        (Instant::now() < *until).then(|| proved.clone())
    }

    /// Remembers what was just proved; where there are too many, those that end soonest go.
    pub(super) fn put(&self, fingerprint: Fingerprint, proved: T) {
        if self.lasting.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut proofs = self.proofs();
        if proofs.len() >= MOST {
            proofs.retain(|_, (until, _)| now < *until);
        }
        if proofs.len() >= MOST {
            let soonest = proofs
                .iter()
                .min_by_key(|(_, (until, _))| *until)
                .map(|(fingerprint, _)| *fingerprint);
            soonest.map(|fingerprint| proofs.remove(&fingerprint));
        }
        proofs.insert(fingerprint, (now + self.lasting, proved));
    }

    fn proofs(&self) -> MutexGuard<'_, HashMap<Fingerprint, (Instant, T)>> {
        // What is behind it is whole after any panic.
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all that is remembered too old.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        for (until, _) in self.proofs().values_mut() {
            *until = Instant::now();
        }
    }
}

impl<T> std::fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_remembered() {
        let remembered = Remembered::new(Duration::from_secs(60)).unwrap();
        for number in 0..MOST + 10 {
            remembered.put(remembered.fingerprint(["ada", &number.to_string(), ""]), number);
        }
        assert_eq!(remembered.proofs().len(), MOST);
        let newest = remembered.fingerprint(["ada", &(MOST + 9).to_string(), ""]);
        assert_eq!(remembered.get(&newest), Some(MOST + 9));
        remembered.expire();
        assert_eq!(remembered.get(&newest), None);
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let remembered: Remembered<()> = Remembered::new(Duration::ZERO).unwrap();
        assert_ne!(
            remembered.fingerprint(["ada", "b", ""]),
            remembered.fingerprint(["ad", "ab", ""])
        );
        let other: Remembered<()> = Remembered::new(Duration::ZERO).unwrap();
        assert_ne!(
            other.fingerprint(["", "", ""]),
            remembered.fingerprint(["", "", ""])
        );
        remembered.put([0; 32], ());
        assert_eq!(remembered.get(&[0; 32]), None);
    }
}
