use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn entry(attributes: &[(&str, &[&str])]) -> SearchEntry {
    let attributes = attributes.iter().map(|(name, values)| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        ((*name).to_owned(), values)
    });
    SearchEntry {
        dn: "uid=ada,dc=x".to_owned(),
        attrs: attributes.collect(),
        bin_attrs: HashMap::new(),
    }
}

#[test]
fn the_directory_spells_the_name() {
    let found = entry(&[("UID", &["ada", "Countess"]), ("mail", &["a b"])]);
    let ask = |attribute: &str, typed: &str| own_name(&found, attribute, typed);
    assert_eq!(ask("uid", "ADA"), Some("ada".to_owned()));
    assert_eq!(ask("uid", "countess"), Some("Countess".to_owned()));
    assert_eq!(ask("uid", "ada@example.com"), Some("ada".to_owned()));
    assert_eq!(ask("mail", "ada"), None, "no user can have that name");
    assert_eq!(ask("cn", "ada"), None);
    assert_eq!(ask("", "ada"), None);
}

#[tokio::test]
async fn what_cannot_be_right_is_not_asked_about() {
    // Where nobody listens: an answer other than 503 shows that it was not asked.
    let settings = config::Ldap {
        url: "ldaps://127.0.0.1:1".to_owned(),
        user_dn: "uid={user},dc=x".to_owned(),
        ..config::Ldap::default()
    };
    let directory = Arc::new(Directory::open(&settings).unwrap());
    let background = Background::new();
    for (user, password) in [
        ("ada", ""),
        ("", "x"),
        ("*", "x"),
        ("a)(uid=*", "x"),
        ("ada\0", "x"),
        ("a,dc=y", "x"),
    ] {
        let answer = directory.verify(user, password, &background).await;
        assert!(matches!(answer, Ok(None)), "{user:?} {password:?}");
    }
    assert!(directory.verify("ada", "x", &background).await.is_err());
}

proptest! {
    /// Whatever stands in the name, the filter is one comparison with it (RFC 4515).
    #[test]
    fn a_name_stays_a_value(name in "\\PC{0,40}|[*()\\\\\u{0}&|!=a]{0,12}") {
        let filter = format!("(uid={})", ldap_escape(name.as_str()));
        let inner = filter.trim_start_matches('(').trim_end_matches(')');
        prop_assert!(!inner.contains(['(', ')', '*', '\0']));
        prop_assert!(ldap3::parse_filter(&filter).is_ok());
    }
}
