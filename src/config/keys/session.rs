//! Keys of what is run: sessions, batches, uploads, statements and jobs.

use serde::{Deserialize, Serialize};

use super::{Key, Table, tables};
use crate::config::values::{KeyType, Size, Span};

tables! {
    /// Interactive sessions.
    Session at "session" {
        /// A session without activity for so long is ended; `0s`: never. A busy session is never idle.
        idle_timeout: Span = Span::secs(3600);
        /// A session that isn't ready after so long is ended.
        start_timeout: Span = Span::secs(300);
        /// A session that an earlier server had, and whose driver does not call within this time, is ended.
        recover_timeout: Span = Span::secs(120);
        /// The longest life of a session; `0s`: no limit.
        ttl: Span = Span::secs(0);
        /// How long ended sessions stay in `GET /sessions`.
        ended_shown: Span = Span::secs(600);
        /// How long a jar or file may take to be added to a live session, with what is left of the session's start.
        add_timeout: Span = Span::secs(60);
        /// How often timeouts are looked at.
        watch_interval: Span = Span::secs(1);
    }

    /// Batches.
    Batch at "batch" {
        /// How long batches that have ended stay, with their logs.
        ended_shown: Span = Span::secs(24 * 3600);
        /// How many batches that have ended stay at most; the oldest go first.
        ended_kept: usize = 1000;
    }

    /// Uploads: files that clients send for their sessions and batches.
    Upload at "upload" {
        /// The most bytes of one upload; over it, 413.
        max_bytes: Size = Size::mib(100);
        /// The most bytes that the uploads of one owner have together, each counted as 64 KiB at least; over it, 413.
        owner_bytes: Size = Size::mib(1024);
        /// The most bytes that all uploads have together, counted so; over it, 503.
        total_bytes: Size = Size::mib(10 * 1024);
        /// Uploads received at the same time; over it, 503.
        at_once: usize = 8;
        /// How long an upload is kept to which no live session or batch refers: since it came, since the last one referred to it, or
        /// since the server's start.
        kept: Span = Span::secs(3600);
    }

    /// Statements.
    Statement at "statement" {
        /// How long the answer to a POST is held for a quick result, and that of a session that takes a warm driver until it is idle; `0s`: answered at once.
        answer_within: Span = Span::millis(100);
        /// From the first interrupt of a cancelled statement to the second.
        interrupt_again: Span = Span::secs(1);
        /// From cancelling a statement to replacing its interpreter.
        cancel_grace: Span = Span::secs(2);
        /// Statements kept of each session, 500 at least.
        kept: usize = 1000;
    }

    /// Programmatic jobs.
    Job at "job" {
        /// Jobs kept of each session after their end, 1 at least.
        kept: usize = 100;
        /// The most bytes kept of a session's jobs' results, as they are sent; the oldest go first, the last one stays.
        kept_bytes: Size = Size::mib(64);
    }

    /// SQL results.
    Sql at "sql" {
        /// The most rows of a SQL result, unless the session's conf has `livy.rsc.sql.num-rows`.
        max_rows: usize = 1000;
        /// The most rows that `livy.rsc.sql.num-rows` can ask for.
        max_rows_ceiling: usize = 100_000;
    }
}
