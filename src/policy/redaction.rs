//! Which conf values may be secrets, and what stands for them where they are not needed.

use serde_json::{Map, Value};

/// What stands for a value that may be a secret, as Spark writes it.
pub const REDACTED: &str = "*********(redacted)";

/// Parts of the keys whose values may be secrets; Spark's `spark.redaction.regex` names the same keys.
const SECRET: &[&str] = &[
    "secret",
    "password",
    "token",
    "access.key",
    "accesskey",
    "access_key",
];

/// Where a stored request has a conf: what was sent, and what the driver is started with.
const CONFS: [&str; 2] = ["/echo/conf", "/driver/conf"];

/// Whether the value of this conf key may be a secret.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET.iter().any(|word| key.contains(word))
}

/// Puts [`REDACTED`] in the place of each value that may be a secret. True where there was one.
pub fn redact(conf: &mut Map<String, Value>) -> bool {
    let mut found = false;
    for (key, value) in conf {
        if is_secret(key) && value.as_str() != Some(REDACTED) {
            *value = REDACTED.into();
            found = true;
        }
    }
    found
}

/// A session's or batch's request as it is stored once that has ended, without the secrets of its conf; none where it has none, or is no
/// request at all.
#[must_use]
pub fn without_secrets(request: &str) -> Option<String> {
    let mut request: Value = serde_json::from_str(request).ok()?;
    let mut found = false;
    for place in CONFS {
        let conf = request.pointer_mut(place).and_then(Value::as_object_mut);
        found |= conf.is_some_and(redact);
    }
    found.then(|| request.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_all_else_stays_in_its_order() {
        let conf = json!({"spark.z": "1", "spark.hadoop.fs.s3a.Secret.Key": "S", "spark.a": "S", "spark.ssl.keyPassword": ""});
        let request =
            json!({"name": "n", "echo": {"conf": conf, "ttl": "1h"}, "driver": {"conf": {"my.TOKEN": "S"}}});
        let kept = without_secrets(&request.to_string()).unwrap();
        let expected = json!({
            "name": "n",
            "echo": {
                "conf": {"spark.z": "1", "spark.hadoop.fs.s3a.Secret.Key": REDACTED, "spark.a": "S", "spark.ssl.keyPassword": REDACTED},
                "ttl": "1h",
            },
            "driver": {"conf": {"my.TOKEN": REDACTED}},
        });
        assert_eq!(kept, expected.to_string());
        assert_eq!(without_secrets(&kept), None, "once is enough");
        assert_eq!(without_secrets(r#"{"driver": {"conf": {"spark.x": "1"}}}"#), None);
        assert_eq!(without_secrets("{"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in ".*", key in ".*", value in ".*") {
            let _ = without_secrets(&text);
            let request = json!({"driver": {"conf": {&key: value}}}).to_string();
            prop_assert_eq!(without_secrets(&request).is_some(), is_secret(&key) && value != REDACTED);
        }
    }
}
