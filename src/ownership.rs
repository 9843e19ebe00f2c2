//! Whose a session or batch is, and with whom it is shared: plain values, and the place beside a session or batch in which they are. Readers
//! take them as a whole and wait for nobody.
//!
//! Called by `access`, which says what follows from it, by `session` and `batch`, which have the places, and by `sharing`, which changes them.
//! Calls nothing.

use std::sync::{Arc, PoisonError, RwLock};

/// What somebody may do to what is another's. Each has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See it, its log, its statements and their results.
    View,
    /// Change it: statements, cancel, delete.
    Modify,
    /// Make it their own.
    Own,
}

impl Right {
    /// All, the least first.
    pub const ALL: [Self; 3] = [Self::View, Self::Modify, Self::Own];

    /// The word of the API and of the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Modify => "modify",
            Self::Own => "own",
        }
    }

    /// The right that has this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == word)
    }
}

/// With whom something is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// The user of this name.
    User(String),
    /// Everybody in the group of this name.
    Group(String),
}

/// A right that was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// To whom.
    pub with: Grantee,
    /// What they may do.
    pub right: Right,
}

/// Whose something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user; none without authentication.
    pub owner: Option<String>,
    /// As whom its driver runs, where impersonation is on.
    pub proxy_user: Option<String>,
    /// With whom it is shared, in order; nobody is there twice.
    pub shares: Vec<Share>,
}

impl Ownership {
    /// Shared with nobody.
    #[must_use]
    pub fn of(owner: Option<String>, proxy_user: Option<String>) -> Self {
        Self {
            owner,
            proxy_user,
            shares: Vec::new(),
        }
    }

    /// As whom its driver runs: `proxy_user` where there is one, else the owner.
    #[must_use]
    pub fn runs_as(&self) -> Option<&str> {
        self.proxy_user.as_deref().or(self.owner.as_deref())
    }

    /// With this share in place of the one that they have, if they have one.
    #[must_use]
    pub fn with(&self, share: Share) -> Self {
        let mut shares = self.others(&share.with);
        shares.push(share);
        shares.sort();
        Self {
            shares,
            ..self.clone()
        }
    }

    /// Without a share of theirs; none where they have none.
    #[must_use]
    pub fn without(&self, with: &Grantee) -> Option<Self> {
        let shares = self.others(with);
        (shares.len() < self.shares.len()).then(|| Self {
            shares,
            ..self.clone()
        })
    }

    /// Another's, who needs no share any more.
    #[must_use]
    pub fn handed_to(&self, owner: &str) -> Self {
        Self {
            owner: Some(owner.to_owned()),
            proxy_user: self.proxy_user.clone(),
            shares: self.others(&Grantee::User(owner.to_owned())),
        }
    }

    fn others(&self, with: &Grantee) -> Vec<Share> {
        self.shares
            .iter()
            .filter(|share| share.with != *with)
            .cloned()
            .collect()
    }
}

/// Where a session's or batch's is.
#[derive(Debug)]
pub struct Whose(RwLock<Arc<Ownership>>);

impl Whose {
    /// A place for this.
    #[must_use]
    pub fn new(ownership: Ownership) -> Self {
        Self(RwLock::new(Arc::new(ownership)))
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> Arc<Ownership> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The user's, as it is now.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.get().owner.clone()
    }

    /// Puts another in its place. `sharing` alone does this, once it is stored.
    pub fn set(&self, ownership: Ownership) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ownership);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, right: Right) -> Share {
        let with = Grantee::User(name.to_owned());
        Share { with, right }
    }

    #[test]
    fn nobody_is_there_twice() {
        let one = Ownership::of(Some("ada".to_owned()), None);
        let shared = one
            .with(user("bob", Right::Modify))
            .with(user("bob", Right::View));
        assert_eq!(shared.shares, [user("bob", Right::View)]);
        let group = Share {
            with: Grantee::Group("bob".to_owned()),
            right: Right::Own,
        };
        assert_eq!(
            shared.with(group.clone()).shares,
            [user("bob", Right::View), group.clone()]
        );
        assert_eq!(shared.without(&user("bob", Right::View).with), Some(one.clone()));
        assert_eq!(shared.without(&group.with), None);
    }

    #[test]
    fn the_new_owner_needs_no_share() {
        let one = Ownership::of(Some("ada".to_owned()), Some("svc".to_owned()));
        let handed = one
            .with(user("bob", Right::Own))
            .with(user("eve", Right::View))
            .handed_to("bob");
        assert_eq!(handed.owner.as_deref(), Some("bob"));
        assert_eq!(handed.runs_as(), Some("svc"));
        assert_eq!(handed.shares, [user("eve", Right::View)]);
    }

    #[test]
    fn words() {
        for right in Right::ALL {
            assert_eq!(Right::parse(right.as_str()), Some(right));
        }
        assert_eq!(Right::parse("Own"), None);
        assert!(Right::View < Right::Modify && Right::Modify < Right::Own);
    }
}
