//! Who sends a request, and what the configuration gives them everywhere.

use std::sync::Arc;

use super::names::{groups_of, listed, user_name};
use super::rights::Reach;
use crate::config::Access;

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name that was proved; `None` without authentication.
    pub user: Option<String>,
    groups: Arc<[String]>,
    /// Whether it is one of `access.superusers`.
    pub admin: bool,
    /// What they may do to every session and batch, whosever it is.
    everywhere: Reach,
    /// Whether they may call at all.
    is_welcome: bool,
}

impl Caller {
    /// A caller who needed no proof.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            user: None,
            groups: Arc::default(),
            admin: false,
            everywhere: Reach::None,
            is_welcome: true,
        }
    }

    /// The caller of this name, in these groups and in those of `access.groups`. The name becomes what [`user_name`] makes of it; who has
    /// one that no user can have is not welcome, and may do nothing.
    #[must_use]
    pub fn named(user: &str, mut groups: Vec<String>, access: &Access) -> Self {
        let Some(user) = user_name(user, access) else {
            return Self {
                user: Some(user.to_owned()),
                is_welcome: false,
                ..Self::anonymous()
            };
        };
        groups.extend(groups_of(&user, access).cloned());
        groups.sort();
        groups.dedup();
        let has = |list: &[String]| listed(list, &user, &groups);
        let everywhere = if has(&access.superusers) {
            Reach::Full
        } else if has(&access.modify_users) {
            Reach::Modify
        } else if has(&access.view_users) {
            Reach::View
        } else {
            Reach::None
        };
        Self {
            is_welcome: everywhere > Reach::None || has(&access.allowed_users),
            user: Some(user),
            groups: groups.into(),
            admin: everywhere == Reach::Full,
            everywhere,
        }
    }

    /// As whom this caller acts: that user with the groups of the configuration. Who may call is this caller's matter, not that user's.
    pub(super) fn acting_as(&self, user: &str, access: &Access) -> Self {
        Self {
            is_welcome: self.is_welcome,
            ..Self::named(user, Vec::new(), access)
        }
    }

    /// The groups that the caller is in: those that proved its name tells, and those of the configuration.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What the caller may do to every session and batch.
    #[must_use]
    pub fn everywhere(&self) -> Reach {
        self.everywhere
    }

    /// Whether the caller may call at all (`access.allowed_users`); else the answer is 403.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.is_welcome
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessMode, ListMap, Modes};

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn access() -> Access {
        let groups = [("ops".to_owned(), list(&["olga"]))].into();
        Access {
            mode: Modes::of(vec![AccessMode::Basic]),
            superusers: list(&["root", "@ops"]),
            modify_users: list(&["mo"]),
            view_users: list(&["@auditors"]),
            allowed_users: list(&["ada"]),
            groups: ListMap(groups),
            ..Access::default()
        }
    }

    #[test]
    fn what_the_configuration_gives() {
        let access = access();
        for (user, groups, everywhere, is_welcome) in [
            ("root", vec![], Reach::Full, true),
            ("olga", vec![], Reach::Full, true),
            ("mo", vec![], Reach::Modify, true),
            ("vera", list(&["auditors"]), Reach::View, true),
            ("ada", vec![], Reach::None, true),
            ("bob", vec![], Reach::None, false),
            ("Root", vec![], Reach::None, false),
            ("root.", vec![], Reach::None, false),
            // A way that tells groups can tell one that the configuration has as well.
            ("bob", list(&["ops"]), Reach::Full, true),
        ] {
            let caller = Caller::named(user, groups, &access);
            assert_eq!(
                (caller.everywhere(), caller.is_welcome()),
                (everywhere, is_welcome),
                "{user}"
            );
            assert_eq!(caller.admin, everywhere == Reach::Full, "{user}");
        }
        assert_eq!(
            Caller::named("olga", list(&["z", "ops"]), &access).groups(),
            ["ops", "z"]
        );
        assert!(Caller::named("bob", vec![], &Access::default()).is_welcome());
    }

    #[test]
    fn a_name_that_no_user_can_have_is_nobody_who_may() {
        let everybody = Access {
            superusers: list(&["*"]),
            ..access()
        };
        for odd in ["", "alice ", "alice\0", "@ops", "ａlice"] {
            let caller = Caller::named(odd, list(&["ops"]), &everybody);
            assert!(
                !caller.is_welcome() && !caller.admin && caller.everywhere() == Reach::None,
                "{odd:?}"
            );
        }
    }
}
