//! Wrong passwords, counted for each address, each user, and each user from each address: who was wrong often has to wait, ever
//! longer. Nobody is refused by what others try: a user whom everybody tries is looked at later, from an address that behaves, and
//! what is remembered to be right is not looked at at all.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::config;

/// A password that somebody tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// From where; none over a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// Whose.
    pub(super) user: String,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Throttle {
    config: config::Throttle,
    /// Names are kept as hashes that others can't foresee: they may be long, or a password in the wrong field.
    hasher: RandomState,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    pairs: Ledger<(Option<u128>, u64)>,
    addresses: Ledger<u128>,
    users: Ledger<u64>,
    /// Who was right from where.
    right: Ledger<(Option<u128>, u64)>,
}

#[derive(Debug)]
struct Ledger<K>(HashMap<K, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    times: u32,
    last: Instant,
}

impl Throttle {
    pub(super) fn new(config: config::Throttle) -> Self {
        Self {
            config,
            hasher: RandomState::new(),
            counts: Mutex::default(),
        }
    }

    /// How long a password from there may not be looked at yet; none where it may.
    pub(super) fn held(&self, guess: &Guess, now: Instant) -> Option<Duration> {
        let counts = self.lock();
        let pair = counts.pairs.get(&self.pair(guess));
        // Who has been right from there before does not wait for what others there try.
        let is_fresh = |right: &Seen| now.saturating_duration_since(right.last) < self.config.forget.get();
        let is_known = counts.right.get(&self.pair(guess)).is_some_and(is_fresh);
        let of_address = network(guess.address)
            .filter(|_| !is_known)
            .and_then(|network| counts.addresses.get(&network));
        let waits = [
            pair.and_then(|wrong| self.wait(wrong, self.config.free, now)),
            of_address.and_then(|wrong| self.wait(wrong, self.config.address_free, now)),
        ];
        waits.into_iter().flatten().max()
    }

    /// How much later a password of this user is looked at, which others have tried often.
    pub(super) fn delay(&self, guess: &Guess, now: Instant) -> Option<Duration> {
        let counts = self.lock();
        let wrong = counts.users.get(&self.hasher.hash_one(&guess.user))?;
        let is_fresh = now.saturating_duration_since(wrong.last) < self.config.forget.get();
        (is_fresh && wrong.times > self.config.user_free)
            .then(|| self.config.user_delay.get())
            .filter(|delay| !delay.is_zero())
    }

    /// It was wrong.
    pub(super) fn wrong(&self, guess: &Guess, now: Instant) {
        let (most, forget) = (self.config.entries, self.config.forget.get());
        let mut counts = self.lock();
        let pair = counts.pairs.add(self.pair(guess), most, forget, now);
        counts
            .users
            .add(self.hasher.hash_one(&guess.user), most, forget, now);
        let of_address =
            network(guess.address).map(|network| counts.addresses.add(network, most, forget, now));
        drop(counts);
        let begins = |times: u32, free: u32| times == free.saturating_add(1);
        if begins(pair, self.config.free)
            || of_address.is_some_and(|times| begins(times, self.config.address_free))
        {
            // The name is not told: it may be somebody's password.
            let from = guess
                .address
                .map_or_else(|| "the Unix socket".to_owned(), |address| address.to_string());
            warn!(
                client.address = from,
                "many wrong passwords: the next tries have to wait (access.throttle)"
            );
        }
    }

    /// It was right: what went before from there was a slip. What the address did with other names stays.
    pub(super) fn right(&self, guess: &Guess, now: Instant) {
        let pair = self.pair(guess);
        let mut counts = self.lock();
        counts.pairs.0.remove(&pair);
        counts
            .right
            .add(pair, self.config.entries, self.config.forget.get(), now);
    }

    fn wait(&self, wrong: &Seen, free: u32, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(wrong.last);
        if since >= self.config.forget.get() {
            return None;
        }
        let doublings = wrong.times.checked_sub(free)?.checked_sub(1)?;
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let longest = self.config.longest_wait.get();
        let whole = self
            .config
            .first_wait
            .get()
            .checked_mul(factor)
            .map_or(longest, |wait| wait.min(longest));
        whole.checked_sub(since).filter(|left| !left.is_zero())
    }

