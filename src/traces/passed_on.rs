//! Spans of a build without OpenTelemetry: what the client sent, handed on.

use std::borrow::Cow;
use std::time::Instant;

use super::{Context, NotSent, Settings};
use crate::background::Background;

/// Nothing is recorded: a configuration with an endpoint is refused.
///
/// # Errors
/// Never, in this build.
pub fn begin(_settings: &Settings, _background: &Background) -> Result<(), NotSent> {
    Ok(())
}

/// A span that is not recorded. The default is one of no trace.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// A request's; `parent` is the client's.
    #[must_use]
    pub fn of_request(parent: Option<Context>) -> Self {
        Self(parent)
    }

    /// One of the server's own.
    #[must_use]
    pub fn begin(_name: &'static str, parent: Option<Context>) -> Self {
        Self(parent)
    }

    /// What spans below it have as their parent; none where there is no trace.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.0
    }

    /// What Spark is told.
    #[must_use]
    pub fn for_spark(&self) -> Option<Context> {
        self.0
    }

    /// Gives it another name.
    pub fn rename(&mut self, _name: impl FnOnce() -> String) {}

    /// An attribute that is a text.
    pub fn text(&mut self, _key: &'static str, _value: impl Into<Cow<'static, str>>) {}

    /// An attribute that is a number.
    pub fn number(&mut self, _key: &'static str, _value: i64) {}

    /// Something that happens now.
    pub fn event(&mut self, _name: &'static str) {}

    /// A span below it that began then and ends now.
    pub fn phase(&self, _name: &'static str, _began: Instant) {}

    /// It is an error.
    pub fn failed(&mut self) {}
}
