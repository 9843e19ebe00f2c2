//! Names of users and groups: which there can be, and what one that comes from outside becomes. It happens once, where a name comes in; from
//! then on names are compared letter by letter.

use unicode_normalization::UnicodeNormalization as _;

use crate::config::{Access, UserCase};

/// The most bytes of a user's name.
const LONGEST: usize = 128;
/// The most bytes of a group's name: directories name them by whole paths.
const LONGEST_GROUP: usize = 512;
/// What stands before the name of a group in a list of the configuration.
const GROUP: char = '@';
/// Everybody who has proved a name, in a list of the configuration.
const EVERYBODY: &str = "*";

/// Whether a user may have this name. Names reach command lines and group look-ups (CVE-2022-33891), so only letters,
/// digits and `. _ - @ + =` are taken, 128 bytes at most, none of `-`, `.` and `@` first, no `.` last, and no letter that
/// Unicode takes for a form of another (full width, ligatures, letters with their marks apart).
#[must_use]
pub fn valid_user(name: &str) -> bool {
    let fit = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+' | '=');
    !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with(['-', '.', GROUP])
        && !name.ends_with('.')
        && name.chars().all(fit)
        && name.nfkc().eq(name.chars())
}

/// The user of this name, as all comparisons have it: in lower case where `access.user_case` says so, else as it is. None where no
/// user can have it. Nothing is ever taken off a name: `alice ` is not alice, it is nobody.
#[must_use]
pub fn user_name(name: &str, access: &Access) -> Option<String> {
    let name = match access.user_case {
        UserCase::Keep => name.to_owned(),
        UserCase::Lower => name.to_lowercase(),
    };
    valid_user(&name).then_some(name)
}

/// Whether a group may have this name: at most 512 bytes, not empty, no control characters, no blanks around it. Directories have
/// names such as `CN=Data Science,OU=Groups`, so no more is asked: they reach no command line.
#[must_use]
pub fn valid_group(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_GROUP
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// Whether a list of the configuration has this user, or a group of theirs, or everybody.
pub(super) fn listed(list: &[String], user: &str, groups: &[String]) -> bool {
    list.iter().any(|entry| match entry.strip_prefix(GROUP) {
        Some(group) => groups.iter().any(|own| own == group),
        None => entry == EVERYBODY || entry == user,
    })
}

/// Whether a list of the configuration has this user by name.
pub(super) fn named_in(list: &[String], user: &str) -> bool {
    user != EVERYBODY && list.iter().any(|entry| entry == user)
}

/// The groups of the configuration that have this user.
pub(super) fn groups_of<'a>(user: &str, access: &'a Access) -> impl Iterator<Item = &'a String> {
    let user = user.to_owned();
    let groups = access.groups.iter();
    groups
        .filter(move |(_, users)| users.contains(&user))
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users() {
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
            "alice.",
            "@ops",
            "a b",
            " a",
            "a ",
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
            // Forms of other letters.
            "ａlice",
            "aliﬃe",
            "\u{212a}elvin",
            "u\u{308}nal",
            "ⓐlice",
            &"x".repeat(129),
        ] {
            assert!(!valid_user(name), "{name:?}");
        }
    }

    #[test]
    fn case_is_kept_unless_the_directory_knows_none() {
        let keep = Access::default();
        let lower = Access {
            user_case: UserCase::Lower,
            ..Access::default()
        };
        assert_eq!(user_name("Alice", &keep).as_deref(), Some("Alice"));
        assert_eq!(user_name("ALICE", &lower).as_deref(), Some("alice"));
        // In lower case it is two letters, one of them a mark.
        assert_eq!(user_name("İpek", &lower), None);
        for access in [keep, lower] {
            for odd in ["alice ", "alice.", "alice\0", "ａlice", ""] {
                assert_eq!(user_name(odd, &access), None, "{odd:?}");
            }
        }
    }

    #[test]
    fn lists() {
        let list = |entries: &[&str]| {
            entries
                .iter()
                .map(|entry| (*entry).to_owned())
                .collect::<Vec<_>>()
        };
        let ops = list(&["ops"]);
        assert!(listed(&list(&["ada"]), "ada", &[]) && listed(&list(&["@ops"]), "ada", &ops));
        assert!(listed(&list(&["*"]), "ada", &[]));
        for no in [&["Ada"][..], &["@ada"], &["ops"], &["@Ops"], &[]] {
            assert!(!listed(&list(no), "ada", &ops), "{no:?}");
        }
        assert!(named_in(&list(&["*", "ada"]), "ada") && !named_in(&list(&["*", "@ada"]), "ada"));
    }

    proptest! {
        #[test]
        fn a_name_that_was_taken_in_stays_as_it_is(name in "\\PC{0,12}") {
            for user_case in [UserCase::Keep, UserCase::Lower] {
                let access = Access { user_case, ..Access::default() };
                if let Some(taken) = user_name(&name, &access) {
                    prop_assert_eq!(user_name(&taken, &access), Some(taken.clone()));
                    prop_assert!(valid_user(&taken));
                }
            }
        }
    }
}
