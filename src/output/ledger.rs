//! How much room the files take, and which go first: a session's own oldest where it is over its share, the oldest of all where
//! all are over theirs. Pure.

use std::collections::{BTreeMap, HashMap};

/// Names an output: its session and its statement.
pub(super) type Name = (i64, i64);

/// The files that there are.
#[derive(Debug)]
pub(super) struct Ledger {
    session_limit: u64,
    total_limit: u64,
    total: u64,
    next: u64,
    by_age: BTreeMap<u64, Name>,
    sessions: HashMap<i64, Session>,
}

#[derive(Debug, Default)]
struct Session {
    bytes: u64,
    /// By statement, and so by age: the place in `by_age`, and the file's bytes.
    files: BTreeMap<i64, (u64, u64)>,
}

impl Ledger {
    pub(super) fn new(session_limit: u64, total_limit: u64) -> Self {
        Self {
            session_limit,
            total_limit,
            total: 0,
            next: 0,
            by_age: BTreeMap::new(),
            sessions: HashMap::new(),
        }
    }

    /// Takes note of a new file; gives those that have to go for it, which are noted no more. The new one stays.
    pub(super) fn enter(&mut self, name: Name, bytes: u64) -> Vec<Name> {
        let (session, statement) = name;
        self.leave(name);
        let place = self.next;
        self.next += 1;
        self.by_age.insert(place, name);
        let own = self.sessions.entry(session).or_default();
        own.files.insert(statement, (place, bytes));
        own.bytes += bytes;
        self.total += bytes;
        let mut gone = Vec::new();
        while let Some(oldest) = self.too_old(session).filter(|oldest| *oldest != name) {
            self.leave(oldest);
            gone.push(oldest);
        }
        gone
    }

    /// Forgets a file; one that is not noted is no trouble.
    pub(super) fn leave(&mut self, (session, statement): Name) {
        let Some(own) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Some((place, bytes)) = own.files.remove(&statement) {
            own.bytes -= bytes;
            self.total -= bytes;
            self.by_age.remove(&place);
        }
        if own.files.is_empty() {
            self.sessions.remove(&session);
        }
    }

    /// Forgets a session's files below a statement; gives them.
    pub(super) fn leave_below(&mut self, session: i64, below: i64) -> Vec<Name> {
        let own = self.sessions.get(&session);
        let gone: Vec<Name> = own
            .into_iter()
            .flat_map(|own| own.files.range(..below))
            .map(|(statement, _)| (session, *statement))
            .collect();
        gone.iter().for_each(|name| self.leave(*name));
        gone
    }

    /// The sessions that have files.
    pub(super) fn sessions(&self) -> Vec<i64> {
        self.sessions.keys().copied().collect()
    }

    /// The next to go; none while all is within the limits.
    fn too_old(&self, session: i64) -> Option<Name> {
        let own = self.sessions.get(&session)?;
        if own.bytes > self.session_limit {
            let (statement, _) = own.files.first_key_value()?;
            return Some((session, *statement));
        }
        let over = self.total > self.total_limit;
        self.by_age
            .first_key_value()
            .filter(|_| over)
            .map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut ledger = Ledger::new(100, 150);
        assert!(ledger.enter((1, 0), 60).is_empty());
        assert!(ledger.enter((2, 0), 60).is_empty());
        // Its session's share comes first.
        assert_eq!(ledger.enter((1, 1), 60), [(1, 0)]);
        // Then everybody's: the oldest of all is another's.
        assert_eq!(ledger.enter((1, 2), 40), [(2, 0)]);
        assert_eq!(ledger.total, 100);
        // What is entered again is counted once.
        assert!(ledger.enter((1, 2), 30).is_empty());
        assert_eq!(ledger.total, 90);
        assert_eq!(ledger.leave_below(1, 2), [(1, 1)]);
        ledger.leave((1, 2));
        assert_eq!(
            (ledger.total, ledger.by_age.len(), ledger.sessions.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_new_one_stays_however_large() {
        let mut ledger = Ledger::new(10, 10);
        assert!(ledger.enter((1, 0), 50).is_empty());
        assert_eq!(ledger.enter((1, 1), 50), [(1, 0)]);
    }
}
