//! A driver's output on disk: written by the keeper in segments, read by the server as lines.
//!
//! Each stream is a row of files `STREAM.NNNNNN` of a quarter of `log.max_bytes`. The first two and the last two are kept, so a log
//! over its limit loses its middle, and the numbers of the files tell how much.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::run_dir::{RunDir, open_plain};

/// Segments kept at each end.
const KEPT: u64 = 2;
/// Bytes read from the end of a stream for the last lines that a session shows.
const TAIL_BYTES: u64 = 16 * 1024;

/// The least bytes of a segment that another follows.
pub(super) const SEGMENT_LEAST: u64 = 4096;

/// Bytes of one segment, where a stream keeps about `max_bytes`.
#[must_use]
pub fn segment_bytes(max_bytes: u64) -> u64 {
    (max_bytes / (2 * KEPT)).max(SEGMENT_LEAST)
}

/// The number of the segment that a stream has next.
pub(super) fn next_segment(run_dir: &RunDir, stream: &str) -> u64 {
    let last = segments(run_dir, stream).pop();
    last.map_or(0, |(number, _)| number.saturating_add(1))
}

pub(super) fn segment_path(directory: &Path, stream: &str, number: u64) -> PathBuf {
    directory.join(format!("{stream}.{number:06}"))
}

/// Adds to a stream that its keeper writes no more, in a segment of its own: at most as many bytes as a segment has, the last ones.
/// Writes files.
///
/// # Errors
/// The disk says no.
pub fn append(run_dir: &RunDir, stream: &'static str, bytes: &[u8], max_bytes: u64) -> io::Result<()> {
    let most = usize::try_from(segment_bytes(max_bytes)).unwrap_or(usize::MAX);
    let mut segments = Segments::new(run_dir.path(), stream, max_bytes);
    segments.number = next_segment(run_dir, stream);
    segments.write(&bytes[bytes.len().saturating_sub(most)..])
}

/// Writes one stream. Used by the keeper, and by [`append`].
#[derive(Debug)]
pub struct Segments {
    directory: PathBuf,
    stream: &'static str,
    segment_bytes: u64,
    number: u64,
    written: u64,
    file: Option<File>,
}

