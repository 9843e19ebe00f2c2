//! Everybody's quotas and usage, shared by all that takes and gives back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::cost::Cost;
use super::limits::{Changes, Limits, quota_of};
use super::rate::Rate;
use super::usage::{Kind, Usage, bytes, never};
use crate::config::Quota;

/// Users whose groups are remembered, and accounts whose statements are counted, at most.
const KNOWN: usize = 10_000;

/// Who is told that something has become free. It must not wait.
pub trait Freed: Send + Sync {
    /// Something is free that was not.
    fn freed(self: Arc<Self>);
}

/// Whose usage is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    /// One user; none for all without authentication.
    User(Option<String>),
    /// All users of a quota.
    Quota(String),
}

/// What one session or batch takes of its owner's quota. Clones are the same one's: whose it is changes for all of them.
#[derive(Clone, Debug)]
pub struct Claim {
    owner: Arc<Mutex<Option<String>>>,
    /// What it is.
    pub kind: Kind,
    /// What it costs.
    pub cost: Cost,
}

impl Claim {
    /// A claim of this owner's.
    #[must_use]
    pub fn new(owner: Option<String>, kind: Kind, cost: Cost) -> Self {
        let owner = Arc::new(Mutex::new(owner));
        Self { owner, kind, cost }
    }

    /// Whose it is now.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether both are of the same session or batch.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
    }

    fn set_owner(&self, owner: &Option<String>) {
        self.owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(owner);
    }
}

/// What can never be had, or no more of: a sentence with usage and limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Over(pub String);

/// More statements a minute than the quota allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("More than {most} statements a minute ({by}). Try again in {} s.", self.seconds())]
pub struct TooFast {
    most: u64,
    by: String,
    after: Duration,
}

impl TooFast {
    /// When to try again, in whole seconds from now, 1 at least.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.after.as_secs() + u64::from(self.after.subsec_nanos() > 0)
    }
}

/// One user's quota and usage, to be shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// The user; none for all without authentication.
    pub user: Option<String>,
    /// The quota in the configuration; none where no quota is theirs.
    pub quota: Option<String>,
    /// Whether usage and limits are of all users of the quota together.
    pub together: bool,
    /// What an administrator has changed.
    pub changes: Option<Changes>,
    /// The limits that hold.
    pub limits: Limits,
    /// What is in use.
    pub usage: Usage,
}

/// The quotas of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Quotas {
    inner: Arc<Inner>,
}

struct Inner {
    quotas: BTreeMap<String, Quota>,
    state: Mutex<State>,
    listeners: Mutex<Vec<Weak<dyn Freed>>>,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<String, Arc<[String]>>,
    changes: BTreeMap<String, Changes>,
    usage: HashMap<Account, Usage>,
    /// What is taken, by the numbers of the leases.
    taken: HashMap<u64, Taken>,
    next_lease: u64,
    rates: HashMap<Account, Rate>,
}

/// What is taken of a quota; dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    quotas: Quotas,
    id: u64,
}

#[derive(Debug)]
struct Taken {
    account: Account,
    claim: Claim,
}

/// Whose account a user's is, by which limits, and what people call these.
struct Mine {
    account: Account,
    limits: Limits,
    by: String,
}

impl Quotas {
    /// The configuration's quotas, with what was changed before.
    #[must_use]
    pub fn new(quotas: &BTreeMap<String, Quota>, changes: BTreeMap<String, Changes>) -> Self {
        let state = State {
            changes,
            ..State::default()
        };
        Self {
            inner: Arc::new(Inner {
                quotas: quotas.clone(),
                state: Mutex::new(state),
                listeners: Mutex::default(),
            }),
        }
    }

    /// Has somebody told, from now on, when something becomes free.
    pub fn tell(&self, listener: Weak<dyn Freed>) {
        self.inner.listeners().push(listener);
    }

    /// Remembers the groups of a user who sends a request, or whose session is taken back.
    pub fn know(&self, user: Option<&str>, groups: &[String]) {
        let Some(user) = user else { return };
        let mut state = self.inner.state();
        if state.groups.get(user).is_some_and(|known| **known == *groups) {
            return;
        }
        if state.groups.len() >= KNOWN
            && let Some(one) = state.groups.keys().next().cloned()
        {
            state.groups.remove(&one);
        }
        state.groups.insert(user.to_owned(), groups.into());
    }

    /// Takes what a session or batch costs.
    ///
    /// # Errors
    /// There is no room for it now.
    pub fn take(&self, claim: &Claim) -> Result<Lease, Over> {
        let mut state = self.inner.state();
        let mine = self.inner.mine(&state, claim.owner().as_deref());
        let usage = state.usage.get(&mine.account).copied().unwrap_or_default();
        if let Some(why) = usage.why_not(claim.kind, claim.cost, &mine.limits) {
            return Err(Over(format!("{why} ({})", mine.by)));
        }
        Ok(self.lease(&mut state, mine.account, claim))
    }

