//! What a driver's container writes, as its node keeps it: read while it grows, from behind the line that was taken last.
//!
//! The node notes the time of each line, and that is how far a log has been taken: how many bytes a node still has is not known,
//! since it lets the oldest go.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::AsyncRead;
use futures_util::io::AsyncReadExt as _;
use tokio::sync::Semaphore;

use super::Kubernetes;
use crate::cluster::application::Place;

/// What is read at once.
const PIECE: usize = 64 << 10;
/// The longest note of a time, such as `2026-11-29T09:05:00.123456789+05:30`.
const TIME_MAX: usize = 40;

/// The log of one pod. Clones are the same one.
#[derive(Clone, Debug)]
pub struct LiveLog {
    kubernetes: Arc<Kubernetes>,
    place: Place,
}

/// One reading of it.
pub struct Reading {
    answer: Pin<Box<dyn AsyncRead + Send>>,
    piece: Vec<u8>,
    lines: Lines,
}

impl LiveLog {
    pub(in crate::cluster) fn new(kubernetes: Arc<Kubernetes>, place: Place) -> Self {
        Self { kubernetes, place }
    }

    /// How many such logs may be followed at the same time.
    #[must_use]
    pub fn turns(&self) -> Arc<Semaphore> {
        Arc::clone(&self.kubernetes.follows)
    }

    /// Begins to read behind the line of this time, or from the first that there still is; to where the container's output has come by now, or,
    /// where it `follows`, to its end. Within `cluster.timeout`.
    ///
    /// # Errors
    /// One sentence: the API server does not answer, or refuses.
    pub async fn read(&self, after: Option<&str>, follows: bool) -> Result<Reading, String> {
        let answer = self.kubernetes.api.log(&self.place, after, follows).await?;
        Ok(Reading {
            answer,
            piece: vec![0; PIECE],
            lines: Lines::new(after.map(str::to_owned)),
        })
    }
}

impl Reading {
    /// What comes next, without times; none at its end. Cancel safe.
    ///
    /// # Errors
    /// One sentence: it is broken off.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let count = self
                .answer
                .read(&mut self.piece)
                .await
                .map_err(|error| format!("the driver's log is broken off: {error}"))?;
            if count == 0 {
                return Ok(None);
            }
            let text = self.lines.take(&self.piece[..count]);
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }

    /// The time of the last line that is whole; none where none is.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.lines.last.as_deref()
    }
}

/// Takes the times from lines, and leaves out those that were had before.
#[derive(Default)]
struct Lines {
    /// The time of the last line that was taken before this reading.
    before: Option<String>,
    /// The time of the last whole line of this one.
    last: Option<String>,
    /// The time of the line that is being read, as far as it has come.
    time: Vec<u8>,
    within: Within,
}

/// Where in a line the reading is.
#[derive(Default)]
enum Within {
    #[default]
    Time,
    Text,
    /// In one that was had before.
    Old,
}

impl Lines {
    fn new(before: Option<String>) -> Self {
        Self {
            last: before.clone(),
            before,
            ..Self::default()
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        while let Some(first) = bytes.first() {
            match self.within {
                Within::Time if *first != b' ' && *first != b'\n' && self.time.len() < TIME_MAX => {
                    self.time.push(*first);
                    bytes = &bytes[1..];
                }
                Within::Time => match time_of(&self.time) {
                    Some(time) if *first == b' ' => {
                        // All of a log's times are written alike.
                        let is_old = self.before.as_deref().is_some_and(|before| time <= before);
                        self.within = if is_old { Within::Old } else { Within::Text };
                        bytes = &bytes[1..];
                    }
                    // The node's own words have none.
                    _ => {
                        text.append(&mut self.time);
                        self.within = Within::Text;
                    }
                },
                Within::Text | Within::Old => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (now, later) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    let is_new = matches!(self.within, Within::Text);
                    if is_new {
                        text.extend_from_slice(now);
                    }
                    bytes = later;
                    if end.is_some() {
                        if is_new && let Some(time) = time_of(&self.time) {
                            self.last = Some(time.to_owned());
                        }
                        self.time.clear();
                        self.within = Within::Time;
                    }
                }
            }
        }
        text
    }
}

/// The time that a line begins with.
fn time_of(noted: &[u8]) -> Option<&str> {
    let noted = std::str::from_utf8(noted).ok()?;
    noted.parse::<k8s_openapi::jiff::Timestamp>().ok().map(|_| noted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-11-29T09:05:00.000000001Z one\n2026-11-29T09:05:00.000000002Z two two\n\
        the node says\n2026-11-29T09:05:01.000000000Z \n2026-11-29T09:05:02.000000000Z half";

    #[test]
    fn lines_are_taken_once_however_they_are_cut() {
        for size in [1, 7, LOG.len()] {
            let mut lines = Lines::new(None);
            let text: Vec<u8> = LOG.chunks(size).flat_map(|piece| lines.take(piece)).collect();
            assert_eq!(text, b"one\ntwo two\nthe node says\n\nhalf");
            assert_eq!(lines.last.as_deref(), Some("2026-11-29T09:05:01.000000000Z"));
            // What was not whole comes again.
            let mut lines = Lines::new(lines.last);
            let text: Vec<u8> = LOG.chunks(size).flat_map(|piece| lines.take(piece)).collect();
            assert_eq!(text, b"the node says\nhalf");
        }
    }
}
