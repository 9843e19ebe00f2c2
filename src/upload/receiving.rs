//! How an upload comes: a thread of its own writes what the request's handler hands on, so that no worker waits for the disk
//! and nothing is left where the handler goes away.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use uuid::Uuid;

use super::directory::{Part, Upload};
use super::error::UploadError;
use super::registry::Shared;
use super::room::Share;
use crate::clock::now_ms;

/// Chunks that may wait for the disk; the sender waits then.
const CHUNKS_WAITING: usize = 4;

/// What is known of an upload before it comes.
#[derive(Debug)]
pub(super) struct Wanted {
    pub name: String,
    pub owner: Option<String>,
    pub session: Option<i64>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// An upload that is being received. Dropped before [`Receiving::finish`], nothing of it is left.
#[derive(Debug)]
pub struct Receiving {
    pieces: mpsc::Sender<Piece>,
    stored: oneshot::Receiver<Result<Arc<Upload>, UploadError>>,
}

impl Receiving {
    /// Starts the thread. It has the permit as long as it lives.
    pub(super) fn begin(shared: &Arc<Shared>, wanted: Wanted, permit: OwnedSemaphorePermit) -> Self {
        let (pieces, mut waiting) = mpsc::channel(CHUNKS_WAITING);
        let (told, stored) = oneshot::channel();
        let (shared, background) = (Arc::clone(shared), shared.background.clone());
        background.clone().spawn(async move {
            let work = move || {
                let stored = store(&shared, wanted, &mut waiting);
                drop(permit);
                // Whoever asked may have left.
                let _ = told.send(stored);
            };
            // A panic has been reported by then.
            let _ = background.blocking(work).await;
        });
        Self { pieces, stored }
    }

    /// Takes the next bytes. Cancel safety: what was cancelled may be lost; drop the upload then.
    ///
    /// # Errors
    /// See [`UploadError`]; the upload is gone.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        match self.pieces.send(Piece::Bytes(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.why().await),
        }
    }

    /// All bytes have come: the upload is there once this answers. Cancel safety: it may be there all the same.
    ///
    /// # Errors
    /// See [`UploadError`]; the upload is gone.
    pub async fn finish(mut self) -> Result<Arc<Upload>, UploadError> {
        if self.pieces.send(Piece::End).await.is_err() {
            return Err(self.why().await);
        }
        self.stored.await.unwrap_or(Err(UploadError::Unfinished))
    }

    /// It will not be finished: nothing of it is left once this answers.
    pub async fn abandon(self) {
        drop(self.pieces);
        let _ = self.stored.await;
    }

    async fn why(&mut self) -> UploadError {
        match (&mut self.stored).await {
            Ok(Err(error)) => error,
            _ => UploadError::Unfinished,
        }
    }
}

/// Writes an upload until its end.
fn store(
    shared: &Shared,
    wanted: Wanted,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<Arc<Upload>, UploadError> {
    let limit = shared.config.upload.max_bytes;
    let mut share = Share::begin(&shared.room, wanted.owner.as_ref())?;
    let id = Uuid::new_v4();
    let part = Part::begin(&shared.directory, id)?;
    let mut file = part.create(&wanted.name)?;
    let (mut size, mut digest) = (0, Sha256::new());
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                size += bytes.len() as u64;
                if size > limit.bytes() {
                    return Err(UploadError::TooLarge(limit));
                }
                share.grow(size)?;
                digest.update(&bytes);
                file.write_all(&bytes)?;
            }
            Some(Piece::End) => break,
            None => return Err(UploadError::Unfinished),
        }
    }
    let upload = Upload {
        id,
        size,
        sha256: digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        name: wanted.name.clone(),
        owner: wanted.owner.clone(),
        session: wanted.session,
        created: now_ms(),
    };
    part.publish(&upload)?;
    share.keep();
    Ok(shared.enter(upload))
}

/// Gives a session an upload for itself: the same bytes, which go with the session and not with the upload they came from.
pub(super) fn link(shared: &Shared, from: &Upload, session: i64) -> Result<Arc<Upload>, UploadError> {
    let mut share = Share::begin(&shared.room, from.owner.as_ref())?;
    share.grow(from.size)?;
    let upload = Upload {
        id: Uuid::new_v4(),
        session: Some(session),
        created: now_ms(),
        ..from.clone()
    };
    let part = Part::begin(&shared.directory, upload.id)?;
    part.link(from)?;
    part.publish(&upload)?;
    share.keep();
    Ok(shared.enter(upload))
}