    /// Counts what runs already, whatever the limits are now.
    #[must_use]
    pub fn count(&self, claim: &Claim) -> Lease {
        let mut state = self.inner.state();
        let account = self.inner.mine(&state, claim.owner().as_deref()).account;
        self.lease(&mut state, account, claim)
    }

    fn lease(&self, state: &mut State, account: Account, claim: &Claim) -> Lease {
        let id = state.next_lease;
        state.next_lease += 1;
        state.add(&account, claim);
        let claim = claim.clone();
        state.taken.insert(id, Taken { account, claim });
        Lease {
            quotas: self.clone(),
            id,
        }
    }

    /// Counts what a session or batch takes, or waits for, as that user's from now on. What has become free is told by [`Quotas::freed`], which
    /// the caller calls once it has locked nothing.
    ///
    /// # Errors
    /// It runs and the user has no room for it, or it waits and could never run. Nothing has changed then.
    pub fn hand_over(&self, claim: &Claim, owner: &Option<String>) -> Result<(), Over> {
        let mut state = self.inner.state();
        let mine = self.inner.mine(&state, owner.as_deref());
        let Mine { account, limits, by } = &mine;
        let usage = state.usage.get(account).copied().unwrap_or_default();
        let others: Vec<u64> = state.leases_of(claim, account).collect();
        let why = match others.is_empty() {
            true => never(claim.cost, limits),
            false => usage.why_not(claim.kind, claim.cost, limits),
        };
        if let Some(why) = why {
            return Err(Over(format!("{why} ({by})")));
        }
        state.pass(&others, account);
        claim.set_owner(owner);
        Ok(())
    }

    /// Takes a hand-over back: counts it as that user's again, who had it just now.
    pub fn take_back(&self, claim: &Claim, owner: &Option<String>) {
        let mut state = self.inner.state();
        let account = self.inner.mine(&state, owner.as_deref()).account;
        let others: Vec<u64> = state.leases_of(claim, &account).collect();
        state.pass(&others, &account);
        claim.set_owner(owner);
    }

    /// Tells all who listen that something may have become free.
    pub fn freed(&self) {
        self.inner.freed();
    }

    /// Why a session or batch has to wait, as things are now.
    #[must_use]
    pub fn why_not(&self, claim: &Claim) -> Option<String> {
        let state = self.inner.state();
        let mine = self.inner.mine(&state, claim.owner().as_deref());
        let usage = state.usage.get(&mine.account).copied().unwrap_or_default();
        let why = usage.why_not(claim.kind, claim.cost, &mine.limits)?;
        Some(format!("{why} ({})", mine.by))
    }

    /// Refuses what could never run, however long it waited.
    ///
    /// # Errors
    /// What is asked for, what is in use, and the limit.
    pub fn check(&self, claim: &Claim) -> Result<(), Over> {
        let state = self.inner.state();
        let mine = self.inner.mine(&state, claim.owner().as_deref());
        let Some(why) = never(claim.cost, &mine.limits) else {
            return Ok(());
        };
        let Usage { cost, .. } = state.usage.get(&mine.account).copied().unwrap_or_default();
        let used = format!(
            "in use are {} cores and {} memory",
            cost.cores,
            bytes(cost.memory)
        );
        Err(Over(format!("Over quota: {why}; {used} ({}).", mine.by)))
    }

    /// How many sessions, or batches, of an owner may wait, and by which quota.
    #[must_use]
    pub fn queued(&self, owner: Option<&str>) -> Option<(u64, String)> {
        let mine = self.inner.mine(&self.inner.state(), owner);
        Some((mine.limits.queued?, mine.by))
    }

    /// How many bytes an owner's uploads may have, and by which quota.
    #[must_use]
    pub fn uploads(&self, owner: Option<&str>) -> Option<(u64, String)> {
        let mine = self.inner.mine(&self.inner.state(), owner);
        Some((mine.limits.uploads?, mine.by))
    }

    /// Counts a statement or job of an owner.
    ///
    /// # Errors
    /// There were too many within the last minute.
    pub fn statement(&self, owner: Option<&str>) -> Result<(), TooFast> {
        let mut state = self.inner.state();
        let Mine { account, limits, by } = self.inner.mine(&state, owner);
        let Some(most) = limits.statements_per_minute else {
            return Ok(());
        };
        let now = Instant::now();
        if state.rates.len() >= KNOWN && !state.rates.contains_key(&account) {
            state.rates.retain(|_, rate| !rate.is_full(now));
            if state.rates.len() >= KNOWN {
                state.rates.clear();
            }
        }
        let rate = state.rates.entry(account).or_insert_with(|| Rate::new(now));
        rate.count(most, now).map_err(|after| TooFast { most, by, after })
    }

