//! What a caller may do to a session or batch (contracts: access to others'; livy-spec 6.2).

use std::sync::Arc;

use crate::config::{Access, Lists};

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name that was proved; `None` without authentication.
    pub user: Option<String>,
    groups: Arc<[String]>,
    /// Whether it is one of `access.superusers`.
    pub admin: bool,
}

impl Caller {
    /// A caller who needed no proof.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            user: None,
            groups: Arc::default(),
            admin: false,
        }
    }

    /// The caller of this name, compared with `access.superusers` letter by letter, in these groups.
    #[must_use]
    pub fn named(user: &str, groups: Vec<String>, access: &Access) -> Self {
        Self {
            user: Some(user.to_owned()),
            groups: groups.into(),
            admin: access.superusers.iter().any(|name| name == user),
        }
    }

    /// The groups that the caller is in, as what proved its name tells them.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Makes a session or batch.
    Create,
    /// Asks for a list; each entry is then asked for as [`Action::Show`], and what is hidden is left out and not counted.
    List,
    /// Reads a session or batch itself, or its state.
    Show,
    /// Reads its log, statements or results.
    View,
    /// Changes it: statements, cancel, delete.
    Modify,
    /// Asks about the server itself (metrics, diagnosis).
    Admin,
}

/// The answer to [`may`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Allowed,
    /// Show it with conf, log and code emptied.
    Emptied,
    /// Answer as for one that doesn't exist: 404, with the same words.
    Hidden,
    /// Answer 403 with `{}`.
    Forbidden,
}

/// Whether `caller` may do `action` to what belongs to `owner` and runs as `proxy_user`. For [`Action::Create`],
/// [`Action::List`] and [`Action::Admin`] the two don't count.
///
/// Without authentication everybody may do everything. With it, what has no owner (made before authentication was turned
/// on) is the superusers' alone.
#[must_use]
pub fn may(
    caller: &Caller,
    action: Action,
    owner: Option<&str>,
    proxy_user: Option<&str>,
    access: &Access,
) -> Verdict {
    if access.mode.is_open() {
        return Verdict::Allowed;
    }
    let Some(user) = caller.user.as_deref() else {
        return Verdict::Forbidden;
    };
    let own = owner == Some(user) || proxy_user == Some(user);
    match (action, access.lists) {
        _ if caller.admin => Verdict::Allowed,
        (Action::Create | Action::List, _) => Verdict::Allowed,
        (Action::Admin, _) => Verdict::Forbidden,
        (Action::Show | Action::View | Action::Modify, _) if own => Verdict::Allowed,
        (Action::Show | Action::View | Action::Modify, Lists::Owner) => Verdict::Hidden,
        (Action::Show, Lists::Livy) => Verdict::Emptied,
        (Action::View | Action::Modify, Lists::Livy) => Verdict::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessMode, Modes};

    const ACTIONS: [Action; 6] = [
        Action::Create,
        Action::List,
        Action::Show,
        Action::View,
        Action::Modify,
        Action::Admin,
    ];

    fn access(lists: Lists) -> Access {
        Access {
            mode: Modes::of(vec![AccessMode::Basic]),
            lists,
            superusers: vec!["root".to_owned()],
            ..Access::default()
        }
    }

    #[test]
    fn without_authentication_everybody_may() {
        for action in ACTIONS {
            for owner in [None, Some("ada")] {
                let verdict = may(&Caller::anonymous(), action, owner, None, &Access::default());
                assert_eq!(verdict, Verdict::Allowed);
            }
        }
    }

    #[test]
    fn the_matrix() {
        use Verdict::{Allowed, Emptied, Forbidden, Hidden};
        for (lists, user, owner, proxy_user, verdicts) in [
            (
                Lists::Owner,
                "ada",
                Some("ada"),
                None,
                [Allowed, Allowed, Allowed, Allowed, Allowed, Forbidden],
            ),
            (
                Lists::Owner,
                "ada",
                Some("bob"),
                Some("ada"),
                [Allowed, Allowed, Allowed, Allowed, Allowed, Forbidden],
            ),
            (
                Lists::Owner,
                "ada",
                Some("bob"),
                Some("bob"),
                [Allowed, Allowed, Hidden, Hidden, Hidden, Forbidden],
            ),
            (
                Lists::Owner,
                "ada",
                None,
                None,
                [Allowed, Allowed, Hidden, Hidden, Hidden, Forbidden],
            ),
            (
                Lists::Owner,
                "Ada",
                Some("ada"),
                None,
                [Allowed, Allowed, Hidden, Hidden, Hidden, Forbidden],
            ),
            (
                Lists::Owner,
                "ada ",
                Some("ada"),
                None,
                [Allowed, Allowed, Hidden, Hidden, Hidden, Forbidden],
            ),
            (
                Lists::Livy,
                "ada",
                Some("ada"),
                None,
                [Allowed, Allowed, Allowed, Allowed, Allowed, Forbidden],
            ),
            (
                Lists::Livy,
                "ada",
                Some("bob"),
                None,
                [Allowed, Allowed, Emptied, Forbidden, Forbidden, Forbidden],
            ),
            (Lists::Owner, "root", Some("bob"), None, [Allowed; 6]),
            (Lists::Livy, "root", None, None, [Allowed; 6]),
        ] {
            let access = access(lists);
            let caller = Caller::named(user, Vec::new(), &access);
            let given = ACTIONS.map(|action| may(&caller, action, owner, proxy_user, &access));
            assert_eq!(given, verdicts, "{lists:?} {user} {owner:?} {proxy_user:?}");
        }
    }

    #[test]
    fn who_is_nobody_may_nothing_with_authentication() {
        for action in ACTIONS {
            let verdict = may(&Caller::anonymous(), action, None, None, &access(Lists::Livy));
            assert_eq!(verdict, Verdict::Forbidden);
        }
    }
}
