//! `logs`.

use clap::Args;
use serde_json::Value;

use super::address::Address;
use super::backoff::Backoff;
use super::failure::Failure;
use super::follow::Follower;
use super::http::Client;
use super::model::{self, LogPage};
use super::options::Connection;
use super::screen::Screen;

/// Lines asked for at once.
const PAGE: usize = 5000;

/// `firesteel logs`.
#[derive(Args, Clone, Debug)]
pub struct Logs {
    /// Such as session/7, batch/3, or a name.
    #[arg(value_name = "ID")]
    address: Address,
    /// Print what comes, until the session or batch has ended.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Prints the log as the server lays it out; with `--follow`, lines as they come, whichever stream they are of.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn run(command: Logs, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let (place, _) = command.address.find(client).await?;
    if !command.follow {
        let mut from = 0;
        loop {
            let path = format!("{}/log?from={from}&size={PAGE}", place.path());
            let page: LogPage = model::read(client.get(&path).await?)?;
            from += page.log.len();
            for line in &page.log {
                screen.line(line)?;
            }
            if page.log.is_empty() || from >= page.total {
                return Ok(0);
            }
        }
    }
    client.be_patient();
    let mut follower = Follower::new(client, &place);
    let mut backoff = Backoff::new();
    loop {
        let view = match client.get(&place.path()).await {
            // Deleted: nothing more will come.
            Err(Failure::NotFound(_)) => return Ok(0),
            view => view?,
        };
        let state = view.get("state").and_then(Value::as_str).unwrap_or_default();
        if model::is_ended(state) {
            if let Some(sentence) = follower.finish(|_, line| screen.line(line)).await? {
                screen.line(&sentence)?;
            }
            return Ok(0);
        }
        if follower.look(|_, line| screen.line(line)).await? {
            backoff.reset();
        }
        backoff.pause().await;
    }
}
