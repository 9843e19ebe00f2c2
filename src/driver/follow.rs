//! A driver's log as it grows: lines of both streams and the server's own, whichever come first. Reads files, a piece at a time.

use std::collections::VecDeque;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use super::log::{segment_bytes, segments};
use super::run_dir::{RunDir, open_plain};

/// Bytes read at once. A line that is longer comes in parts.
const CHUNK: u64 = 64 * 1024;

/// A log at one moment.
#[derive(Clone, Debug)]
pub struct LogNow {
    /// Where its files are.
    pub run_dir: Option<RunDir>,
    /// What the server adds.
    pub notes: Arc<Vec<String>>,
    /// The sentence that explains the end.
    pub diagnosis: Option<Arc<str>>,
    /// True once nothing writes it any more.
    pub has_ended: bool,
}

/// What comes next.
#[derive(Debug)]
enum Step {
    /// These lines, from the first one that is wanted.
    Lines(Vec<String>),
    /// A stream, up to where it ended when it was looked at first.
    Stream(usize, Option<Place>),
    /// The server's lines.
    Notes,
}

/// A place in a stream: the segment's number, and the bytes before it there.
type Place = (u64, u64);

/// A log as far as it has been read.
#[derive(Debug)]
pub struct LogFollower {
    streams: [Stream; 2],
    notes: Arc<Vec<String>>,
    diagnosis: Option<Arc<str>>,
    /// What there was at first, while it has not been read.
    first: VecDeque<Step>,
    /// Lines of it that are not wanted.
    skip: usize,
}

impl LogFollower {
    /// Begins with the log's line `from`, counted as the whole log is laid out, or with what comes from now on. Of each stream as
    /// much is read as `log.max_bytes` lets be kept.
    #[must_use]
    pub fn new(now: &LogNow, from: Option<usize>, max_bytes: u64) -> Self {
        let mut streams = ["stdout", "stderr"].map(|name| Stream::new(name, max_bytes));
        let ends = streams.each_ref().map(|stream| stream.end(now));
        let mut first = VecDeque::new();
        if from.is_some() {
            let heading = |text: &str| Step::Lines(vec![text.to_owned()]);
            first.extend(now.diagnosis.as_deref().map(heading));
            first.extend([heading("stdout: "), Step::Stream(0, ends[0])]);
            first.extend([heading("\nstderr: "), Step::Stream(1, ends[1])]);
            first.push_back(Step::Notes);
        } else {
            for (stream, end) in streams.iter_mut().zip(ends) {
                stream.at = end;
            }
        }
        Self {
            streams,
            notes: match from {
                Some(_) => Arc::default(),
                None => Arc::clone(&now.notes),
            },
            diagnosis: None,
            first,
            skip: from.unwrap_or(0),
        }
    }

    /// Lines that are new, each with its line feed: about a piece of the file; none where there are none yet.
    pub fn read(&mut self, now: &LogNow) -> Vec<u8> {
        self.diagnosis.clone_from(&now.diagnosis);
        let mut out = Vec::new();
        while out.is_empty()
            && let Some(step) = self.first.pop_front()
        {
            let mut lines = Vec::new();
            match step {
                Step::Lines(given) => lines = given,
                Step::Stream(index, end) => {
                    let stream = &mut self.streams[index];
                    if stream.read(now, &mut lines) && stream.at < end {
                        self.first.push_front(Step::Stream(index, end));
                    } else if now.has_ended {
                        lines.extend(stream.rest());
                    }
                }
                Step::Notes => {
                    lines = self.new_notes(now);
                    if !lines.is_empty() {
                        lines.insert(0, "\nFiresteel: ".to_owned());
                    }
                }
            }
            let unwanted = self.skip.min(lines.len());
            self.skip -= unwanted;
            write(&mut out, &lines[unwanted..]);
        }
        if out.is_empty() {
            let mut lines = Vec::new();
            for stream in &mut self.streams {
                stream.read(now, &mut lines);
            }
            lines.extend(self.new_notes(now));
            write(&mut out, &lines);
        }
        out
    }

    /// What is left once nothing writes the log any more and [`LogFollower::read`] gave nothing: lines that were not whole, and the
    /// sentence that explains the end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut lines: Vec<String> = self.streams.iter_mut().filter_map(Stream::rest).collect();
        lines.extend(self.diagnosis.as_deref().map(str::to_owned));
        let mut out = Vec::new();
        write(&mut out, &lines);
        out
    }

    /// Notes after those that were read; of many, the oldest have gone.
    fn new_notes(&mut self, now: &LogNow) -> Vec<String> {
        let new = &now.notes;
        let known = (0..=new.len())
            .rev()
            .find(|known| self.notes.ends_with(&new[..*known]));
        let lines = new[known.unwrap_or(0)..].to_vec();
        self.notes = Arc::clone(new);
        lines
    }
}

