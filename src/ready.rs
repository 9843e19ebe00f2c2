//! Bodies that are made once and sent as often as they are asked for, each with the tag that names it.
//!
//! Owns: the tags, and the places where such bodies are kept: beside what they are made from, so that they go with it. Only what
//! is asked for is kept. Called by `session` and `batch`, whose snapshots have the places, and by `api`, which fills them.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Bytes of the longest body that is kept. A longer one is made each time.
const KEPT_BYTES: usize = 16 * 1024;
/// Bytes of a digest that a tag has: 128 bits, which no two bodies are going to share.
const TAG_BYTES: usize = 16;

/// A body as it is sent, and its tag.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The bytes.
    pub body: Bytes,
    /// A strong entity tag (RFC 9110, 8.8.3) with its quotes. It is made of the bytes alone: what made them, for whom, and which
    /// server did, needs no thought.
    pub tag: Bytes,
}

impl Ready {
    /// A body with its tag.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = Sha256::digest(&body);
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..TAG_BYTES]));
        Self {
            body,
            tag: tag.into(),
        }
    }
}

/// A place for a body beside what it is made from, with a mark that tells whether that is still so; `()` where it always is. A
/// clone is empty: who clones is about to change what the place stands beside.
#[derive(Debug)]
pub struct Kept<M = ()>(Mutex<Option<Arc<(M, Ready)>>>);

impl<M> Kept<M> {
    /// The body with its mark.
    #[must_use]
    pub fn get(&self) -> Option<Arc<(M, Ready)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a body, unless it is long.
    pub fn put(&self, mark: M, ready: &Ready) {
        if ready.body.len() <= KEPT_BYTES {
            let kept = Some(Arc::new((mark, ready.clone())));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
    }
}

impl Kept {
    /// The body, which `make` makes the first time.
    pub fn or_make(&self, make: impl FnOnce() -> Ready) -> Ready {
        if let Some(kept) = self.get() {
            return kept.1.clone();
        }
        let ready = make();
        self.put((), &ready);
        ready
    }
}

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<M> Clone for Kept<M> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_the_bytes_alone() {
        let tag = |body: &'static str| Ready::new(body).tag;
        assert_eq!(tag("{}"), tag("{}"));
        assert_ne!(tag("{}"), tag("{} "));
        let quoted = tag("{}");
        assert!(quoted.starts_with(b"\"") && quoted.ends_with(b"\"") && quoted.is_ascii());
    }

    #[test]
    fn a_body_is_made_once_and_not_for_a_clone() {
        let kept = Kept::default();
        assert_eq!(kept.or_make(|| Ready::new("one")).body, "one");
        assert_eq!(kept.or_make(|| Ready::new("two")).body, "one");
        assert_eq!(kept.clone().or_make(|| Ready::new("two")).body, "two");
    }

    #[test]
    fn a_long_body_is_not_kept() {
        let kept = Kept::default();
        let _ = kept.or_make(|| Ready::new(vec![b' '; KEPT_BYTES + 1]));
        assert!(kept.get().is_none());
    }
}