impl Segments {
    /// A stream that keeps about `max_bytes`.
    #[must_use]
    pub fn new(directory: &Path, stream: &'static str, max_bytes: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            stream,
            segment_bytes: segment_bytes(max_bytes),
            number: 0,
            written: 0,
            file: None,
        }
    }

    /// Goes on with what was written from the segment `first` on, none of it by the keeper; with how many bytes that are. Reads and writes files.
    ///
    /// # Errors
    /// The disk says no.
    pub(super) fn resume(
        run_dir: &RunDir,
        stream: &'static str,
        max_bytes: u64,
        first: u64,
    ) -> io::Result<(Self, u64)> {
        let mut resumed = Self::new(run_dir.path(), stream, max_bytes);
        resumed.number = first;
        let last = segments(run_dir, stream).pop();
        let Some((number, path)) = last.filter(|(number, _)| *number >= first) else {
            return Ok((resumed, 0));
        };
        let file = OpenOptions::new().append(true).open(path)?;
        resumed.number = number;
        resumed.written = file.metadata()?.len();
        resumed.file = Some(file);
        let whole = (number - first).saturating_mul(resumed.segment_bytes);
        let there = whole.saturating_add(resumed.written);
        Ok((resumed, there))
    }

    /// Appends; begins new segments and drops middle ones as needed.
    ///
    /// # Errors
    /// The disk says no; what could not be written is lost.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.file.is_none() || self.written >= self.segment_bytes {
                self.begin()?;
            }
            let room = usize::try_from(self.segment_bytes - self.written).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if let Some(file) = &mut self.file {
                file.write_all(now)?;
            }
            self.written += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            self.number += 1;
        }
        self.written = 0;
        let path = segment_path(&self.directory, self.stream, self.number);
        self.file = Some(
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)?,
        );
        if self.number >= 2 * KEPT {
            let dropped = segment_path(&self.directory, self.stream, self.number - KEPT);
            match fs::remove_file(dropped) {
                // A cleaner was here before.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The segments of a stream that exist, in order, those in the middle left out: user code can make any number of such files.
pub(super) fn segments(run_dir: &RunDir, stream: &str) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{stream}.");
    let Ok(entries) = fs::read_dir(run_dir.path()) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort_unstable();
    let kept = usize::try_from(KEPT).unwrap_or(usize::MAX);
    let last = found.len().saturating_sub(kept);
    if kept < last {
        found.drain(kept..last);
    }
    found
}

/// Reads what a segment can hold, from `start` on; user code may have put something far longer in its place. A segment that the
/// keeper drops at this moment reads as empty.
fn read_segment(path: &Path, start: SeekFrom, most: u64, text: &mut Vec<u8>) {
    if let Ok(mut file) = open_plain(path)
        && file.seek(start).is_ok()
    {
        let _ = file.take(most).read_to_end(text);
    }
}

/// All kept lines of a stream, the dropped middle told in a line of its own.
fn stream_lines(run_dir: &RunDir, stream: &str, max_bytes: u64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut text = Vec::new();
    let mut next = 0;
    let found = segments(run_dir, stream);
    let length = found
        .first()
        .and_then(|(_, path)| path.metadata().ok())
        .map_or(0, |data| data.len());
    for (number, path) in found {
        if number != next {
            lines.extend(to_lines(&text));
            lines.push(format!(
                "[... about {} bytes dropped: log.max_bytes ...]",
                (number - next).saturating_mul(length)
            ));
            text.clear();
        }
        next = number.saturating_add(1);
        read_segment(&path, SeekFrom::Start(0), segment_bytes(max_bytes), &mut text);
    }
    lines.extend(to_lines(&text));
    lines
}

fn to_lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The last lines of a stream, at most `count`, from its last bytes only.
fn stream_tail(run_dir: &RunDir, stream: &str, count: usize) -> Vec<String> {
    let mut bytes = Vec::new();
    for (_, path) in segments(run_dir, stream).into_iter().rev().take(2) {
        let length = path.metadata().map_or(0, |data| data.len());
        let start = SeekFrom::Start(length.saturating_sub(TAIL_BYTES));
        let mut part = Vec::new();
        read_segment(&path, start, TAIL_BYTES, &mut part);
        part.extend(bytes);
        bytes = part;
        if bytes.len() as u64 >= TAIL_BYTES {
            break;
        }
    }
    let mut lines = to_lines(&bytes);
    lines.split_off(lines.len().saturating_sub(count))
}

/// The session's log as Livy lays it out: both streams under their headings, then the server's own notes where there are any.
/// `diagnosis`, the sentence of a session that has ended, stands first and last (contracts.md, Diagnosis). `max_bytes` is
/// `log.max_bytes`: no more is read of a stream, whatever user code made of its files.
#[must_use]
pub fn lines(
    run_dir: Option<&RunDir>,
    notes: &[String],
    diagnosis: Option<&str>,
    max_bytes: u64,
) -> Vec<String> {
    compose(run_dir, notes, diagnosis, |run_dir, stream| {
        stream_lines(run_dir, stream, max_bytes)
    })
}

/// The last `count` lines of [`lines`], without reading all of it.
#[must_use]
pub fn tail(
    run_dir: Option<&RunDir>,
    notes: &[String],
    diagnosis: Option<&str>,
    count: usize,
) -> Vec<String> {
    let mut lines = compose(run_dir, notes, diagnosis, |run_dir, stream| {
        stream_tail(run_dir, stream, count)
    });
    lines.split_off(lines.len().saturating_sub(count))
}

fn compose(
    run_dir: Option<&RunDir>,
    notes: &[String],
    diagnosis: Option<&str>,
    read: impl Fn(&RunDir, &str) -> Vec<String>,
) -> Vec<String> {
    let read = |stream| run_dir.map_or_else(Vec::new, |run_dir| read(run_dir, stream));
    let mut lines: Vec<String> = diagnosis.map(str::to_owned).into_iter().collect();
    lines.push("stdout: ".to_owned());
    lines.extend(read("stdout"));
    lines.push("\nstderr: ".to_owned());
    lines.extend(read("stderr"));
    if !notes.is_empty() {
        lines.push("\nFiresteel: ".to_owned());
        lines.extend_from_slice(notes);
    }
    lines.extend(diagnosis.map(str::to_owned));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 * 1024;

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(temp.path().join("driver")).unwrap();
        (temp, run_dir)
    }

    #[test]
    fn a_short_log_is_whole() {
        let (_temp, run_dir) = run_dir();
        let mut out = Segments::new(run_dir.path(), "stdout", 1 << 20);
        out.write(b"one\ntwo\n").unwrap();
        Segments::new(run_dir.path(), "stderr", 1 << 20)
            .write(b"three\n")
            .unwrap();
        assert_eq!(
            lines(Some(&run_dir), &[], None, LIMIT),
            ["stdout: ", "one", "two", "\nstderr: ", "three"]
        );
        let notes = ["a note".to_owned()];
        assert_eq!(
            lines(Some(&run_dir), &notes, Some("It died."), LIMIT),
            [
                "It died.",
                "stdout: ",
                "one",
                "two",
                "\nstderr: ",
                "three",
                "\nFiresteel: ",
                "a note",
                "It died."
            ]
        );
        assert_eq!(tail(Some(&run_dir), &notes, None, 2), ["\nFiresteel: ", "a note"]);
    }

    #[test]
    fn a_long_log_loses_its_middle_and_says_so() {
        let (_temp, run_dir) = run_dir();
        let mut out = Segments::new(run_dir.path(), "stdout", LIMIT);
        for number in 0..100_000 {
            out.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let on_disk: u64 = segments(&run_dir, "stdout")
            .iter()
            .map(|(_, path)| path.metadata().unwrap().len())
            .sum();
        assert!(on_disk <= LIMIT, "{on_disk}");
        let lines = lines(Some(&run_dir), &[], None, LIMIT);
        assert_eq!(lines[1], "line 0");
        assert_eq!(lines[lines.len() - 2], "line 99999");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("dropped: log.max_bytes"))
                .count(),
            1
        );
        assert_eq!(tail(Some(&run_dir), &[], None, 3)[0], "line 99998");
    }

    #[test]
    fn a_log_whose_files_are_removed_goes_on() {
        let (_temp, run_dir) = run_dir();
        let mut out = Segments::new(run_dir.path(), "stdout", LIMIT);
        for number in 0..100_000 {
            out.write(format!("line {number}\n").as_bytes()).unwrap();
            if number == 50_000 {
                for (_, path) in segments(&run_dir, "stdout") {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        let lines = lines(Some(&run_dir), &[], None, LIMIT);
        assert_eq!(lines[lines.len() - 2], "line 99999");
        let last = segment_path(run_dir.path(), "stdout", out.number);
        assert_eq!(fs::read(last).unwrap().len() as u64, out.written);
        assert_eq!(lines.iter().filter(|line| line.contains("dropped")).count(), 1);
    }

    #[test]
    fn no_more_is_read_than_the_keeper_writes() {
        let (_temp, run_dir) = run_dir();
        for number in [0, 1, 7, 8, u64::MAX - 1, u64::MAX] {
            let file = File::create(segment_path(run_dir.path(), "stdout", number)).unwrap();
            file.set_len(1 << 40).unwrap();
        }
        let read: usize = lines(Some(&run_dir), &[], None, LIMIT)
            .iter()
            .map(String::len)
            .sum();
        assert!(read as u64 <= LIMIT + 200, "{read}");
        let shown = tail(Some(&run_dir), &[], None, 10);
        let read: usize = shown.iter().map(String::len).sum();
        assert!(read as u64 <= 2 * TAIL_BYTES, "{read}");
    }

    #[test]
    fn what_is_added_later_comes_last() {
        let (_temp, run_dir) = run_dir();
        append(&run_dir, "stdout", b"first\n", LIMIT).unwrap();
        append(&run_dir, "stdout", &[b'x'; 100_000], LIMIT).unwrap();
        append(&run_dir, "stdout", b"last\n", LIMIT).unwrap();
        let lines = lines(Some(&run_dir), &[], None, LIMIT);
        assert_eq!(lines[1], "first");
        assert_eq!(lines[2].len() as u64, segment_bytes(LIMIT) + "last".len() as u64);
        assert_eq!(segments(&run_dir, "stdout").len(), 3);
    }

    #[test]
    fn a_session_without_a_driver_has_livys_empty_log() {
        assert_eq!(lines(None, &[], None, LIMIT), ["stdout: ", "\nstderr: "]);
    }
}
