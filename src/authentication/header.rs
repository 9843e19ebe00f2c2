//! The header `Authorization`, read.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Name and password of a Basic header (RFC 7617). Bytes that are no UTF-8 are taken as Latin-1, which Python's requests, and so
/// sparkmagic and pylivy, send.
pub(super) fn basic(header: &str) -> Option<(String, String)> {
    let bytes = BASE64_STANDARD.decode(after(header, "basic")?).ok()?;
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The token of a Bearer header (RFC 6750).
pub(super) fn bearer(header: &str) -> Option<&str> {
    after(header, "bearer").filter(|token| !token.is_empty())
}

/// The bytes of a Negotiate header (RFC 4559), of which there are so many at most.
pub(super) fn negotiate(header: &str, most: usize) -> Option<Vec<u8>> {
    let encoded = after(header, "negotiate")?;
    if encoded.is_empty() || encoded.len() / 4 * 3 > most {
        return None;
    }
    BASE64_STANDARD.decode(encoded).ok()
}

/// What stands after a scheme's name, which is compared without regard to case.
fn after<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = header.trim().split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any text gives something or nothing, and no more of it than was sent.
        #[test]
        fn any_header_is_read(header in ".*", scheme in "[Bb][Aa][Ss][Ii][Cc]", bytes: Vec<u8>, blanks in " {1,3}") {
            let _ = (basic(&header), bearer(&header), negotiate(&header, 30));
            for sent in [format!("{scheme}{blanks}{header}"), format!("{scheme}{blanks}{}", BASE64_STANDARD.encode(&bytes))] {
                if let Some((user, password)) = basic(&sent) {
                    // A byte of Latin-1 is two of UTF-8.
                    prop_assert!(user.len() + password.len() < 2 * sent.len());
                    prop_assert!(!user.contains(':'));
                }
            }
        }

        /// Also as a header comes, in bytes; of Negotiate no more is taken than may be.
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, scheme in "(?i)(basic|bearer|negotiate)", most in 0_usize..200) {
            let encoded = BASE64_STANDARD.encode(&bytes);
            let raw = String::from_utf8_lossy(&bytes);
            for sent in [raw.to_string(), format!("{scheme} {raw}"), format!("{scheme} {encoded}"), format!("{scheme} {encoded}=")] {
                let _ = (basic(&sent), bearer(&sent));
                if let Some(token) = negotiate(&sent, most) {
                    prop_assert!(token.len() <= most, "{} of {most}", token.len());
                }
            }
        }

        #[test]
        fn what_was_sent_is_read(user in "[^:]*", password in ".*", scheme in "[Bb][Aa][Ss][Ii][Cc]") {
            let sent = format!("{scheme} {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
            prop_assert_eq!(basic(&sent), Some((user, password)));
        }
    }

    #[test]
    fn credentials_are_utf_8_or_latin_1() {
        let header = |bytes: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(bytes));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(basic(&header("ada:ä:b".as_bytes())), pair("ada", "ä:b"));
        assert_eq!(basic(&header(b"ada:\xe4")), pair("ada", "ä"));
        for broken in ["Basic", "Basic ###", "Bearer YTpi", "Basic YWRh"] {
            assert_eq!(basic(broken), None);
        }
    }

    #[test]
    fn tokens_are_read() {
        assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer("bearer  x "), Some("x"));
        assert_eq!(negotiate("Negotiate YWI=", 3), Some(b"ab".to_vec()));
        for broken in [
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Negotiate",
            "Negotiate ###",
            "Negotiate YWFhYQ==",
        ] {
            assert_eq!(bearer(broken), None, "{broken}");
            assert_eq!(negotiate(broken, 3), None, "{broken}");
        }
    }
}
