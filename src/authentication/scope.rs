//! What an API token may do: words, each of which allows reading, and some of which allow changes.

use std::fmt;
use std::str::FromStr;

/// What one word of a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Reads, all that its owner may read.
    Read,
    /// Changes sessions and uploads.
    Sessions,
    /// Changes batches and uploads.
    Batches,
    /// Makes and revokes its owner's tokens, none that may more than it may itself.
    Tokens,
    /// Changes everything that its owner may change, but tokens.
    All,
}

const SCOPES: [(Scope, &str); 5] = [
    (Scope::Read, "read"),
    (Scope::Sessions, "sessions"),
    (Scope::Batches, "batches"),
    (Scope::Tokens, "tokens"),
    (Scope::All, "all"),
];

impl Scope {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SCOPES
            .iter()
            .find(|(scope, _)| *scope == self)
            .map_or("", |(_, word)| word)
    }
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// It is another word.
    #[error("{0:?} is no scope: read, sessions, batches, tokens and all are")]
    Unknown(String),
    /// There is none.
    #[error("a token needs a scope: read, sessions, batches, tokens or all")]
    None,
}

/// The scopes of a token, each once, one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads the words of a request.
    ///
    /// # Errors
    /// See [`BadScope`].
    pub fn of(words: &[String]) -> Result<Self, BadScope> {
        let mut scopes = Vec::new();
        for word in words {
            let found = SCOPES.iter().find(|(_, known)| known == word);
            let (scope, _) = found.ok_or_else(|| BadScope::Unknown(word.chars().take(64).collect()))?;
            scopes.push(*scope);
        }
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            Err(BadScope::None)
        } else {
            Ok(Self(scopes))
        }
    }

    /// The words, for an answer.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.as_str()).collect()
    }

    /// Whether a request may be made that changes something below this first part of its path, such as `sessions`.
    #[must_use]
    pub fn may_change(&self, area: &str) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Read => false,
            Scope::Sessions => matches!(area, "sessions" | "uploads"),
            Scope::Batches => matches!(area, "batches" | "uploads"),
            Scope::Tokens => area == "tokens",
            Scope::All => area != "tokens",
        })
    }

    /// Whether a token of these scopes may nothing that one of `self` may not.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            self.0.contains(wanted)
                || match wanted {
                    Scope::Read => true,
                    Scope::Sessions | Scope::Batches => self.0.contains(&Scope::All),
                    Scope::Tokens | Scope::All => false,
                }
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl FromStr for Scopes {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Self::of(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap()
    }

    #[test]
    fn what_each_changes() {
        let areas = ["sessions", "batches", "uploads", "tokens", "quotas", ""];
        for (text, expected) in [
            ("read", [false; 6]),
            ("sessions", [true, false, true, false, false, false]),
            ("batches", [false, true, true, false, false, false]),
            ("tokens", [false, false, false, true, false, false]),
            ("all", [true, true, true, false, true, true]),
            ("read all tokens", [true; 6]),
        ] {
            assert_eq!(
                areas.map(|area| scopes(text).may_change(area)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn none_gives_more_than_it_has() {
        assert!(scopes("all").cover(&scopes("read sessions batches")));
        assert!(scopes("sessions tokens").cover(&scopes("tokens read")));
        for (has, wanted) in [
            ("all", "tokens"),
            ("sessions tokens", "batches"),
            ("tokens", "all"),
            ("read", "sessions"),
        ] {
            assert!(!scopes(has).cover(&scopes(wanted)), "{has} {wanted}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(scopes("all read all").to_string(), "read all");
        assert_eq!("".parse::<Scopes>(), Err(BadScope::None));
        assert_eq!(
            "root".parse::<Scopes>(),
            Err(BadScope::Unknown("root".to_owned()))
        );
        assert!("Read".parse::<Scopes>().is_err());
    }
}
