//! Acting as somebody else: `proxyUser` of a request's body and `doAs` of its query (livy-spec 6.3).

use super::caller::Caller;
use super::names::{listed, named_in, user_name};
use crate::config::Access;

/// Why a request may not act as somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller is not that user, no superuser, and no rule says so: 403 with this text, which is Livy's.
    #[error("User '{user}' not allowed to impersonate 'Some({target})'.")]
    NotAllowed {
        /// The caller.
        user: String,
        /// Whom the caller wants to act as.
        target: String,
    },
    /// No user can have that name: 400.
    #[error(
        "Invalid user name: it must have letters, digits and any of . _ - @ + = only, at most 128 bytes, not begin with - or . or @, \
         and not end with ."
    )]
    Name,
}

/// The user that a new session runs as, which is its `proxyUser`: `do_as`, else `proxy_user`, else the caller; an empty
/// name counts as none. With `access.impersonation` off both are ignored, and there is none.
///
/// # Errors
///
/// [`Refused::Name`], or [`Refused::NotAllowed`] unless the caller is that user, a superuser, or nobody (without
/// authentication, as Livy), or `access.impersonate` lets the caller act as that user.
pub fn target_user(
    caller: &Caller,
    do_as: Option<&str>,
    proxy_user: Option<&str>,
    access: &Access,
) -> Result<Option<String>, Refused> {
    if !access.impersonation {
        return Ok(None);
    }
    let given = [do_as, proxy_user]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty());
    let Some(target) = given else {
        return Ok(caller.user.clone());
    };
    let target = user_name(target, access).ok_or(Refused::Name)?;
    match &caller.user {
        Some(user) if *user != target && !may_be(caller, user, &target, access) => Err(Refused::NotAllowed {
            user: user.clone(),
            target,
        }),
        _ => Ok(Some(target)),
    }
}

/// Whether the caller may act as that user: a superuser as anybody; others as the rules of `access.impersonate` say, and as a superuser only
/// where a rule has that name.
fn may_be(caller: &Caller, user: &str, target: &str, access: &Access) -> bool {
    if !caller.is_welcome() {
        return false;
    }
    let theirs = access
        .impersonate
        .iter()
        .filter(|(who, _)| listed(std::slice::from_ref(who), user, caller.groups()));
    // Of one who does not call, only the groups of the configuration are known.
    let as_target = Caller::named(target, Vec::new(), access);
    let mut whom = theirs.map(|(_, whom)| whom);
    caller.admin
        || whom.any(|whom| {
            named_in(whom, target) || (!as_target.admin && listed(whom, target, as_target.groups()))
        })
}