    fn pair(&self, guess: &Guess) -> (Option<u128>, u64) {
        (network(guess.address), self.hasher.hash_one(&guess.user))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attacker has one of: an IPv4 address, or the first half of an IPv6 one.
pub(super) fn network(address: Option<IpAddr>) -> Option<u128> {
    Some(match address?.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX) | 1 << 63,
    })
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Ledger<K> {
    fn get(&self, key: &K) -> Option<&Seen> {
        self.0.get(key)
    }

    /// Counts one more; gives how many there are. A count that was not added to for `forget` begins anew.
    fn add(&mut self, key: K, most: usize, forget: Duration, now: Instant) -> u32 {
        let is_fresh = |wrong: &Seen| now.saturating_duration_since(wrong.last) < forget;
        if self.0.len() >= most && !self.0.contains_key(&key) {
            self.0.retain(|_, wrong| is_fresh(wrong));
            if self.0.len() >= most {
                // Who was wrong least often, and longest ago, has the least to lose.
                let least = self.0.iter().min_by_key(|(_, wrong)| (wrong.times, wrong.last));
                if let Some(key) = least.map(|(key, _)| *key) {
                    self.0.remove(&key);
                }
            }
        }
        let wrong = self.0.entry(key).or_insert(Seen { times: 0, last: now });
        if !is_fresh(wrong) {
            wrong.times = 0;
        }
        wrong.times = wrong.times.saturating_add(1);
        wrong.last = now;
        wrong.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn throttle(entries: usize) -> Throttle {
        Throttle::new(config::Throttle {
            free: 2,
            address_free: 5,
            user_free: 7,
            first_wait: Span::secs(1),
            longest_wait: Span::secs(10),
            forget: Span::secs(100),
            entries,
            ..config::Throttle::default()
        })
    }

    fn guess(address: &str, user: &str) -> Guess {
        Guess {
            address: Some(address.parse().unwrap()),
            user: user.to_owned(),
        }
    }

    fn seconds(held: Option<Duration>) -> u64 {
        held.map_or(0, |held| held.as_secs())
    }

    #[test]
    fn waits_grow_to_the_longest_and_end() {
        let (throttle, ada, start) = (throttle(100), guess("10.0.0.1", "ada"), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            throttle.wrong(&ada, start);
            waits.push(seconds(throttle.held(&ada, start)));
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(seconds(throttle.held(&ada, start + Duration::from_secs(9))), 1);
        assert_eq!(throttle.held(&ada, start + Duration::from_secs(10)), None);
        assert_eq!(throttle.held(&ada, start + Duration::from_secs(100)), None);
        throttle.right(&ada, start);
        assert_eq!(throttle.held(&ada, start), None);
        let bob = guess("10.0.0.1", "bob");
        assert_eq!(
            seconds(throttle.held(&bob, start)),
            4,
            "the address's own count stays"
        );
    }

    #[test]
    fn nobody_is_refused_by_what_others_try() {
        let (throttle, now) = (throttle(100), Instant::now());
        for _ in 0..1000 {
            throttle.wrong(&guess("10.0.0.1", "ada"), now);
        }
        let elsewhere = guess("10.0.0.2", "ada");
        assert_eq!(throttle.held(&elsewhere, now), None);
        assert!(throttle.delay(&elsewhere, now).is_some());
        assert_eq!(throttle.delay(&guess("10.0.0.2", "bob"), now), None);
    }

    #[test]
    fn an_address_that_tries_many_names_waits() {
        let (throttle, now) = (throttle(100), Instant::now());
        for number in 0..6 {
            throttle.wrong(&guess("10.0.0.1", &format!("user{number}")), now);
        }
        assert_eq!(seconds(throttle.held(&guess("10.0.0.1", "another"), now)), 1);
        assert_eq!(throttle.held(&guess("10.0.0.2", "another"), now), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (throttle, now) = (throttle(100), Instant::now());
        for number in 0..6 {
            throttle.wrong(
                &guess(&format!("2001:db8::{number}"), &format!("user{number}")),
                now,
            );
        }
        assert!(throttle.held(&guess("2001:db8::ffff", "another"), now).is_some());
        assert!(throttle.held(&guess("2001:db8:0:1::1", "another"), now).is_none());
        assert_eq!(
            network(Some("::ffff:10.0.0.1".parse().unwrap())),
            network(Some("10.0.0.1".parse().unwrap()))
        );
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_kept() {
        let (throttle, now) = (throttle(10), Instant::now());
        let worst = guess("10.9.9.9", "ada");
        for _ in 0..4 {
            throttle.wrong(&worst, now);
        }
        for number in 0..1000_u32 {
            throttle.wrong(
                &guess(
                    &format!("10.0.{}.{}", number / 250, number % 250),
                    &number.to_string(),
                ),
                now,
            );
        }
        assert_eq!(throttle.lock().pairs.0.len(), 10);
        assert_eq!(throttle.lock().addresses.0.len(), 10);
        assert!(throttle.held(&worst, now).is_some());
    }
}
