//! Names of sessions and batches, and how many entries a request's lists may have.

use super::conf::is_invisible;
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
    use super::*;

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
    fn counts() {
        assert_eq!(check_count("conf", 1000, 1000), Ok(()));
        let error = check_count("conf", 1001, 1000).unwrap_err().to_string();
        assert_eq!(error, "conf has 1001 entries, and 1000 is the most");
    }
}