/// The caller whose rights count on an existing session: with `access.impersonation`, whom `do_as` names; a superuser who
/// acts as somebody has that user's rights only.
///
/// # Errors
///
/// As [`target_user`].
pub fn effective(caller: &Caller, do_as: Option<&str>, access: &Access) -> Result<Caller, Refused> {
    match target_user(caller, do_as, None, access)? {
        Some(user) if caller.user.as_deref() != Some(&user) => Ok(caller.acting_as(&user, access)),
        _ => Ok(caller.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{AccessMode, ListMap, Modes};

    fn access(impersonation: bool) -> Access {
        let superusers = vec!["root".to_owned()];
        Access {
            mode: Modes::of(vec![AccessMode::Basic]),
            impersonation,
            superusers,
            ..Access::default()
        }
    }

    #[test]
    fn off_ignores_both() {
        let access = access(false);
        let caller = Caller::named("alice", Vec::new(), &access);
        assert_eq!(target_user(&caller, Some("bob"), Some("-x"), &access), Ok(None));
        assert_eq!(effective(&caller, Some("bob"), &access), Ok(caller));
    }

    #[test]
    fn on_follows_livy() {
        let access = access(true);
        let alice = Caller::named("alice", Vec::new(), &access);
        let root = Caller::named("root", Vec::new(), &access);
        let named = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(target_user(&alice, None, None, &access), named("alice"));
        assert_eq!(target_user(&alice, Some(""), Some(""), &access), named("alice"));
        assert_eq!(
            target_user(&alice, Some("alice"), Some("bob"), &access),
            named("alice")
        );
        assert_eq!(
            target_user(&root, Some("bob"), Some("carol"), &access),
            named("bob")
        );
        assert_eq!(target_user(&root, None, Some("carol"), &access), named("carol"));
        assert_eq!(
            target_user(&Caller::anonymous(), None, Some("carol"), &access),
            named("carol")
        );
        assert_eq!(target_user(&Caller::anonymous(), None, None, &access), Ok(None));
        for (do_as, proxy_user) in [
            (Some("bob"), None),
            (None, Some("bob")),
            (Some("bob"), Some("alice")),
        ] {
            let refused = target_user(&alice, do_as, proxy_user, &access).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "User 'alice' not allowed to impersonate 'Some(bob)'."
            );
        }
        let bob = effective(&root, Some("bob"), &access).unwrap();
        assert_eq!(bob, Caller::named("bob", Vec::new(), &access));
        assert!(!bob.admin);
        assert_eq!(effective(&root, None, &access), Ok(root.clone()));
        assert!(effective(&alice, Some("root"), &access).is_err());
        for odd in ["Alice", "alice.", "ALICE"] {
            assert!(target_user(&alice, Some(odd), None, &access).is_err());
        }
    }

    #[test]
    fn who_may_be_whom() {
        let list = |entries: &[&str]| {
            entries
                .iter()
                .map(|entry| (*entry).to_owned())
                .collect::<Vec<_>>()
        };
        let rules = [
            ("hue", &["*"][..]),
            ("lab", &["@students", "carol"]),
            ("@ops", &["root", "svc"]),
        ];
        let access = Access {
            superusers: list(&["root", "@wheel"]),
            groups: ListMap(
                [
                    ("students".to_owned(), list(&["dora", "root"])),
                    ("wheel".to_owned(), list(&["wanda"])),
                    ("ops".to_owned(), list(&["olga"])),
                ]
                .into(),
            ),
            impersonate: ListMap(rules.map(|(who, whom)| (who.to_owned(), list(whom))).into()),
            ..access(true)
        };
        let may = |user: &str, groups: &[&str], target: &str| {
            let caller = Caller::named(user, list(groups), &access);
            target_user(&caller, Some(target), None, &access).is_ok()
        };
        for (user, groups, target) in [
            ("hue", &[][..], "dora"),
            ("hue", &[], "anybody"),
            ("lab", &[], "dora"),
            ("lab", &[], "carol"),
            ("olga", &[], "root"),
            ("olga", &[], "svc"),
            // A group that the way to log in tells.
            ("pete", &["ops"], "svc"),
            ("wanda", &[], "root"),
            ("dora", &[], "dora"),
        ] {
            assert!(may(user, groups, target), "{user} as {target}");
        }
        for (user, groups, target) in [
            // No rule for everybody or for a group has a superuser.
            ("hue", &[][..], "root"),
            ("hue", &[], "wanda"),
            ("lab", &[], "root"),
            ("lab", &[], "wanda"),
            ("lab", &[], "hue"),
            ("olga", &[], "dora"),
            ("dora", &[], "carol"),
            ("hue", &[], "*"),
            ("lab", &[], "@students"),
            ("Hue", &[], "dora"),
            ("lab", &[], "Carol"),
            ("lab", &[], "carol."),
            ("lab", &[], "carol "),
            ("lab", &[], "carol\0"),
            ("lab", &[], "ｃarol"),
            // A user who has a group's name.
            ("ops", &[], "svc"),
        ] {
            assert!(!may(user, groups, target), "{user} as {target:?}");
        }
        // Who is let in as a superuser by a rule has that user's rights.
        let olga = Caller::named("olga", Vec::new(), &access);
        assert!(effective(&olga, Some("root"), &access).is_ok_and(|root| root.admin));
    }

    #[test]
    fn who_may_not_call_may_be_nobody_else() {
        let access = Access {
            allowed_users: vec!["bob".to_owned()],
            impersonate: ListMap([("hue".to_owned(), vec!["*".to_owned()])].into()),
            ..access(true)
        };
        let hue = Caller::named("hue", Vec::new(), &access);
        assert!(effective(&hue, Some("bob"), &access).is_err());
        // Whom it acts as need not be one who may call.
        let root = Caller::named("root", Vec::new(), &access);
        assert!(effective(&root, Some("carol"), &access).is_ok_and(|carol| carol.is_welcome()));
    }

    proptest! {
        #[test]
        fn nobody_becomes_who_is_not_named(target in "\\PC{0,8}", rules in proptest::collection::vec("[a-d@*]{1,2}", 0..4)) {
            let access = Access {
                impersonate: ListMap([("ada".to_owned(), rules.clone())].into()),
                ..access(true)
            };
            let ada = Caller::named("ada", Vec::new(), &access);
            if let Ok(Some(given)) = target_user(&ada, Some(&target), None, &access) {
                let own = given == "ada" && (target.is_empty() || target == "ada");
                let by_rule = given == target && (rules.contains(&target) || rules.contains(&"*".to_owned()));
                prop_assert!(own || (by_rule && (target != "root" || rules.contains(&target))), "{target:?} by {rules:?}");
            }
        }
    }
}
