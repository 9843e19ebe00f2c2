//! The last bytes of what a statement has printed, each with its place in all that it printed. Pure.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

/// What a statement printed in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The statement.
    pub statement: i64,
    /// Bytes that it had printed before.
    pub from: u64,
    /// Bytes before `from` that no piece has.
    pub skipped: u64,
    /// What it printed, in UTF-8 unless the statement printed something else. Characters are whole.
    pub bytes: Bytes,
}

/// A part of what a statement printed, without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of its first byte.
    pub from: u64,
    /// The place after its last byte.
    pub next: u64,
    /// The text; what is no UTF-8 is U+FFFD.
    pub text: String,
}

/// What is kept of what one statement has printed.
#[derive(Clone, Debug)]
pub struct Text {
    /// The statement.
    pub statement: i64,
    /// How much it has printed, as far as is known.
    pub total: u64,
    pieces: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Text {
    pub(super) fn new(statement: i64) -> Self {
        Self {
            statement,
            total: 0,
            pieces: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes what comes next; keeps about `most` bytes. Gives it as a piece.
    pub(super) fn add(&mut self, from: u64, bytes: Bytes, most: usize) -> Piece {
        let piece = Piece {
            statement: self.statement,
            from,
            skipped: from.saturating_sub(self.total),
            bytes: bytes.clone(),
        };
        self.total = from.saturating_add(bytes.len() as u64);
        self.bytes += bytes.len();
        self.pieces.push_back((from, bytes));
        while self.bytes > most
            && let Some((from, oldest)) = self.pieces.front_mut()
        {
            let over = next_character(oldest, self.bytes - most);
            *from += over as u64;
            self.bytes -= over;
            oldest.advance(over);
            if oldest.is_empty() {
                self.pieces.pop_front();
            }
        }
        piece
    }

    /// All that is kept, oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (from, bytes) in &self.pieces {
            let text = String::from_utf8_lossy(bytes);
            let next = from + bytes.len() as u64;
            match runs.last_mut().filter(|run| run.next == *from) {
                Some(run) => {
                    run.text.push_str(&text);
                    run.next = next;
                }
                None => runs.push(Run {
                    from: *from,
                    next,
                    text: text.into_owned(),
                }),
            }
        }
        runs
    }

    /// What is kept from a place on, at most `most` bytes and up to the next gap; it begins later where that is no longer kept.
    #[must_use]
    pub fn page(&self, from: u64, most: usize) -> Run {
        let mut page = Run {
            from: self.total.min(from),
            next: self.total.min(from),
            text: String::new(),
        };
        let mut room = most;
        for (begin, bytes) in &self.pieces {
            let end = begin + bytes.len() as u64;
            if end <= page.next {
                continue;
            }
            if *begin > page.next {
                if !page.text.is_empty() {
                    break;
                }
                page.from = *begin;
                page.next = *begin;
            }
            let skip = usize::try_from(page.next - begin).unwrap_or(usize::MAX);
            let skip = next_character(bytes, skip);
            if page.text.is_empty() {
                page.from = begin + skip as u64;
            }
            let take = last_character(&bytes[skip..], room);
            page.text
                .push_str(&String::from_utf8_lossy(&bytes[skip..skip + take]));
            page.next = begin + (skip + take) as u64;
            room -= take;
            if page.next < end {
                break;
            }
        }
        page
    }

    /// All that is kept as one text, gaps told in lines of their own.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        let mut at = 0;
        for run in self.runs() {
            if run.from > at {
                if !shown.is_empty() && !shown.ends_with('\n') {
                    shown.push('\n');
                }
                shown.push_str(&format!("[... {} bytes are not shown live ...]\n", run.from - at));
            }
            shown.push_str(&run.text);
            at = run.next;
        }
        shown
    }
}

/// The first place at or after `at` where a character begins.
fn next_character(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    let inside = bytes[at..]
        .iter()
        .take(3)
        .take_while(|byte| **byte & 0xC0 == 0x80)
        .count();
    at + inside
}

/// The last place at or before `at` where a character begins, or the end.
fn last_character(bytes: &[u8], at: usize) -> usize {
    if at >= bytes.len() {
        return bytes.len();
    }
    let inside = bytes[..=at]
        .iter()
        .rev()
        .take(3)
        .take_while(|byte| **byte & 0xC0 == 0x80)
        .count();
    at - inside.min(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(pieces: &[(u64, &str)], most: usize) -> Text {
        let mut text = Text::new(0);
        for (from, piece) in pieces {
            text.add(*from, Bytes::copy_from_slice(piece.as_bytes()), most);
        }
        text
    }

    #[test]
    fn a_gap_is_told() {
        let text = text(&[(0, "ab\n"), (3, "c"), (10, "d")], 100);
        assert_eq!(text.runs().len(), 2);
        assert_eq!(text.shown(), "ab\nc\n[... 6 bytes are not shown live ...]\nd");
        assert_eq!(text.page(1, 100).text, "b\nc");
        let after = text.page(4, 100);
        assert_eq!((after.from, after.next, after.text.as_str()), (10, 11, "d"));
        assert_eq!(text.page(11, 100).text, "");
        assert_eq!(text.page(99, 100).next, 11);
    }

    proptest! {
        #[test]
        fn pages_are_what_was_printed(
            pieces in prop::collection::vec("[aé€😀\n\r]{1,20}", 1..20),
            most in 8..200_usize,
            size in 4..50_usize,
        ) {
            let all = pieces.concat();
            let mut text = Text::new(0);
            let mut at = 0;
            for piece in &pieces {
                text.add(at, Bytes::copy_from_slice(piece.as_bytes()), most);
                at += piece.len() as u64;
            }
            prop_assert!(text.bytes <= most);
            let mut from = 0;
            let mut first = None;
            let mut read = String::new();
            while from < text.total {
                let page = text.page(from, size);
                prop_assert!(page.next > from && page.text.len() <= size);
                first.get_or_insert(page.from);
                read.push_str(&page.text);
                from = page.next;
            }
            prop_assert!(all.ends_with(&read));
            prop_assert_eq!(read.len() as u64 + first.unwrap(), all.len() as u64);
            prop_assert!(read.len() + 4 > most.min(all.len()));
        }
    }
}
