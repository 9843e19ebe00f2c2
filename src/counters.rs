//! How often each limit on results has bitten since the server started. Any module may count; `serve` tells at the end. Calls nobody.

use std::sync::atomic::{AtomicU64, Ordering};

/// A limit on results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// `output.max_bytes`, of a text that was cut.
    Text,
    /// `output.max_bytes`, of a result that can't be cut: `ResultTooLarge`.
    Structured,
    /// `sql.max_rows`.
    Rows,
    /// `link.outbox_bytes`, of a result that found no room in a driver's outbox.
    Outbox,
}

/// Every limit, in the order of its count.
pub const ALL: [Cap; 4] = [Cap::Text, Cap::Structured, Cap::Rows, Cap::Outbox];

static COUNTS: [AtomicU64; ALL.len()] = [const { AtomicU64::new(0) }; ALL.len()];

impl Cap {
    /// The limit of this name; none for a word that names none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|cap| cap.name() == name)
    }

    /// Its name in the log and in frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Structured => "structured",
            Self::Rows => "rows",
            Self::Outbox => "outbox",
        }
    }

    /// Counts that it has bitten.
    pub fn count(self) {
        if let Some(count) = self.counter() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it has bitten.
    #[must_use]
    pub fn counted(self) -> u64 {
        self.counter().map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn counter(self) -> Option<&'static AtomicU64> {
        ALL.into_iter()
            .zip(&COUNTS)
            .find_map(|(cap, count)| (cap == self).then_some(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_count_of_its_own() {
        for cap in ALL {
            let before = ALL.map(Cap::counted);
            cap.count();
            let rise = ALL.map(|other| u64::from(other == cap));
            let after = ALL.map(Cap::counted);
            assert!(before.iter().zip(rise).map(|(count, one)| count + one).eq(after));
            assert_eq!(Cap::from_name(cap.name()), Some(cap));
        }
    }
}
