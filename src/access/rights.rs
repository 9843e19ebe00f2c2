//! What a caller may do to a session or batch (contracts: access to others'; livy-spec 6.2).

use super::caller::Caller;
use crate::config::{Access, Lists};
use crate::ownership::{Grantee, Ownership, Right};

/// How far a caller's rights on something reach. Each has those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Not at all: a stranger.
    None,
    /// See it, its log, its statements and their results.
    View,
    /// Change it.
    Modify,
    /// Make it their own.
    Own,
    /// Share it, and hand it over.
    Full,
}

impl From<Right> for Reach {
    fn from(right: Right) -> Self {
        match right {
            Right::View => Self::View,
            Right::Modify => Self::Modify,
            Right::Own => Self::Own,
        }
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
    /// Makes it another's.
    Take,
    /// Says with whom it is shared, and changes that.
    Share,
    /// Asks about the server itself (metrics, diagnosis).
    Admin,
}

/// The answer to [`may`], from the most to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Allowed,
    /// Show it with conf, log and code emptied.
    Emptied,
    /// Answer 403 with `{}`.
    Forbidden,
    /// Answer as for one that doesn't exist: 404, with the same words.
    Hidden,
}

/// Whether `caller` may do `action` to what is `of` somebody. For [`Action::Create`], [`Action::List`] and [`Action::Admin`] that does
/// not count.
///
/// Without authentication everybody may do everything. With it, what has no owner (made before authentication was turned
/// on) is the superusers' alone, and that of users who may see or change everything.
#[must_use]
pub fn may(caller: &Caller, action: Action, of: &Ownership, access: &Access) -> Verdict {
    if access.mode.is_open() {
        return Verdict::Allowed;
    }
    let Some(user) = caller.user.as_deref().filter(|_| caller.is_welcome()) else {
        return Verdict::Forbidden;
    };
    let needed = match action {
        Action::Create | Action::List => return Verdict::Allowed,
        Action::Admin if caller.admin => return Verdict::Allowed,
        Action::Admin => return Verdict::Forbidden,
        Action::Show | Action::View => Reach::View,
        Action::Modify => Reach::Modify,
        Action::Take => Reach::Own,
        Action::Share => Reach::Full,
    };
    let reach = reach(caller, user, of);
    match (action, access.lists) {
        _ if reach >= needed => Verdict::Allowed,
        // They know that it is there.
        _ if reach > Reach::None => Verdict::Forbidden,
        (_, Lists::Owner) => Verdict::Hidden,
        (Action::Show, Lists::Livy) => Verdict::Emptied,
        (_, Lists::Livy) => Verdict::Forbidden,
    }
}

