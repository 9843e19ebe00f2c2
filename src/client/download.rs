//! A statement's whole result, to a file or to standard output, as it comes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::failure::Failure;
use super::http::Client;
use super::options::Format;
use super::screen::Screen;
use super::session::Session;

/// Whether a statement that ended with this output may have a whole result: it succeeded, or all of it was too much to show.
pub fn is_there(output: &Value) -> bool {
    let field = |name: &str| output.get(name).and_then(Value::as_str);
    field("status") == Some("ok") || field("ename") == Some("ResultTooLarge")
}

/// Where it is.
pub fn path(session: &Session, output: &Value, format: Format) -> String {
    let id = output.get("execution_count").and_then(Value::as_i64).unwrap_or(0);
    session.path(&format!("/statements/{id}/result?format={}", format.as_str()))
}

/// Fetches it. A file is there under its name only once it is whole.
///
/// # Errors
/// The server's; it was cut off; it can't be written.
pub async fn run(client: &Client, path: &str, to: Option<&Path>, screen: &Screen) -> Result<(), Failure> {
    let Some(to) = to else {
        return fetch(client, path, screen, async |piece: &[u8]| {
            let mut out = std::io::stdout().lock();
            Ok(out.write_all(piece).and_then(|()| out.flush())?)
        })
        .await;
    };
    let failed = |reason: std::io::Error| Failure::Failed(format!("{}: {reason}", to.display()));
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = Part(name.into());
    let mut file = tokio::fs::File::create(&part.0).await.map_err(failed)?;
    fetch(client, path, screen, async |piece: &[u8]| {
        file.write_all(piece).await.map_err(failed)
    })
    .await?;
    file.flush().await.map_err(failed)?;
    std::fs::rename(&part.0, to).map_err(failed)
}

/// A file that is removed unless it has got its name: half a result is none.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn fetch(
    client: &Client,
    path: &str,
    screen: &Screen,
    mut take: impl AsyncFnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    screen.status("fetching the result");
    let mut response = client.get_stream(path).await?;
    screen.clear();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => take(&piece).await?,
            Ok(None) => return Ok(()),
            Err(_) => {
                return Err(Failure::Failed(
                    "the result was cut off: the server's log or the session's has the reason".to_owned(),
                ));
            }
        }
    }
}
