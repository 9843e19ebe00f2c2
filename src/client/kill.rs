//! `kill`.

use clap::Args;

use super::address::Address;
use super::failure::Failure;
use super::http::Client;
use super::options::Connection;
use super::screen::Screen;

/// `firesteel kill`.
#[derive(Args, Clone, Debug)]
pub struct Kill {
    /// Such as session/7, batch/3, or a name.
    #[arg(value_name = "ID", required = true)]
    addresses: Vec<Address>,
    #[command(flatten)]
    pub connection: Connection,
}

/// Ends and deletes each; what can't be is told, and the others are ended all the same.
///
/// # Errors
/// That of the first that can't be.
pub async fn run(command: Kill, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let mut first = None;
    for address in &command.addresses {
        match end(address, client, screen).await {
            Ok(()) => {}
            Err(failure @ (Failure::Unreachable(_) | Failure::Closed)) => return Err(failure),
            Err(failure) => {
                if let Some(earlier) = first.replace(failure) {
                    screen.note(earlier.sentence().unwrap_or_default());
                }
            }
        }
    }
    first.map_or(Ok(0), Err)
}

async fn end(address: &Address, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (place, _) = address.find(client).await?;
    client.delete(&place.path()).await?;
    screen.line(&format!("{place} deleted"))
}
