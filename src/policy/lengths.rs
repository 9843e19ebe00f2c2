//! How long the texts of a request may be: conf keys and values, entries of lists, and what becomes an argument of a program.

use super::{Rejection, shortened};

/// The most bytes of a conf key.
const KEY_BYTES: usize = 1024;

/// The most bytes of one argument of a program: Linux's MAX_ARG_STRLEN, less the NUL at its end (execve(2)).
const ARG_BYTES: usize = 131_071;

/// The key of the limit of one text.
const VALUE_LIMIT: &str = "limits.conf_value_bytes";

/// Checks one text of a request, `what` it is, against `limits.conf_value_bytes`.
///
/// # Errors
///
/// [`Rejection::TooLong`] when it has more than `most` bytes.
pub fn check_length(what: impl FnOnce() -> String, text: &str, most: usize) -> Result<(), Rejection> {
    within(what, text.len(), most, VALUE_LIMIT)
}

/// Checks the keys and values of a request's conf: a key has 1 KiB at most, a value `most` bytes (`limits.conf_value_bytes`).
///
/// # Errors
///
/// [`Rejection::TooLong`], which names the key.
pub fn check_conf_lengths<'a>(
    conf: impl IntoIterator<Item = (&'a str, &'a str)>,
    most: usize,
) -> Result<(), Rejection> {
    for (key, value) in conf {
        let what = || format!("The conf key {:?}", shortened(key));
        within(what, key.len(), KEY_BYTES, "the most of a key")?;
        check_length(|| format!("conf[{key:?}]"), value, most)?;
    }
    Ok(())
}

/// Checks what a batch has that becomes an argument of `spark-submit`, each with its field's name: every one against Linux's limit of an
/// argument, and all together against `most` bytes (`limits.args_bytes`).
///
/// # Errors
///
/// [`Rejection::TooLong`] for the first that is too long, else for `args` as a whole.
pub fn check_args<'a>(
    arguments: impl IntoIterator<Item = (&'static str, Option<usize>, &'a str)>,
    most: usize,
) -> Result<(), Rejection> {
    let mut together = 0;
    for (field, place, text) in arguments {
        let what = || match place {
            Some(at) => format!("{field}[{at}]"),
            None => field.to_owned(),
        };
        within(what, text.len(), ARG_BYTES, "Linux's limit of one argument")?;
        together += text.len();
    }
    let what = || "args, with file and className,".to_owned();
    within(what, together, most, "limits.args_bytes")
}

fn within(
    what: impl FnOnce() -> String,
    bytes: usize,
    most: usize,
    limit: &'static str,
) -> Result<(), Rejection> {
    if bytes <= most {
        return Ok(());
    }
    Err(Rejection::TooLong {
        what: what(),
        bytes,
        most,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_and_one_byte_more_is_not() {
        let long = "x".repeat(ARG_BYTES + 1);
        let of = |bytes: usize| &long[..bytes];
        assert_eq!(check_conf_lengths([(of(KEY_BYTES), of(64))], 64), Ok(()));
        let told = |checked: Result<(), Rejection>| checked.unwrap_err().to_string();
        assert_eq!(
            told(check_conf_lengths([("spark.x", of(65))], 64)),
            "conf[\"spark.x\"] has 65 bytes, and 64 is the most (limits.conf_value_bytes)"
        );
        let key = told(check_conf_lengths([(of(KEY_BYTES + 1), "")], 64));
        assert!(
            key.ends_with("has 1025 bytes, and 1024 is the most (the most of a key)"),
            "{key}"
        );
        assert!(key.len() < 300, "{key}");

        let args = |first: usize, second: usize, most: usize| {
            let given = [("file", None, of(first)), ("args", Some(0), of(second))];
            check_args(given, most)
        };
        assert_eq!(args(ARG_BYTES, ARG_BYTES, 1 << 20), Ok(()));
        assert_eq!(
            told(args(1, ARG_BYTES + 1, 1 << 20)),
            "args[0] has 131072 bytes, and 131071 is the most (Linux's limit of one argument)"
        );
        assert_eq!(args(500, 500, 1000), Ok(()));
        assert_eq!(
            told(args(500, 501, 1000)),
            "args, with file and className, has 1001 bytes, and 1000 is the most (limits.args_bytes)"
        );
    }

    #[test]
    fn bytes_are_counted_and_not_letters() {
        assert_eq!(check_length(String::new, "éé", 4), Ok(()));
        assert!(check_length(String::new, "ééa", 4).is_err());
    }
}
