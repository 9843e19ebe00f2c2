//! Whether what is shown of a driver is as it was: what changes by itself, its log and its use of the GPUs. Files are not read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::log::{SEGMENT_LEAST, segment_path, segments};
use super::run_dir::RunDir;
use crate::gpu::{Summary, Usage};
use crate::ready::{Kept, Ready};

/// What was seen of a driver at one moment.
#[derive(Debug)]
pub struct DriverMark {
    log: Option<LogMark>,
    gpus: Option<Summary>,
}

impl DriverMark {
    /// What is seen now. Lists the driver's directory.
    #[must_use]
    pub fn of(run_dir: Option<&RunDir>, usage: Option<&Usage>) -> Self {
        Self {
            log: run_dir.map(LogMark::of),
            gpus: usage.and_then(Usage::summary),
        }
    }

    /// Whether all of it is still so, of the same driver. A few calls of the kernel for names that it has at hand: the directory
    /// is on a local disk, as the store's database needs it anyway.
    #[must_use]
    pub fn holds(&self, usage: Option<&Usage>) -> bool {
        self.gpus == usage.and_then(Usage::summary) && self.log.as_ref().is_none_or(LogMark::holds)
    }
}

impl Kept<DriverMark> {
    /// The body, if what it shows of the driver is still so. As quick as [`DriverMark::holds`].
    #[must_use]
    pub fn still(&self, usage: Option<&Usage>) -> Option<Ready> {
        let kept = self.get()?;
        kept.0.holds(usage).then(|| kept.1.clone())
    }

    /// Makes the body, and keeps it if nothing has changed meanwhile.
    pub fn make(
        &self,
        run_dir: Option<&RunDir>,
        usage: Option<&Usage>,
        make: impl FnOnce() -> Ready,
    ) -> Ready {
        let mark = DriverMark::of(run_dir, usage);
        let ready = make();
        if mark.holds(usage) {
            self.put(mark, &ready);
        }
        ready
    }
}

/// A log's files at one moment. Both streams are only added to, so the last file of each and the one that would come next tell
/// all; a stream's files before these change no more.
#[derive(Debug)]
struct LogMark([Stream; 2]);

#[derive(Debug)]
struct Stream {
    last: Option<(PathBuf, Facts)>,
    next: PathBuf,
}

/// What differs once a file has been written, or has been replaced by user code.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Facts {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: data.ino(),
            bytes: data.len(),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

impl LogMark {
    fn of(run_dir: &RunDir) -> Self {
        Self(["stdout", "stderr"].map(|stream| {
            let last = segments(run_dir, stream).pop();
            let next = last.as_ref().map_or(0, |(number, _)| number.saturating_add(1));
            Stream {
                last: last.and_then(|(_, path)| Facts::of(&path).map(|facts| (path, facts))),
                next: segment_path(run_dir.path(), stream, next),
            }
        }))
    }

    fn holds(&self) -> bool {
        self.0.iter().all(Stream::holds)
    }
}

impl Stream {
    fn holds(&self) -> bool {
        match &self.last {
            None => Facts::of(&self.next).is_none(),
            Some((path, facts)) => {
                Facts::of(path).as_ref() == Some(facts)
                    // The next file begins once this one is full.
                    && (facts.bytes < SEGMENT_LEAST || Facts::of(&self.next).is_none())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::log::Segments;

    #[test]
    fn a_mark_holds_until_something_is_added() {
        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(temp.path().join("driver")).unwrap();
        let empty = LogMark::of(&run_dir);
        assert!(empty.holds());
        let mut out = Segments::new(run_dir.path(), "stdout", 1);
        out.write(b"one\n").unwrap();
        assert!(!empty.holds());
        let one = LogMark::of(&run_dir);
        assert!(one.holds());
        Segments::new(run_dir.path(), "stderr", 1)
            .write(b"two\n")
            .unwrap();
        assert!(!one.holds());
        let length = usize::try_from(SEGMENT_LEAST).unwrap() - 4;
        out.write(&vec![b'.'; length]).unwrap();
        let full = LogMark::of(&run_dir);
        assert!(full.holds());
        // A new file: the full one stays as it is.
        out.write(b"next").unwrap();
        assert!(!full.holds());
        assert!(LogMark::of(&run_dir).holds());
    }

    #[test]
    fn no_mark_holds_once_its_files_are_gone() {
        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(temp.path().join("driver")).unwrap();
        Segments::new(run_dir.path(), "stdout", 1)
            .write(b"one\n")
            .unwrap();
        let mark = LogMark::of(&run_dir);
        fs::remove_dir_all(run_dir.path()).unwrap();
        assert!(!mark.holds());
    }
}
