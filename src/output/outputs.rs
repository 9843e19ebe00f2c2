//! The files: written once a statement has ended, read as a client takes them, removed when they have to go.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tracing::warn;

use super::ledger::{Ledger, Name};
use super::rest::rest;
use crate::background::Background;
use crate::config::{Config, Durability};

/// zstd's quickest usual level: text shrinks to a fraction at several hundred MB/s.
const LEVEL: i32 = 1;
/// Each reader holds three windows in memory: its own, a block's input and a block's output. 2^15 bytes.
const WINDOW_LOG: u32 = 15;

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The largest output that the store keeps in its row.
    inline: usize,
    /// Whether a file must survive a loss of power once its statement's end is stored.
    durable: bool,
    background: Background,
    ledger: Mutex<Ledger>,
}

/// The outputs of this server's statements. Clones share them.
#[derive(Clone, Debug)]
pub struct Outputs {
    shared: Arc<Shared>,
}

/// What the store keeps of an output that is in a file.
#[derive(Debug)]
pub struct Kept {
    /// What is shown once the file has gone.
    pub rest: Box<RawValue>,
    /// The output's bytes.
    pub bytes: u64,
}

impl Outputs {
    /// Opens `STATE_DIR/outputs`, and takes note of what is there.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open(config: &Config, background: Background) -> io::Result<Self> {
        let path = config.server.state_dir.join("outputs");
        make_directory(&path)?;
        let limits = &config.output;
        let mut ledger = Ledger::new(limits.session_bytes.bytes(), limits.total_bytes.bytes());
        let mut found = Vec::new();
        for session in fs::read_dir(&path)? {
            let session = session?;
            let Some(id) = number(&session.file_name().to_string_lossy()) else {
                continue;
            };
            for file in fs::read_dir(session.path())? {
                let file = file?;
                let (name, about) = (file.file_name(), file.metadata()?);
                match name.to_string_lossy().strip_suffix(".zst").and_then(number) {
                    Some(statement) => found.push((about.modified()?, (id, statement), about.len())),
                    // What a server left that was killed while it wrote.
                    None => fs::remove_file(file.path())?,
                }
            }
        }
        found.sort_unstable();
        let mut gone = Vec::new();
        for (_, name, bytes) in found {
            gone.append(&mut ledger.enter(name, bytes));
        }
        let shared = Arc::new(Shared {
            path,
            inline: limits.inline_bytes.len(),
            durable: config.store.durability == Durability::Power,
            background,
            ledger: Mutex::new(ledger),
        });
        gone.into_iter().for_each(|name| shared.remove(name));
        Ok(Self { shared })
    }

    /// Puts an output into a file. An output that is there already is replaced.
    ///
    /// # Errors
    /// The output itself, for the store: it is small enough, or the file can't be written.
    pub async fn keep(
        &self,
        session: i64,
        statement: i64,
        output: Box<RawValue>,
    ) -> Result<Kept, Box<RawValue>> {
        if output.get().len() <= self.shared.inline {
            return Err(output);
        }
        // An Arc of the value itself would be a copy, and it may be large.
        let output = Arc::new(output);
        let (shared, written) = (Arc::clone(&self.shared), Arc::clone(&output));
        let write = move || shared.write((session, statement), &written);
        match self.shared.background.blocking(write).await {
            Ok(Ok(kept)) => return Ok(kept),
            Ok(Err(error)) => {
                warn!(session.id = session, statement.id = statement, %error, "an output can't be written to its file; the store takes it");
            }
            Err(_) => {}
        }
        Err(Arc::try_unwrap(output).unwrap_or_else(|shared| shared.as_ref().clone()))
    }

    /// The file of an output of so many bytes.
    #[must_use]
    pub fn file(&self, session: i64, statement: i64, bytes: u64) -> OutputFile {
        OutputFile {
            outputs: self.clone(),
            name: (session, statement),
            bytes,
        }
    }

    /// Removes the files of a session's statements below this one, soon.
    pub fn drop_below(&self, session: i64, below: i64) {
        let gone = self.shared.ledger().leave_below(session, below);
        if !gone.is_empty() {
            self.clear(move |shared| gone.into_iter().for_each(|name| shared.remove(name)));
        }
    }

    /// Removes all files of a session, soon.
    pub fn forget(&self, session: i64) {
        let gone = self.shared.ledger().leave_below(session, i64::MAX);
        if !gone.is_empty() {
            self.clear(move |shared| shared.remove_all(session));
        }
    }

    fn clear(&self, work: impl FnOnce(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.shared.background.spawn(async move {
            let background = shared.background.clone();
            // A panic has been reported by then.
            let _ = background.blocking(move || work(&shared)).await;
        });
    }

    /// The sessions that have files, for a start that looks which of them are known.
    #[must_use]
    pub fn sessions(&self) -> Vec<i64> {
        self.shared.ledger().sessions()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, (session, statement): Name) -> PathBuf {
        self.path
            .join(session.to_string())
            .join(format!("{statement}.zst"))
    }

    fn write(&self, name: Name, output: &RawValue) -> io::Result<Kept> {
        let path = self.path_of(name);
        let part = path.with_extension("part");
        let directory = path.parent().unwrap_or(&self.path);
        make_directory(directory)?;
        let written = self.compress(&part, output).and_then(|bytes| {
            fs::rename(&part, &path)?;
            if self.durable {
                File::open(directory)?.sync_all()?;
            }
            Ok(bytes)
        });
        let bytes = written.inspect_err(|_| drop(fs::remove_file(&part)))?;
        for oldest in self.ledger().enter(name, bytes) {
            self.remove(oldest);
        }
        let rest = rest(output).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Kept {
            rest,
            bytes: output.get().len() as u64,
        })
    }

    fn compress(&self, part: &PathBuf, output: &RawValue) -> io::Result<u64> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(part)?;
        let mut encoder = zstd::Encoder::new(file, LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        encoder.include_checksum(true)?;
        encoder.write_all(output.get().as_bytes())?;
        let file = encoder.finish()?;
        if self.durable {
            file.sync_all()?;
        }
        Ok(file.metadata()?.len())
    }

    fn remove_all(&self, session: i64) {
        match fs::remove_dir_all(self.path.join(session.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(session.id = session, %error, "the outputs of a session can't be removed");
            }
            _ => {}
        }
    }

    fn remove(&self, name: Name) {
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(session.id = name.0, statement.id = name.1, %error, "an output's file can't be removed");
            }
            _ => {}
        }
    }
}

/// An output's file, which may have gone.
#[derive(Clone, Debug)]
pub struct OutputFile {
    outputs: Outputs,
    name: Name,
    /// The output's bytes.
    pub bytes: u64,
}

impl OutputFile {
    /// The output, decompressed as it is read; none where the file has gone. Blocks.
    #[must_use]
    pub fn open(&self) -> Option<impl Read + Send + use<>> {
        let file = File::open(self.outputs.shared.path_of(self.name)).ok()?;
        zstd::Decoder::with_buffer(BufReader::new(file)).ok()
    }
}

fn make_directory(path: &std::path::Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}
