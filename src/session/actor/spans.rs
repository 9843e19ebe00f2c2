//! The spans of statements and jobs (docs/traces.md): each begins when it is accepted and ends when its result is stored, or its end without one.

use std::collections::HashMap;

use crate::session::kind::Kind;
use crate::session::statement::Statement;
use crate::traces::{Context, Span};

/// Those of statements that have not ended. Statements without a trace have none.
#[derive(Debug, Default)]
pub(super) struct Spans(HashMap<i64, Span>);

impl Spans {
    /// The span of a session's start; the session itself has none, as it may live for weeks.
    pub(super) fn of_start(session: i64, kind: Kind, parent: Option<Context>) -> Span {
        let mut span = Span::begin("session start", parent);
        span.number("firesteel.session.id", session);
        span.text("firesteel.kind", kind.as_str());
        span
    }

    /// A statement is accepted.
    pub(super) fn begin(&mut self, session: i64, statement: &Statement, parent: Option<Context>) {
        let name = if statement.is_job() { "job" } else { "statement" };
        let mut span = Span::begin(name, parent);
        if span.context().is_none() {
            return;
        }
        span.number("firesteel.session.id", session);
        span.number("firesteel.statement.id", statement.id);
        span.text("firesteel.kind", statement.kind.as_str());
        self.0.insert(statement.id, span);
    }

    /// Something that happens to it.
    pub(super) fn event(&mut self, id: i64, name: &'static str) {
        if let Some(span) = self.0.get_mut(&id) {
            span.event(name);
        }
    }

    /// What its Spark jobs are told.
    pub(super) fn for_spark(&self, id: i64) -> Option<Context> {
        self.0.get(&id).and_then(Span::for_spark)
    }

    /// It has ended; its trace.
    pub(super) fn end(&mut self, id: i64, state: &'static str, outcome: &'static str) -> Option<Context> {
        let mut span = self.0.remove(&id)?;
        span.text("firesteel.state", state);
        span.text("firesteel.outcome", outcome);
        if !matches!(outcome, "ok" | "cancelled") {
            span.failed();
        }
        span.context()
    }

    /// The server ends, and they go on: what becomes of them is the next server's to know.
    pub(super) fn leave(&mut self) {
        for (_, mut span) in self.0.drain() {
            span.text("firesteel.outcome", "left");
        }
    }
}
