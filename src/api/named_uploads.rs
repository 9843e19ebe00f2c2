//! Uploads that a request names, `upload://ID/NAME`: put in their place is the local file that they stand for, which the policy
//! then looks at as at any other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use uuid::Uuid;

use super::error::ApiError;
use crate::policy;
use crate::upload::{Claim, Uploads};

const SCHEME: &str = "upload:";
/// What a path keeps as it is in a URI.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// The uploads that one request names, its caller's own. They stay at least as long as this does.
pub struct NamedUploads<'a> {
    uploads: &'a Uploads,
    owner: Option<&'a str>,
    claims: Vec<Claim>,
}

impl<'a> NamedUploads<'a> {
    /// None yet.
    pub fn new(uploads: &'a Uploads, owner: Option<&'a str>) -> Self {
        let claims = Vec::new();
        Self {
            uploads,
            owner,
            claims,
        }
    }

    /// A URI with an upload's file in place of the upload; any other as it is.
    ///
    /// # Errors
    /// There is no such upload of the caller's; the text names the field.
    pub fn in_text(&mut self, field: &str, uri: &str) -> Result<String, ApiError> {
        let Some(rest) = after_scheme(uri) else {
            return Ok(uri.to_owned());
        };
        let (location, fragment) = apart(rest);
        let claim = self.claim(location).ok_or_else(|| {
            let shown: String = uri.chars().take(200).collect();
            ApiError::Rejected(format!("{field}: there is no upload {shown:?}."))
        })?;
        let uri = local_uri(&claim.path());
        self.claims.push(claim);
        Ok(uri + fragment)
    }

    /// As [`NamedUploads::in_text`], for a list.
    pub fn in_list(&mut self, field: &str, uris: &[String]) -> Result<Vec<String>, ApiError> {
        uris.iter().map(|uri| self.in_text(field, uri)).collect()
    }

    /// As [`NamedUploads::in_text`], for the keys that hold files.
    pub fn in_conf(&mut self, conf: &mut BTreeMap<String, String>) -> Result<(), ApiError> {
        for (key, value) in conf {
            let Some(file) = policy::file_key(key) else {
                continue;
            };
            if file.list && policy::split_list(value).any(|uri| after_scheme(uri).is_some()) {
                let uris: Result<Vec<_>, _> = policy::split_list(value)
                    .map(|uri| self.in_text(key, uri))
                    .collect();
                *value = uris?.join(",");
            } else if !file.list {
                *value = self.in_text(key, value.trim())?;
            }
        }
        Ok(())
    }

    /// The directories whose files the request may name: those that are allowed, and those of the uploads it has named.
    pub fn and_allowed(&self, allowed: &[PathBuf]) -> Vec<PathBuf> {
        let own = self.claims.iter().map(Claim::directory);
        allowed.iter().cloned().chain(own).collect()
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<Uuid> {
        self.claims.iter().map(|claim| claim.upload().id).collect()
    }

    /// The claim on the only upload that was named; none where none was.
    pub fn into_one(mut self) -> Option<Claim> {
        self.claims.pop()
    }

    fn claim(&self, location: &str) -> Option<Claim> {
        let (id, name) = named(location)?;
        let claim = self.uploads.claim(self.owner, id)?;
        (claim.upload().name == name).then_some(claim)
    }
}

/// The URI of a local file.
pub fn local_uri(path: &Path) -> String {
    format!("file://{}", utf8_percent_encode(&path.to_string_lossy(), ENCODED))
}

fn after_scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// What follows the scheme, and the fragment with its `#`.
fn apart(rest: &str) -> (&str, &str) {
    rest.find('#').map_or((rest, ""), |at| rest.split_at(at))
}

/// The upload that a location names, and the name of its file.
fn named(location: &str) -> Option<(Uuid, Cow<'_, str>)> {
    let (id, name) = location.strip_prefix("//")?.split_once('/')?;
    let name = percent_decode_str(name).decode_utf8().ok()?;
    Some((id.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any URI is an upload's, or none; what is local is read back as it was.
        #[test]
        fn any_uri_is_read(uri in prop_oneof![".*", "(?i)upload:.*", "upload://[0-9a-f-]{30,40}/.*"], id: u128, name in ".*") {
            if let Some(rest) = after_scheme(&uri) {
                let (location, fragment) = apart(rest);
                prop_assert_eq!(format!("{location}{fragment}"), rest);
                let _ = named(location);
            }
            let path = local_uri(Path::new(&name));
            let encoded = path.strip_prefix("file://").unwrap_or_default();
            let location = format!("//{}/{encoded}", Uuid::from_u128(id));
            prop_assert_eq!(named(&location), Some((Uuid::from_u128(id), name.as_str().into())));
        }
    }
}