    /// Changes a user's limits from now on; no change has them as the configuration says.
    pub fn change(&self, user: &str, changes: Changes) {
        let mut state = self.inner.state();
        if changes == Changes::default() {
            state.changes.remove(user);
        } else {
            state.changes.insert(user.to_owned(), changes);
        }
        drop(state);
        self.inner.freed();
    }

    /// One user's quota and usage.
    #[must_use]
    pub fn report(&self, user: Option<&str>) -> Report {
        self.inner.report(&self.inner.state(), user)
    }

    /// Those of all users who are known: that use something, have groups, or were changed; by name.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let state = self.inner.state();
        let using = state.usage.keys().filter_map(|account| match account {
            Account::User(user) => Some(user.clone()),
            Account::Quota(_) => None,
        });
        let named = state.groups.keys().chain(state.changes.keys()).cloned().map(Some);
        let users: BTreeSet<Option<String>> = using.chain(named).collect();
        users
            .iter()
            .map(|user| self.inner.report(&state, user.as_deref()))
            .collect()
    }
}

impl State {
    fn add(&mut self, account: &Account, claim: &Claim) {
        let usage = self.usage.entry(account.clone()).or_default();
        usage.add(claim.kind, claim.cost);
    }

    fn subtract(&mut self, account: &Account, claim: &Claim) {
        if let Some(usage) = self.usage.get_mut(account) {
            usage.subtract(claim.kind, claim.cost);
            if *usage == Usage::default() {
                self.usage.remove(account);
            }
        }
    }

    /// What a claim has taken that is counted elsewhere than in this account.
    fn leases_of(&self, claim: &Claim, account: &Account) -> impl Iterator<Item = u64> {
        let taken = self.taken.iter();
        let elsewhere =
            taken.filter(move |(_, taken)| taken.claim.is_same(claim) && taken.account != *account);
        elsewhere.map(|(id, _)| *id)
    }

    /// Counts these in that account.
    fn pass(&mut self, leases: &[u64], account: &Account) {
        for id in leases {
            let Some(Taken { account: from, claim }) = self.taken.remove(id) else {
                continue;
            };
            self.subtract(&from, &claim);
            self.add(account, &claim);
            let account = account.clone();
            self.taken.insert(*id, Taken { account, claim });
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Weak<dyn Freed>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quota(&self, state: &State, user: Option<&str>) -> Option<(&str, &Quota)> {
        let groups = user.and_then(|user| state.groups.get(user));
        quota_of(&self.quotas, user, groups.map_or(&[][..], |groups| &**groups))
    }

    fn mine(&self, state: &State, user: Option<&str>) -> Mine {
        let quota = self.quota(state, user);
        let changes = user.and_then(|user| state.changes.get(user));
        let own = Account::User(user.map(str::to_owned));
        // Who was given limits of their own is counted alone.
        let account = match quota {
            Some((name, quota)) if quota.together && changes.is_none() => Account::Quota(name.to_owned()),
            _ => own,
        };
        let limits = quota.map(|(_, quota)| Limits::of(quota)).unwrap_or_default();
        let by = match (changes, quota) {
            (None, Some((name, _))) => format!("quota.{name}"),
            _ => "the quota that an administrator set".to_owned(),
        };
        Mine {
            account,
            limits: changes.map_or(limits, |changes| limits.with(changes)),
            by,
        }
    }

    fn report(&self, state: &State, user: Option<&str>) -> Report {
        let mine = self.mine(state, user);
        Report {
            user: user.map(str::to_owned),
            quota: self.quota(state, user).map(|(name, _)| name.to_owned()),
            together: matches!(mine.account, Account::Quota(_)),
            changes: user.and_then(|user| state.changes.get(user)).copied(),
            limits: mine.limits,
            usage: state.usage.get(&mine.account).copied().unwrap_or_default(),
        }
    }

    /// Tells all who listen; nothing is locked meanwhile.
    fn freed(&self) {
        let mut listeners = self.listeners();
        listeners.retain(|listener| listener.strong_count() > 0);
        let told: Vec<_> = listeners.iter().filter_map(Weak::upgrade).collect();
        drop(listeners);
        told.into_iter().for_each(|listener| listener.freed());
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        formatter.debug_struct("Quotas").field("state", &*state).finish()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let inner = &self.quotas.inner;
        let mut state = inner.state();
        if let Some(Taken { account, claim }) = state.taken.remove(&self.id) {
            state.subtract(&account, &claim);
        }
        drop(state);
        inner.freed();
    }
}

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;
