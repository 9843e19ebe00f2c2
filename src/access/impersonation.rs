//! Acting as somebody else: `proxyUser` of a request's body and `doAs` of its query (livy-spec 6.3).

use super::rights::Caller;
use crate::config::Access;

/// The most bytes of a user's name.
const LONGEST: usize = 128;

/// Why a request may not act as somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller is not that user and no superuser: 403 with this text, which is Livy's.
    #[error("User '{user}' not allowed to impersonate 'Some({target})'.")]
    NotAllowed {
        /// The caller.
        user: String,
        /// Whom the caller wants to act as.
        target: String,
    },
    /// No user can have that name: 400.
    #[error(
        "Invalid user name: it must have letters, digits and any of . _ - @ + = only, at most 128 bytes, and not begin with - or ."
    )]
    Name,
}

/// Whether a user may have this name. Names reach command lines and group look-ups (CVE-2022-33891), so only letters,
/// digits and `. _ - @ + =` are taken, no `-` or `.` first, and 128 bytes at most.
#[must_use]
pub fn valid_user(name: &str) -> bool {
    let fit = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+' | '=');
    !name.is_empty() && name.len() <= LONGEST && !name.starts_with(['-', '.']) && name.chars().all(fit)
}

/// The user that a new session runs as, which is its `proxyUser`: `do_as`, else `proxy_user`, else the caller; an empty
/// name counts as none. With `access.impersonation` off both are ignored, and there is none.
///
/// # Errors
///
/// [`Refused::Name`], or [`Refused::NotAllowed`] unless the caller is that user, a superuser, or nobody (without
/// authentication, as Livy).
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
    if !valid_user(target) {
        return Err(Refused::Name);
    }
    match &caller.user {
        Some(user) if user != target && !caller.admin => Err(Refused::NotAllowed {
            user: user.clone(),
            target: target.to_owned(),
        }),
        _ => Ok(Some(target.to_owned())),
    }
}

/// The caller whose rights count on an existing session: with `access.impersonation`, whom `do_as` names; a superuser who
/// acts as somebody has that user's rights only.
///
/// # Errors
///
/// As [`target_user`].
pub fn effective(caller: &Caller, do_as: Option<&str>, access: &Access) -> Result<Caller, Refused> {
    match target_user(caller, do_as, None, access)? {
        Some(user) if caller.user.as_deref() != Some(&user) => Ok(Caller::named(&user, Vec::new(), access)),
        _ => Ok(caller.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessMode, Modes};

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
    fn names() {
        for name in [
            "alice",
            "a.b-c_d@EXAMPLE.COM",
            "ünal",
            "svc+x",
            "1",
            &"x".repeat(128),
        ] {
            assert!(valid_user(name), "{name}");
        }
        for name in [
            "",
            "-x",
            "--proxy-user",
            ".",
            "..",
            "a b",
            " a",
            "a\n",
            "a\0",
            "a;id",
            "$(id)",
            "`id`",
            "a/b",
            "a:b",
            "a'b",
            "a\u{202e}b",
            "a|b",
            "a&b",
            "a\\b",
            "*",
            &"x".repeat(129),
        ] {
            assert!(!valid_user(name), "{name:?}");
            let root = Caller::named("root", Vec::new(), &access(true));
            assert_eq!(
                target_user(&root, Some(name), None, &access(true)).is_err(),
                !name.is_empty()
            );
        }
    }
}