/// One stream as far as it has been read.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    segment_bytes: u64,
    /// None before its first segment.
    at: Option<Place>,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Stream {
    fn new(name: &'static str, max_bytes: u64) -> Self {
        Self {
            name,
            segment_bytes: segment_bytes(max_bytes),
            at: None,
            begun: Vec::new(),
        }
    }

    fn end(&self, now: &LogNow) -> Option<Place> {
        let (number, path) = segments(now.run_dir.as_ref()?, self.name).pop()?;
        let length = path.metadata().map_or(0, |about| about.len());
        Some((number, length.min(self.segment_bytes)))
    }

    /// Reads the next piece; false where there is none yet.
    fn read(&mut self, now: &LogNow, lines: &mut Vec<String>) -> bool {
        let Some(run_dir) = &now.run_dir else {
            return false;
        };
        // Listed first: a segment that has one after it gets no more.
        let found = segments(run_dir, self.name);
        loop {
            let at = self.at.or_else(|| found.first().map(|(number, _)| (*number, 0)));
            let Some((number, offset)) = at else {
                return false;
            };
            self.at = at;
            let mut bytes = Vec::new();
            if let Some((_, path)) = found.iter().find(|(found, _)| *found == number)
                && let Ok(mut file) = open_plain(path)
                && file.seek(SeekFrom::Start(offset)).is_ok()
            {
                let most = CHUNK.min(self.segment_bytes.saturating_sub(offset));
                let _ = file.take(most).read_to_end(&mut bytes);
            }
            if !bytes.is_empty() {
                self.at = Some((number, offset + bytes.len() as u64));
                self.add(&bytes, lines);
                return true;
            }
            let Some((next, _)) = found.iter().find(|(found, _)| *found > number) else {
                return false;
            };
            if *next > number + 1 {
                lines.extend(self.rest());
                let bytes = (next - number - 1).saturating_mul(self.segment_bytes);
                lines.push(format!("[... about {bytes} bytes dropped: log.max_bytes ...]"));
            }
            self.at = Some((*next, 0));
        }
    }

    fn add(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        self.begun.extend_from_slice(bytes);
        let whole = self
            .begun
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let begun = self.begun.split_off(whole);
        let text = String::from_utf8_lossy(&self.begun);
        lines.extend(text.lines().map(str::to_owned));
        self.begun = begun;
        if self.begun.len() as u64 >= CHUNK {
            lines.extend(self.rest());
        }
    }

    /// A line that is not whole, or too long to wait for its end.
    fn rest(&mut self) -> Option<String> {
        let begun = std::mem::take(&mut self.begun);
        (!begun.is_empty()).then(|| String::from_utf8_lossy(&begun).into_owned())
    }
}

fn write(out: &mut Vec<u8>, lines: &[String]) {
    for line in lines {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::log::{Segments, lines};

    const LIMIT: u64 = 64 * 1024;

    fn log(directory: &std::path::Path) -> LogNow {
        LogNow {
            run_dir: Some(RunDir::create(directory.join("driver")).unwrap()),
            notes: Arc::default(),
            diagnosis: None,
            has_ended: false,
        }
    }

    fn all(follower: &mut LogFollower, now: &LogNow) -> String {
        let mut all = Vec::new();
        loop {
            let new = follower.read(now);
            if new.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend(new);
        }
    }

    #[test]
    fn lines_come_as_they_are_written() {
        let temp = tempfile::tempdir().unwrap();
        let mut now = log(temp.path());
        let path = now.run_dir.clone().unwrap();
        let mut out = Segments::new(path.path(), "stdout", LIMIT);
        let mut err = Segments::new(path.path(), "stderr", LIMIT);
        out.write(b"one\ntw").unwrap();
        let mut from_now = LogFollower::new(&now, None, LIMIT);
        let mut whole = LogFollower::new(&now, Some(1), LIMIT);
        assert_eq!(all(&mut from_now, &now), "");
        assert_eq!(all(&mut whole, &now), "one\n\nstderr: \n");
        out.write(b"o\n").unwrap();
        err.write(b"three\nhalf").unwrap();
        now.notes = Arc::new(vec!["a note".to_owned()]);
        assert_eq!(all(&mut from_now, &now), "o\nthree\na note\n");
        now.notes = Arc::new(vec!["a note".to_owned(), "another".to_owned()]);
        now.diagnosis = Some("It died.".into());
        assert_eq!(all(&mut from_now, &now), "another\n");
        assert_eq!(from_now.rest(), b"half\nIt died.\n");
    }

    #[test]
    fn a_long_log_is_followed_over_its_segments() {
        let temp = tempfile::tempdir().unwrap();
        let now = log(temp.path());
        let path = now.run_dir.clone().unwrap();
        let mut out = Segments::new(path.path(), "stdout", LIMIT);
        let (mut follower, mut expected, mut read) =
            (LogFollower::new(&now, None, LIMIT), String::new(), String::new());
        for number in 0..20_000 {
            let line = format!("line {number}\n");
            out.write(line.as_bytes()).unwrap();
            expected.push_str(&line);
            if number % 500 == 0 {
                read.push_str(&all(&mut follower, &now));
            }
        }
        read.push_str(&all(&mut follower, &now));
        assert_eq!(read, expected);
        // One that comes late has what is left, as the whole log has it.
        let late = all(&mut LogFollower::new(&now, Some(0), LIMIT), &now);
        let whole: Vec<String> = late
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        let kept: Vec<String> = lines(now.run_dir.as_ref(), &[], None, LIMIT);
        assert_eq!(whole[1], kept[1]);
        assert_eq!(whole[whole.len() - 2], kept[kept.len() - 2]);
        assert_eq!(
            whole
                .iter()
                .filter(|line| line.contains("dropped: log.max_bytes"))
                .count(),
            1
        );
    }
}
