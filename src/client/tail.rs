//! What is new in a stream of a log that is read again and again.
//!
//! A log is a row of streams, so lines that are added to one move those after it, and a log over its limit loses its middle. So
//! each stream remembers its last lines, and where these no longer stand where they were, they are looked for. Pure.

use std::collections::VecDeque;

/// Lines that are remembered.
const REMEMBERED: usize = 5;
/// Said where lines were dropped before they were read.
const DROPPED: &str = "[... lines of the log are missing here ...]";

/// A stream as far as it has been given out.
#[derive(Debug, Default)]
pub struct Stream {
    count: usize,
    last: VecDeque<String>,
    held: Option<String>,
}

impl Stream {
    /// Lines that have been given out.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether `line` is the one before what is new: the last one given out, or `heading` before the first. The rest of a line that
    /// was given out before it was whole comes as a line of its own.
    pub fn fits(&self, heading: &str, line: &str) -> Option<Option<String>> {
        let last = self.last.back().map_or(heading, String::as_str);
        if line == last {
            return Some(None);
        }
        let is_partial = self.count > 0 && !last.is_empty();
        let rest = line.strip_prefix(last).filter(|_| is_partial)?;
        Some(Some(rest.to_owned()))
    }

    /// Replaces the last line by what it has become.
    pub fn grown(&mut self, line: &str) {
        self.last.pop_back();
        self.last.push_back(line.to_owned());
    }

    /// Takes lines that come next; gives those to print. The stream's last line may not be whole yet: with `is_end` it is held until
    /// it has been seen twice; with `is_final` it is whole.
    pub fn take(&mut self, mut lines: Vec<String>, is_end: bool, is_final: bool) -> Vec<String> {
        let held = self.held.take();
        if is_end
            && !is_final
            && let Some(line) = lines.pop()
        {
            // Seen twice with nothing after it.
            if lines.is_empty() && held.as_ref() == Some(&line) {
                lines.push(line);
            } else {
                self.held = Some(line);
            }
        }
        self.count += lines.len();
        let kept = lines.len().saturating_sub(REMEMBERED);
        self.last.extend(lines[kept..].iter().cloned());
        let over = self.last.len().saturating_sub(REMEMBERED);
        self.last.drain(..over);
        lines
    }

    /// Finds its place in the whole stream, where lines were dropped or moved; gives what to print.
    pub fn find(&mut self, all: Vec<String>, is_final: bool) -> Vec<String> {
        let mut new = Vec::new();
        let before = self.count.checked_sub(1).and_then(|at| all.get(at));
        if let Some(line) = before
            && let Some(Some(rest)) = self.fits("", line)
        {
            self.grown(line);
            new.push(rest);
        }
        // What is dropped only moves the rest up.
        let remembered: Vec<&String> = self.last.iter().collect();
        let most = self.count.min(all.len());
        let stands_at = |end: &usize| {
            all[..*end]
                .iter()
                .rev()
                .zip(remembered.iter().rev())
                .all(|(a, b)| a == *b)
        };
        let from = (remembered.len()..=most).rev().find(stands_at);
        if from.is_none() && !all.is_empty() {
            new.push(DROPPED.to_owned());
        }
        let total = all.len();
        new.extend(self.take(all[from.unwrap_or(0)..].to_vec(), true, is_final));
        self.count = total - usize::from(self.held.is_some());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_line_is_held_until_it_is_seen_twice() {
        let mut stream = Stream::default();
        assert_eq!(stream.take(lines("a b c"), true, false), lines("a b"));
        assert_eq!(stream.count(), 2);
        assert_eq!(stream.take(lines("c"), true, false), lines("c"));
        assert_eq!(stream.take(lines("d"), true, false), lines(""));
        assert_eq!(stream.take(lines("de f"), false, false), lines("de f"));
        assert_eq!(stream.take(lines("g"), true, true), lines("g"));
        assert_eq!(stream.count(), 6);
    }

    #[test]
    fn what_moved_is_noticed() {
        let mut stream = Stream::default();
        assert_eq!(stream.fits("stdout: ", "stdout: "), Some(None));
        assert_eq!(stream.fits("stdout: ", "stdout: x"), None);
        stream.take(lines("a b"), false, false);
        assert_eq!(stream.fits("stdout: ", "b"), Some(None));
        assert_eq!(stream.fits("stdout: ", "bcd"), Some(Some("cd".to_owned())));
        assert_eq!(stream.fits("stdout: ", "stdout: "), None);
        stream.grown("bcd");
        assert_eq!(stream.fits("stdout: ", "bcd"), Some(None));
    }

    #[test]
    fn its_place_is_found_again() {
        let mut stream = Stream::default();
        stream.take(lines("a b c d e f g h"), false, false);
        assert_eq!(stream.find(lines("a dropped d e f g h i j"), true), lines("i j"));
        assert_eq!(stream.count(), 9);
        let mut missing = vec![DROPPED.to_owned()];
        missing.extend(lines("x y"));
        assert_eq!(stream.find(lines("x y"), true), missing);
        assert_eq!(stream.count(), 2);
        let mut partial = Stream::default();
        partial.take(lines("a b"), true, true);
        assert_eq!(partial.find(lines("a bcd e"), true), lines("cd e"));
        let mut fresh = Stream::default();
        assert_eq!(fresh.find(lines("p q"), false), lines("p"));
        assert_eq!(fresh.count(), 1);
    }

    #[test]
    fn a_line_that_is_said_again_and_again_is_printed_as_often() {
        let mut stream = Stream::default();
        stream.take(lines("x x x x x x"), false, false);
        assert_eq!(stream.find(lines("x x x x x x x x"), true), lines("x x"));
    }
}
