//! Names of sessions and batches, and how many entries a request's lists may have.

use super::conf::is_invisible;
use super::files::UNFIT_FOR_PATHS;
use super::{Rejection, shortened};

/// Checks the name of a session or batch: at most `most` bytes, not empty and not all digits (a path id that is all digits
/// is an id), no control or invisible characters, no blanks around it, and neither `.` nor `..`, which no URL can hold.
///
/// # Errors
///
/// [`Rejection::Name`] with Livy's text for empty and all-digit names, else [`Rejection::NameUnfit`].
pub fn check_name(name: &str, most: usize) -> Result<(), Rejection> {
    let unfit = |reason: &str| Err(Rejection::NameUnfit(reason.to_owned()));
    if name.len() > most {
        return unfit(&format!("it has {} bytes, and {most} is the most", name.len()));
    }
    if name.chars().any(|c| c.is_control() || is_invisible(c)) {
        return unfit("it has control or invisible characters");
    }
    if name.chars().all(char::is_numeric) || name == "." || name == ".." {
        return Err(Rejection::Name(shortened(name)));
    }
    if name.trim() != name {
        return unfit("it begins or ends with a blank");
    }
    Ok(())
}

/// The longest name of a file, in bytes: what file systems have.
const FILE_NAME_BYTES: usize = 255;

/// Checks the name of a file that a client sends: a plain name, which no directory, list or URI of Spark's takes for more.
///
/// # Errors
///
/// [`Rejection::FileName`].
pub fn check_file_name(name: &str) -> Result<(), Rejection> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > FILE_NAME_BYTES {
        "it has more than 255 bytes"
    } else if name == "." || name == ".." || name.contains(['/', '\\']) {
        "it must be the file's own name, without a directory"
    } else if name.chars().any(|c| c.is_control() || is_invisible(c)) {
        "it has control or invisible characters"
    } else if name.contains(UNFIT_FOR_PATHS) {
        "it must not have any of * ? [ ] { } , \\ # %"
    } else if name.trim() != name || name.chars().any(|c| c.is_whitespace() && c != ' ') {
        "it has blanks other than single spaces between its words"
    } else {
        return Ok(());
    };
    Err(Rejection::FileName {
        name: shortened(name),
        reason,
    })
}

/// Checks how many entries a field of a request has (`limits.conf_keys`, `limits.list_entries`).
///
/// # Errors
///
/// [`Rejection::TooMany`] when `count` is over `most`.
pub fn check_count(what: &'static str, count: usize, most: usize) -> Result<(), Rejection> {
    if count > most {
        Err(Rejection::TooMany { what, count, most })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A name that is allowed is one part of a path, and says of itself what it is.
        #[test]
        fn any_name_is_judged(name in prop_oneof![".{0,40}", r"[./\\a%#*\u{202e}\u{0}-\u{1f} -]{0,6}"]) {
            let below = Path::new("/up/loads");
            if check_file_name(&name).is_ok() {
                let joined = below.join(&name);
                prop_assert_eq!(joined.parent(), Some(below));
                prop_assert_eq!(joined.file_name().and_then(|last| last.to_str()), Some(name.as_str()));
            }
            if check_name(&name, 256).is_ok() {
                prop_assert!(name.parse::<u64>().is_err(), "it would be an id");
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn names() {
        for name in [
            "a",
            "my session",
            "1a",
            "Ünïcode",
            "a/b",
            "-x",
            "a.b",
            "...",
            &"x".repeat(256),
        ] {
            assert_eq!(check_name(name, 256), Ok(()), "{name:?}");
        }
        for (name, message) in [
            ("123", "Invalid session name: 123"),
            ("", "Invalid session name: "),
            ("٣٤", "Invalid session name: ٣٤"),
            ("..", "Invalid session name: .."),
            (
                "a\nb",
                "Invalid session name: it has control or invisible characters",
            ),
            (
                "a\0",
                "Invalid session name: it has control or invisible characters",
            ),
            (
                "a\u{202e}b",
                "Invalid session name: it has control or invisible characters",
            ),
            ("a ", "Invalid session name: it begins or ends with a blank"),
        ] {
            assert_eq!(check_name(name, 256).unwrap_err().to_string(), message);
        }
        let long = check_name(&"x".repeat(257), 256).unwrap_err().to_string();
        assert_eq!(
            long,
            "Invalid session name: it has 257 bytes, and 256 is the most"
        );
    }

    #[test]
    fn file_names() {
        for name in [
            "a",
            "my job.py",
            "Ünïcode.jar",
            ".env",
            "...",
            "a:b",
            "-rf",
            &"x".repeat(255),
        ] {
            assert_eq!(check_file_name(name), Ok(()), "{name:?}");
        }
        for name in [
            "",
            ".",
            "..",
            "../a",
            "/a",
            "a/b",
            "a\\b",
            "a\0",
            "a\nb",
            "a\u{202e}b",
            "a,b",
            "a#b",
            "a%2fb",
            "*",
            " a",
            "a ",
            "a\u{a0}b",
            &"x".repeat(256),
            &"é".repeat(128),
        ] {
            assert!(check_file_name(name).is_err(), "{name:?}");
        }
        assert_eq!(
            check_file_name("../a").unwrap_err().to_string(),
            "Invalid file name \"../a\": it must be the file's own name, without a directory."
        );
    }

    #[test]
    fn counts() {
        assert_eq!(check_count("conf", 1000, 1000), Ok(()));
        let error = check_count("conf", 1001, 1000).unwrap_err().to_string();
        assert_eq!(error, "conf has 1001 entries, and 1000 is the most");
    }
}
