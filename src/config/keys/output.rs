//! Keys of what comes of a statement: output, events, results.

use serde::{Deserialize, Serialize};

use super::{Key, Table, tables};
use crate::config::values::{KeyType, Size, Span};

tables! {
    /// Statements' results.
    Output at "output" {
        /// The most bytes kept of one statement's output; over it, head and tail are kept and the cut is marked. A job whose result is
        /// larger fails.
        max_bytes: Size = Size::mib(16);
        /// The largest output that the store keeps in its row; a larger one is a compressed file of its own.
        inline_bytes: Size = Size::kib(16);
        /// The most bytes that the files of one session's outputs take; over it, the oldest go and leave their first lines.
        session_bytes: Size = Size::mib(1024);
        /// The most bytes that the files of all outputs take; over it, the oldest of all go.
        total_bytes: Size = Size::mib(10 * 1024);
        /// How often the server is told what a running statement prints, at most; `0s`: not before it has ended.
        live_interval: Span = Span::millis(100);
        /// The most bytes kept of what the running statement of a session has printed, and as many of the one before it.
        live_bytes: Size = Size::kib(64);
        /// Whether the value of a Python cell's last line is shown as HTML, an image or the like beside its text, where it can be.
        rich: bool = true;
    }

    /// Events of sessions, and logs that are followed.
    Events at "events" {
        /// The most bytes of a session's latest events that are kept for clients that come back, each event counted as 256 bytes
        /// at least.
        replay_bytes: Size = Size::kib(256);
        /// Clients that follow events or logs at the same time; over it, 503.
        clients: usize = 1000;
    }

    /// Whole results, which are fetched as streams (docs/results.md).
    ResultStreams at "result" {
        /// The SQL statements of each session whose whole results can be fetched: the last ones.
        kept: usize = 20;
        /// Results of one session that are fetched at the same time; over it, 503.
        at_once: usize = 2;
        /// Results that are fetched at the same time in all; over it, 503.
        total_at_once: usize = 64;
        /// The most rows of a result that is fetched; `0`: no limit.
        max_rows: usize = 0;
        /// The most bytes of a result that is fetched, as Arrow; `0B`: no limit.
        max_bytes: Size = Size::kib(0);
        /// How long a client may take none of the result; then the connection is cut.
        stall_timeout: Span = Span::secs(600);
    }
}
