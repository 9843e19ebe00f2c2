//! Where warm drivers wait: a shelf for each suit, and, where drivers run as their users (`run_as.mode`), for each user who has lately had a session.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Counts;
use super::warm::Warm;

/// Which shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As whom its drivers run; none where all run as the server.
    pub user: Option<String>,
    /// Of which suit they are.
    pub suit: usize,
}

/// The drivers of one place.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub ready: VecDeque<Warm>,
    /// None is started before.
    pub not_before: Option<Instant>,
    /// Starts in a row that failed.
    pub failures: u32,
    pub counts: Counts,
}

/// All shelves.
#[derive(Debug)]
pub(super) struct Shelves {
    suits: usize,
    /// Who was seen latest first. Where all drivers run as the server there is one row of shelves, which is nobody's and stays.
    rows: VecDeque<Row>,
}

/// The shelves of one user, one for each suit.
#[derive(Debug)]
struct Row {
    user: Option<String>,
    seen: Instant,
    shelves: Vec<Shelf>,
}

impl Row {
    fn new(user: Option<String>, suits: usize, not_before: Option<Instant>) -> Self {
        let shelf = || Shelf {
            not_before,
            ..Shelf::default()
        };
        Self {
            user,
            seen: Instant::now(),
            shelves: std::iter::repeat_with(shelf).take(suits).collect(),
        }
    }

    fn drivers(self) -> impl Iterator<Item = Warm> {
        self.shelves.into_iter().flat_map(|shelf| shelf.ready)
    }
}

impl Shelves {
    /// Shelves for everybody.
    pub(super) fn common(suits: usize) -> Self {
        Self {
            suits,
            rows: [Row::new(None, suits, None)].into(),
        }
    }

    /// Shelves that each user gets with the first session.
    pub(super) fn of_users(suits: usize) -> Self {
        Self {
            suits,
            rows: VecDeque::new(),
        }
    }

    /// A user has a session: they have shelves now, and are the last of `most` to lose them. What is on the shelves of who does.
    pub(super) fn see(&mut self, user: &str, most: usize, not_before: Instant) -> Vec<Warm> {
        let at = self.rows.iter().position(|row| row.user.as_deref() == Some(user));
        let row = match at.and_then(|at| self.rows.remove(at)) {
            Some(row) => Row {
                seen: Instant::now(),
                ..row
            },
            None => Row::new(Some(user.to_owned()), self.suits, Some(not_before)),
        };
        self.rows.push_front(row);
        let kept = self.rows.len().min(most);
        self.rows
            .split_off(kept)
            .into_iter()
            .flat_map(Row::drivers)
            .collect()
    }

    /// Takes the shelves of users who have had no session for so long, and gives what is on them.
    pub(super) fn clear_idle(&mut self, idle: Duration) -> Vec<Warm> {
        let is_idle = |row: &Row| row.user.is_some() && row.seen.elapsed() >= idle;
        let kept = self.rows.partition_point(|row| !is_idle(row));
        self.rows
            .split_off(kept)
            .into_iter()
            .flat_map(Row::drivers)
            .collect()
    }

    /// Takes a user's shelves, and gives what is on them.
    pub(super) fn clear(&mut self, user: Option<&str>) -> Vec<Warm> {
        let at = self.rows.iter().position(|row| row.user.as_deref() == user);
        let row = at.and_then(|at| self.rows.remove(at));
        row.into_iter().flat_map(Row::drivers).collect()
    }

    /// The shelf; none where the user has none any more.
    pub(super) fn get(&mut self, place: &Place) -> Option<&mut Shelf> {
        let mut rows = self.rows.iter_mut();
        rows.find(|row| row.user == place.user)?
            .shelves
            .get_mut(place.suit)
    }

    /// All of them, with whose they are and of which suit.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Option<String>, usize, &Shelf)> {
        self.rows.iter().flat_map(|row| {
            let shelves = row.shelves.iter().enumerate();
            shelves.map(|(suit, shelf)| (&row.user, suit, shelf))
        })
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Option<String>, usize, &mut Shelf)> {
        self.rows.iter_mut().flat_map(|row| {
            let user = &row.user;
            let shelves = row.shelves.iter_mut().enumerate();
            shelves.map(move |(suit, shelf)| (user, suit, shelf))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(user: &str, suit: usize) -> Place {
        Place {
            user: Some(user.to_owned()),
            suit,
        }
    }

    fn users(shelves: &Shelves) -> Vec<&str> {
        shelves
            .iter()
            .filter_map(|(user, _, _)| user.as_deref())
            .collect()
    }

    #[test]
    fn who_was_seen_longest_ago_loses_them() {
        let mut shelves = Shelves::of_users(1);
        let now = Instant::now();
        for user in ["ada", "bob", "ada", "eve"] {
            shelves.see(user, 2, now);
        }
        assert_eq!(users(&shelves), ["eve", "ada"]);
        assert!(shelves.get(&place("bob", 0)).is_none());
        shelves.get(&place("ada", 0)).unwrap().counts.claimed = 3;
        shelves.see("ada", 2, now);
        assert_eq!(users(&shelves), ["ada", "eve"]);
        let kept = shelves.get(&place("ada", 0)).unwrap();
        assert_eq!((kept.counts.claimed, kept.not_before), (3, Some(now)));
        shelves.clear(Some("ada"));
        assert_eq!(users(&shelves), ["eve"]);
    }

    #[test]
    fn each_has_one_for_each_suit() {
        let mut shelves = Shelves::of_users(2);
        shelves.see("ada", 9, Instant::now());
        shelves.get(&place("ada", 1)).unwrap().failures = 1;
        let failures: Vec<u32> = shelves.iter().map(|(_, _, shelf)| shelf.failures).collect();
        assert_eq!(failures, [0, 1]);
        assert!(shelves.get(&place("ada", 2)).is_none());
        assert!(shelves.get(&place("bob", 0)).is_none());
        assert!(shelves.get(&Place { user: None, suit: 0 }).is_none());
    }

    #[test]
    fn only_users_become_idle() {
        let mut shelves = Shelves::of_users(1);
        shelves.see("ada", 9, Instant::now());
        shelves.clear_idle(Duration::from_secs(3600));
        assert_eq!(users(&shelves), ["ada"]);
        shelves.clear_idle(Duration::ZERO);
        assert_eq!(users(&shelves).len(), 0);
        let mut common = Shelves::common(2);
        common.clear_idle(Duration::ZERO);
        assert_eq!(common.iter().count(), 2);
    }
}
