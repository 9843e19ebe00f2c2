//! Distinguished names as texts (RFC 4514), as far as groups need them.

/// The value of a DN's first attribute, such as `analysts` of `cn=analysts,ou=groups,dc=example,dc=com`; what is no DN is its own.
pub(super) fn first_value(dn: &str) -> String {
    let Some((attribute, rest)) = dn.split_once('=') else {
        return dn.to_owned();
    };
    let is_attribute = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ' ');
    if attribute.is_empty() || !attribute.chars().all(is_attribute) {
        return dn.to_owned();
    }
    let mut value = Vec::new();
    // A space there is no part of the value unless it is escaped; other blanks are letters of a name as any.
    let mut bytes = rest.trim_start_matches(' ').bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' | b'+' => break,
            b'\\' => value.extend(escaped(&mut bytes)),
            _ => value.push(byte),
        }
    }
    String::from_utf8(value).unwrap_or_else(|_| dn.to_owned())
}

/// What stands after a backslash: two hexadecimal digits, or a character itself.
fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let first = bytes.next()?;
    let Some(high) = digit(first) else {
        return Some(first);
    };
    let low = bytes.clone().next().and_then(digit);
    match low {
        Some(low) => {
            bytes.next();
            Some(high << 4 | low)
        }
        None => Some(first),
    }
}

#[cfg(test)]
mod tests {
    use super::first_value;
    use proptest::prelude::*;

    #[test]
    fn groups_are_read_off_their_dns() {
        for (dn, expected) in [
            ("cn=analysts,ou=groups,dc=example,dc=com", "analysts"),
            ("CN=Data Team,DC=example", "Data Team"),
            (r"cn=a\,b\+c\\d,dc=x", r"a,b+c\d"),
            (r"cn=caf\c3\a9", "café"),
            ("cn=one+sn=two,dc=x", "one"),
            ("2.5.4.3=x,dc=y", "x"),
            ("plain", "plain"),
            ("cn=", ""),
            ("cn= one,dc=x", "one"),
            ("cn=\u{2000}one,dc=x", "\u{2000}one"),
            ("a b/c=d", "a b/c=d"),
            (r"cn=x\", "x"),
            (r"cn=\ff,dc=x", r"cn=\ff,dc=x"),
        ] {
            assert_eq!(first_value(dn), expected, "{dn}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_value_comes_back(value in "\\PC{0,40}") {
            let dn = format!("cn={},dc=x", ldap3::dn_escape(&value));
            prop_assert_eq!(first_value(&dn), value);
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,60}") {
            first_value(&text);
        }
    }
}
