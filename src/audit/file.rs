//! The file of a log: appended to, renamed when it is full, made anew when somebody has taken it away. Only this user may read it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How far from its end a file is read for its last lines, in bytes.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// The last whole lines of a file, oldest first.
///
/// # Errors
/// The system's. A file that is not there has none.
pub(super) fn last_lines(path: &Path, count: usize) -> std::io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What is written just now has no end yet; what comes first has no beginning.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let whole = if from > 0 {
        whole.split_once('\n').map_or("", |(_, rest)| rest)
    } else {
        whole
    };
    let lines: Vec<&str> = whole.lines().rev().take(count).collect();
    Ok(lines.into_iter().rev().map(str::to_owned).collect())
}

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    kept: usize,
}

impl LogFile {
    /// Opens or creates it, with mode 0600.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path, max_bytes: u64, kept: usize) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            max_bytes,
            kept,
        })
    }

    /// Appends whole lines. Where that fails nothing of them is left, as far as the disk allows.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let more = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if !self.is_there() {
            *self = Self::open(&self.path, self.max_bytes, self.kept)?;
        }
        if self.bytes > 0 && self.bytes.saturating_add(more) > self.max_bytes {
            self.rotate()?;
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.bytes += more;
                Ok(())
            }
            Err(error) => {
                // Half a line would make the next one unreadable.
                let _ = self.file.set_len(self.bytes);
                Err(error)
            }
        }
    }

    /// Whether the path still leads to this file: an administrator may have moved it away.
    fn is_there(&self) -> bool {
        let found = std::fs::metadata(&self.path).ok();
        let own = self.file.metadata().ok();
        found
            .zip(own)
            .is_some_and(|(found, own)| (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }

    /// `FILE` becomes `FILE.1`, that becomes `FILE.2`, and so on; the oldest goes.
    fn rotate(&mut self) -> std::io::Result<()> {
        for number in (1..self.kept).rev() {
            let from = self.numbered(number);
            if from.exists() {
                std::fs::rename(from, self.numbered(number + 1))?;
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        *self = Self::open(&self.path, self.max_bytes, self.kept)?;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_last_lines_are_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        assert_eq!(last_lines(&path, 9).unwrap(), [""; 0]);
        std::fs::write(&path, "one\ntwo\nthree\nfou").unwrap();
        assert_eq!(last_lines(&path, 2).unwrap(), ["two", "three"]);
        assert_eq!(last_lines(&path, 9).unwrap(), ["one", "two", "three"]);
        let long = format!("cut{}\nlast\n", "x".repeat(5 * 1024 * 1024));
        std::fs::write(&path, long).unwrap();
        assert_eq!(last_lines(&path, 9).unwrap(), ["last"]);
    }

    #[test]
    fn it_takes_no_more_room_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let mut file = LogFile::open(&path, 20, 2).unwrap();
        for number in 0..10 {
            file.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(names(dir.path()), ["audit", "audit.1", "audit.2"]);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("audit.2"), "line 4\nline 5\n");
        assert_eq!(read("audit.1"), "line 6\nline 7\n");
        assert_eq!(read("audit"), "line 8\nline 9\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // What is longer than a file may be has one of its own.
        file.append(&[b'x'; 30]).unwrap();
        file.append(b"last\n").unwrap();
        assert_eq!(read("audit.1").len(), 30);
        // A start goes on where the last one ended.
        let mut file = LogFile::open(&path, 20, 2).unwrap();
        file.append(b"more\n").unwrap();
        assert_eq!(read("audit"), "last\nmore\n");
    }

    #[test]
    fn one_that_was_taken_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let mut file = LogFile::open(&path, 100, 2).unwrap();
        file.append(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("taken")).unwrap();
        file.append(b"two\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        file.append(b"three\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("taken")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
    }
}
