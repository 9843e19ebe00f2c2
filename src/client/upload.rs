//! `/uploads`: files of this machine, sent before a batch that needs them and deleted after it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::failure::Failure;
use super::http::Client;
use super::local::Source;
use super::model::{self, Uploaded};
use super::screen::Screen;

/// The slowest connection that is waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What was uploaded, each file once.
#[derive(Debug)]
pub struct Uploads<'a> {
    client: &'a Client,
    screen: &'a Screen,
    /// By file and by the name that it has on the server.
    made: BTreeMap<(PathBuf, String), Uploaded>,
}

impl<'a> Uploads<'a> {
    /// Nothing yet.
    pub fn new(client: &'a Client, screen: &'a Screen) -> Self {
        let made = BTreeMap::new();
        Self { client, screen, made }
    }

    /// The URI by which the server reads a source; a local one is uploaded. What stands after `#` stays there.
    ///
    /// # Errors
    /// It can't be read, or the server does not take it.
    pub async fn uri(&mut self, source: &Source) -> Result<String, Failure> {
        match source {
            Source::Remote(uri) => Ok(uri.clone()),
            Source::Local(path, None) => self.upload(path, file_name(path)).await,
            Source::Local(path, Some(alias)) => {
                let uri = self.upload(path, file_name(path)).await?;
                Ok(format!("{uri}#{alias}"))
            }
        }
    }

    /// The same for one of `files`, where Spark takes a `#` on some masters only: a local one is uploaded by its other name.
    ///
    /// # Errors
    /// It can't be read, or the server does not take it.
    pub async fn renamed_uri(&mut self, source: &Source) -> Result<String, Failure> {
        match source {
            Source::Local(path, Some(alias)) => self.upload(path, alias.clone()).await,
            source => self.uri(source).await,
        }
    }

    async fn upload(&mut self, path: &Path, name: String) -> Result<String, Failure> {
        let key = (path.to_owned(), name);
        if let Some(uploaded) = self.made.get(&key) {
            return Ok(uploaded.uri.clone());
        }
        let uploaded = upload(self.client, self.screen, path, &key.1).await?;
        self.client.be_patient();
        let uri = uploaded.uri.clone();
        self.made.insert(key, uploaded);
        Ok(uri)
    }

    /// Deletes all of it. What can't be deleted the server removes itself, once nothing refers to it.
    pub async fn delete(&mut self) {
        for uploaded in std::mem::take(&mut self.made).into_values() {
            let _ = self.client.delete(&format!("/uploads/{}", uploaded.id)).await;
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

async fn upload(client: &Client, screen: &Screen, path: &Path, name: &str) -> Result<Uploaded, Failure> {
    let unreadable = |reason: std::io::Error| Failure::Usage(format!("{}: {reason}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let sent = Arc::new(Mutex::new(Sha256::new()));
    let limit = Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
    let form = || {
        // Each try begins anew.
        let hash = Arc::clone(&sent);
        if let Ok(mut hash) = hash.lock() {
            *hash = Sha256::new();
        }
        let body = match file.try_clone().and_then(rewound) {
            Ok(file) => counted(file, size, hash, screen.clone(), name.to_owned()),
            // Short of its length, so that the request fails.
            Err(_) => Body::from(""),
        };
        Form::new().part(
            "file",
            Part::stream_with_length(body, size).file_name(name.to_owned()),
        )
    };
    screen.status(&format!("uploading {name}"));
    let answer = match client.post_form("/uploads", limit, form).await {
        Ok(answer) => answer,
        Err(Failure::NotFound(_)) => {
            return Err(Failure::Failed(
                "the server takes no uploads: name files that it can read itself, such as hdfs://... or file:/PATH"
                    .to_owned(),
            ));
        }
        Err(failure) => return Err(failure),
    };
    let uploaded: Uploaded = model::read(answer)?;
    let own = sent.lock().map(|hash| hex(&hash.clone().finalize()));
    if let (Some(theirs), Ok(own)) = (&uploaded.sha256, own)
        && *theirs != own
    {
        let _ = client.delete(&format!("/uploads/{}", uploaded.id)).await;
        return Err(Failure::Failed(format!(
            "{} changed while it was uploaded, or did not arrive whole: submit it again",
            path.display()
        )));
    }
    Ok(uploaded)
}

fn rewound(mut file: File) -> std::io::Result<File> {
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// The file's bytes, hashed and shown as they go out.
fn counted(file: File, size: u64, hash: Arc<Mutex<Sha256>>, screen: Screen, name: String) -> Body {
    let gone = AtomicU64::new(0);
    let stream = ReaderStream::new(tokio::fs::File::from_std(file)).inspect(move |read| {
        let Ok(bytes) = read else { return };
        if let Ok(mut hash) = hash.lock() {
            hash.update(bytes);
        }
        let length = bytes.len() as u64;
        let gone = gone.fetch_add(length, Ordering::Relaxed) + length;
        screen.progress(&format!("uploading {name}"), gone as f64 / size.max(1) as f64);
    });
    Body::wrap_stream(stream)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