/// How far the caller's rights reach. Who shares it gives away what its driver may do: only the one as whom that runs can. So an owner whose session
/// runs as another may do all to it but that.
fn reach(caller: &Caller, user: &str, of: &Ownership) -> Reach {
    let own = if of.runs_as() == Some(user) {
        Reach::Full
    } else if of.owner.as_deref() == Some(user) {
        Reach::Own
    } else {
        Reach::None
    };
    let given = of.shares.iter().filter(|share| match &share.with {
        Grantee::User(name) => name == user,
        Grantee::Group(name) => caller.is_in(name),
    });
    given
        .map(|share| Reach::from(share.right))
        .chain([own, caller.everywhere()])
        .max()
        .unwrap_or(Reach::None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{AccessMode, ListMap, Modes};
    use crate::ownership::Share;

    const ACTIONS: [Action; 8] = [
        Action::Create,
        Action::List,
        Action::Show,
        Action::View,
        Action::Modify,
        Action::Take,
        Action::Share,
        Action::Admin,
    ];

    fn access(lists: Lists) -> Access {
        let list = |name: &str| vec![name.to_owned()];
        Access {
            mode: Modes::of(vec![AccessMode::Basic]),
            lists,
            superusers: list("root"),
            modify_users: list("mo"),
            view_users: list("vera"),
            groups: ListMap([("ops".to_owned(), list("olga"))].into()),
            ..Access::default()
        }
    }

    fn of(owner: Option<&str>, proxy_user: Option<&str>) -> Ownership {
        let shares = [
            (Grantee::User("val".to_owned()), Right::View),
            (Grantee::User("max".to_owned()), Right::Modify),
            (Grantee::User("ola".to_owned()), Right::Own),
            (Grantee::Group("ops".to_owned()), Right::Modify),
        ];
        Ownership {
            shares: shares.map(|(with, right)| Share { with, right }).into(),
            ..Ownership::of(owner.map(str::to_owned), proxy_user.map(str::to_owned))
        }
    }

    #[test]
    fn without_authentication_everybody_may() {
        for action in ACTIONS {
            for owner in [None, Some("ada")] {
                let verdict = may(&Caller::anonymous(), action, &of(owner, None), &Access::default());
                assert_eq!(verdict, Verdict::Allowed);
            }
        }
    }

    #[test]
    fn the_matrix() {
        use Verdict::{Allowed as A, Emptied as E, Forbidden as F, Hidden as H};
        let (ada, bob) = (Some("ada"), Some("bob"));
        // Create, List, Show, View, Modify, Take, Share, Admin.
        for (lists, user, owner, proxy_user, verdicts) in [
            (Lists::Owner, "ada", ada, None, [A, A, A, A, A, A, A, F]),
            (Lists::Owner, "ada", bob, ada, [A, A, A, A, A, A, A, F]),
            (Lists::Owner, "ada", ada, bob, [A, A, A, A, A, A, F, F]),
            (Lists::Owner, "ada", bob, bob, [A, A, H, H, H, H, H, F]),
            (Lists::Owner, "ada", None, None, [A, A, H, H, H, H, H, F]),
            (Lists::Owner, "Ada", ada, None, [A, A, H, H, H, H, H, F]),
            (Lists::Owner, "val", ada, None, [A, A, A, A, F, F, F, F]),
            (Lists::Owner, "max", ada, None, [A, A, A, A, A, F, F, F]),
            (Lists::Owner, "olga", ada, None, [A, A, A, A, A, F, F, F]),
            (Lists::Owner, "ola", ada, None, [A, A, A, A, A, A, F, F]),
            // The name of a group is no user's, and none of a user is a group's.
            (Lists::Owner, "ops", ada, None, [A, A, H, H, H, H, H, F]),
            (Lists::Owner, "vera", ada, None, [A, A, A, A, F, F, F, F]),
            (Lists::Owner, "mo", ada, None, [A, A, A, A, A, F, F, F]),
            (Lists::Livy, "ada", ada, None, [A, A, A, A, A, A, A, F]),
            (Lists::Livy, "ada", bob, None, [A, A, E, F, F, F, F, F]),
            (Lists::Livy, "val", ada, None, [A, A, A, A, F, F, F, F]),
            (Lists::Owner, "root", bob, None, [A; 8]),
            (Lists::Livy, "root", None, None, [A; 8]),
            (Lists::Owner, "ada ", ada, None, [F; 8]),
            (Lists::Owner, "ada.", ada, None, [F; 8]),
        ] {
            let access = access(lists);
            let caller = Caller::named(user, Vec::new(), &access);
            let given = ACTIONS.map(|action| may(&caller, action, &of(owner, proxy_user), &access));
            assert_eq!(given, verdicts, "{lists:?} {user} {owner:?} {proxy_user:?}");
        }
    }

    #[test]
    fn who_is_nobody_may_nothing_with_authentication() {
        for action in ACTIONS {
            let verdict = may(
                &Caller::anonymous(),
                action,
                &of(None, None),
                &access(Lists::Livy),
            );
            assert_eq!(verdict, Verdict::Forbidden);
        }
    }

    #[test]
    fn who_may_not_call_may_nothing() {
        let access = Access {
            allowed_users: vec!["bob".to_owned()],
            ..access(Lists::Owner)
        };
        let ada = Caller::named("ada", Vec::new(), &access);
        for action in ACTIONS {
            assert_eq!(
                may(&ada, action, &of(Some("ada"), None), &access),
                Verdict::Forbidden
            );
        }
    }

    fn rank(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Hidden => 0,
            Verdict::Forbidden => 1,
            Verdict::Emptied => 2,
            Verdict::Allowed => 3,
        }
    }

    const NAMES: [&str; 4] = ["ada", "bob", "eve", "root"];

    fn name() -> impl Strategy<Value = String> {
        proptest::sample::select(&NAMES).prop_map(str::to_owned)
    }

    fn entries() -> impl Strategy<Value = Vec<String>> {
        let entry = proptest::sample::select(&["ada", "bob", "eve", "@ops", "@dev", "*"]);
        proptest::collection::vec(entry.prop_map(str::to_owned), 0..3)
    }

    fn shares() -> impl Strategy<Value = Vec<Share>> {
        let with = prop_oneof![
            name().prop_map(Grantee::User),
            proptest::sample::select(&["ops", "dev", "ada"])
                .prop_map(|group| Grantee::Group(group.to_owned()))
        ];
        let right = proptest::sample::select(&Right::ALL);
        let share = (with, right).prop_map(|(with, right)| Share { with, right });
        proptest::collection::vec(share, 0..4)
    }

    fn any_access() -> impl Strategy<Value = Access> {
        let lists = proptest::sample::select(&[Lists::Owner, Lists::Livy]);
        let group = proptest::collection::vec(name(), 0..3);
        (lists, entries(), entries(), entries(), entries(), group).prop_map(
            |(lists, superusers, modify_users, view_users, allowed_users, ops)| Access {
                mode: Modes::of(vec![AccessMode::Basic]),
                lists,
                superusers,
                modify_users,
                view_users,
                allowed_users,
                groups: ListMap([("ops".to_owned(), ops)].into()),
                ..Access::default()
            },
        )
    }

    fn any_ownership() -> impl Strategy<Value = Ownership> {
        let some = || proptest::option::of(name());
        (some(), some(), shares()).prop_map(|(owner, proxy_user, shares)| Ownership {
            owner,
            proxy_user,
            shares,
        })
    }

    /// All ways to take one right away from what a caller is judged by.
    fn taken(access: &Access, of: &Ownership, groups: &[String]) -> Vec<(Access, Ownership, Vec<String>)> {
        let mut all = Vec::new();
        let as_they_are = || (access.clone(), of.clone(), groups.to_vec());
        let lists: [fn(&mut Access) -> &mut Vec<String>; 4] = [
            |access| &mut access.superusers,
            |access| &mut access.modify_users,
            |access| &mut access.view_users,
            |access| &mut access.allowed_users,
        ];
        for list in lists {
            for at in 0..list(&mut access.clone()).len() {
                let mut less = as_they_are();
                list(&mut less.0).remove(at);
                all.push(less);
            }
        }
        for at in 0..access.groups.get("ops").map_or(0, Vec::len) {
            let mut less = as_they_are();
            if let Some(users) = less.0.groups.0.get_mut("ops") {
                users.remove(at);
            }
            all.push(less);
        }
        for at in 0..of.shares.len() {
            let mut less = as_they_are();
            less.1.shares.remove(at);
            all.push(less);
            if of.shares[at].right > Right::View {
                let mut less = as_they_are();
                less.1.shares[at].right = Right::View;
                all.push(less);
            }
        }
        for at in 0..groups.len() {
            let mut less = as_they_are();
            less.2.remove(at);
            all.push(less);
        }
        // Its owner becomes somebody who is no caller of this test; it runs as before.
        if of.proxy_user.is_some() {
            let mut less = as_they_are();
            less.1.owner = Some("nobody-else".to_owned());
            all.push(less);
        }
        let mut less = as_they_are();
        less.0.lists = Lists::Owner;
        all.push(less);
        all
    }

    proptest! {
        #[test]
        fn no_verdict_grows_when_a_right_is_taken_away(
            access in any_access(),
            of in any_ownership(),
            user in name(),
            groups in proptest::collection::vec(proptest::sample::select(&["ops", "dev"]).prop_map(str::to_owned), 0..2),
        ) {
            let caller = Caller::named(&user, groups.clone(), &access);
            for (less_access, less_of, less_groups) in taken(&access, &of, &groups) {
                let less = Caller::named(&user, less_groups, &less_access);
                for action in ACTIONS {
                    let before = may(&caller, action, &of, &access);
                    let after = may(&less, action, &less_of, &less_access);
                    // Who may not call is told so whatever they ask for.
                    let told = less.is_welcome() || after != Verdict::Forbidden;
                    prop_assert!(
                        !told || rank(after) <= rank(before),
                        "{user} {action:?}: {before:?} became {after:?} with {less_of:?} and {less_access:?}"
                    );
                }
            }
        }

        #[test]
        fn who_may_do_more_may_do_less(access in any_access(), of in any_ownership(), user in name()) {
            let caller = Caller::named(&user, Vec::new(), &access);
            let allowed = |action| may(&caller, action, &of, &access) == Verdict::Allowed;
            for pair in [Action::Show, Action::View, Action::Modify, Action::Take, Action::Share].windows(2) {
                prop_assert!(allowed(pair[0]) || !allowed(pair[1]), "{user}: {pair:?}");
            }
        }

        #[test]
        fn a_stranger_gets_nothing_of_anybodys(of in any_ownership(), user in name()) {
            let access = Access { mode: Modes::of(vec![AccessMode::Basic]), ..Access::default() };
            let is_named = of.owner.as_ref() == Some(&user)
                || of.proxy_user.as_ref() == Some(&user)
                || of.shares.iter().any(|share| share.with == Grantee::User(user.clone()));
            prop_assume!(!is_named);
            let caller = Caller::named(&user, Vec::new(), &access);
            for action in [Action::Show, Action::View, Action::Modify, Action::Take, Action::Share] {
                prop_assert_eq!(may(&caller, action, &of, &access), Verdict::Hidden);
            }
        }
    }
}
