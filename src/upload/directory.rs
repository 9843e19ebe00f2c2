//! `STATE_DIR/uploads`: for each upload `ID/NAME` with its bytes, and beside it `ID.json` with what is known of it.
//!
//! An upload is written to `ID.part/NAME`. Once it is whole, `ID.json` is written and `ID.part` renamed. It is removed in the
//! opposite order, so that whatever a crash leaves has one of the two only, and is removed at the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

/// What a name keeps as it is in a URI.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its own id, which nobody guesses.
    pub id: Uuid,
    /// The file's name, as its sender gave it.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256, 64 hex digits.
    pub sha256: String,
    /// Who sent it; none without authentication.
    pub owner: Option<String>,
    /// The session that it was sent to: it is for that one alone, and goes with it.
    pub session: Option<i64>,
    /// When it came, in epoch milliseconds.
    pub created: i64,
}

impl Upload {
    /// What requests name it by: `upload://ID/NAME`, the name percent-encoded.
    #[must_use]
    pub fn uri(&self) -> String {
        format!(
            "upload://{}/{}",
            self.id,
            utf8_percent_encode(&self.name, ENCODED)
        )
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Whether an upload must survive a loss of power once it is answered.
    durable: bool,
}

impl Directory {
    /// Makes the directory or opens it, reads the uploads in it and removes whatever else is there.
    pub(super) fn open(path: PathBuf, durable: bool) -> io::Result<(Self, Vec<Upload>)> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let directory = Self { path, durable };
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&directory.path)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let name = file_name.to_str().unwrap_or_default();
            let id = name.strip_suffix(".json").unwrap_or(name).parse().ok();
            match id.and_then(|id| directory.read(id)) {
                Some(upload) if name.ends_with(".json") => uploads.push(upload),
                Some(_) => {}
                None => remove(&entry.path()),
            }
        }
        Ok((directory, uploads))
    }

    /// A whole upload; none where a part of it is missing.
    fn read(&self, id: Uuid) -> Option<Upload> {
        let upload: Upload = serde_json::from_slice(&fs::read(self.about(id)).ok()?).ok()?;
        let file = fs::symlink_metadata(self.file(&upload)).ok()?;
        (upload.id == id && file.is_file() && file.len() == upload.size).then_some(upload)
    }

    /// The directory that has nothing but one upload.
    pub(super) fn of(&self, id: Uuid) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// Where the bytes of an upload are.
    pub(super) fn file(&self, upload: &Upload) -> PathBuf {
        self.of(upload.id).join(&upload.name)
    }

    fn about(&self, id: Uuid) -> PathBuf {
        self.path.join(format!("{id}.json"))
    }

    /// Removes an upload. What can't be removed is removed at the next start.
    pub(super) fn remove(&self, id: Uuid) {
        remove(&self.about(id));
        remove(&self.of(id));
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if self.durable {
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }
}

/// An upload on its way. Dropped before it is published, it is removed.
#[derive(Debug)]
pub(super) struct Part<'a> {
    directory: &'a Directory,
    path: PathBuf,
    is_published: bool,
}

impl<'a> Part<'a> {
    pub(super) fn begin(directory: &'a Directory, id: Uuid) -> io::Result<Self> {
        let path = directory.path.join(format!("{id}.part"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self {
            directory,
            path,
            is_published: false,
        })
    }

    /// The file to write to.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))
    }

    /// Takes the bytes of an upload that is there, under the same name.
    pub(super) fn link(&self, from: &Upload) -> io::Result<()> {
        fs::hard_link(self.directory.file(from), self.path.join(&from.name))
    }

    /// All of it is written: makes it an upload.
    pub(super) fn publish(mut self, upload: &Upload) -> io::Result<()> {
        let directory = self.directory;
        directory.sync(&self.path.join(&upload.name))?;
        directory.sync(&self.path)?;
        let about = directory.about(upload.id);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&about)
            .and_then(|mut file| file.write_all(&serde_json::to_vec(upload)?))
            .and_then(|()| directory.sync(&about))
            .and_then(|()| fs::rename(&self.path, directory.of(upload.id)))
            .and_then(|()| directory.sync(&directory.path));
        match &written {
            Ok(()) => self.is_published = true,
            Err(_) => directory.remove(upload.id),
        }
        written
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.is_published {
            remove(&self.path);
        }
    }
}

/// Removes a file or a directory; what is gone already is no trouble.
fn remove(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            warn!(%error, path = %path.display(), "what is left of an upload can't be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(id: Uuid, size: u64) -> Upload {
        Upload {
            id,
            name: "a b.py".to_owned(),
            size,
            sha256: String::new(),
            owner: None,
            session: None,
            created: 0,
        }
    }

    #[test]
    fn only_whole_uploads_survive() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("uploads");
        let (directory, none) = Directory::open(path.clone(), true).unwrap();
        assert!(none.is_empty());
        let whole = upload(Uuid::new_v4(), 3);
        for (id, size, publish) in [
            (whole.id, 3, true),
            (Uuid::new_v4(), 4, true),
            (Uuid::new_v4(), 3, false),
        ] {
            let part = Part::begin(&directory, id).unwrap();
            part.create("a b.py").unwrap().write_all(b"abc").unwrap();
            if publish {
                part.publish(&upload(id, size)).unwrap();
            } else {
                std::mem::forget(part);
            }
        }
        fs::create_dir(path.join(Uuid::new_v4().to_string())).unwrap();
        fs::write(path.join(format!("{}.json", Uuid::new_v4())), "{}").unwrap();
        let (directory, found) = Directory::open(path.clone(), true).unwrap();
        assert_eq!(found, std::slice::from_ref(&whole));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
        assert_eq!(fs::read(directory.file(&whole)).unwrap(), b"abc");
        assert_eq!(whole.uri(), format!("upload://{}/a%20b.py", whole.id));
        directory.remove(whole.id);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }
}
