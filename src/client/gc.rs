//! `gc`: what has ended, deleted.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;
use serde_json::Value;

use super::address::{Collection, Place};
use super::failure::Failure;
use super::http::Client;
use super::model::{self, Work};
use super::options::Connection;
use super::screen::Screen;
use super::show;

/// `firesteel gc`.
#[derive(Args, Clone, Debug)]
pub struct Gc {
    /// Whose; the user's who calls, unless it is said.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Deletes the caller's sessions and batches that have ended, after it has said which and asked.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn run(command: Gc, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let owner = command.owner.as_deref().or(client.user());
    let mut found = Vec::new();
    for collection in [Collection::Sessions, Collection::Batches] {
        for view in show::all(client, collection, true).await? {
            found.extend(ended(collection, view, owner)?);
        }
    }
    if found.is_empty() {
        screen.note("nothing of yours has ended: there is nothing to delete.");
        return Ok(0);
    }
    if !command.yes && !agreed(&found, screen)? {
        return Ok(1);
    }
    for place in found {
        client.delete(&place.path()).await?;
        screen.line(&format!("{place} deleted"))?;
    }
    Ok(0)
}

/// The place of one that has ended and is the owner's.
fn ended(collection: Collection, view: Value, owner: Option<&str>) -> Result<Option<Place>, Failure> {
    let work: Work = model::read(view)?;
    if !work.is_ended() {
        return Ok(None);
    }
    if work.owner.is_some() && owner.is_none() {
        return Err(Failure::Usage(
            "a token does not say who you are: give --owner NAME".to_owned(),
        ));
    }
    let is_own = work.owner.as_deref() == owner || work.owner.is_none();
    Ok(is_own.then(|| Place::of(collection, work.id)))
}

fn agreed(found: &[Place], screen: &Screen) -> Result<bool, Failure> {
    let names: Vec<String> = found.iter().map(Place::to_string).collect();
    if !screen.has_person() {
        return Err(Failure::Usage(format!(
            "--yes is needed to delete without being asked: {}",
            names.join(", ")
        )));
    }
    let mut error = io::stderr();
    let _ = write!(error, "Delete {}? [y/N] ", names.join(", "));
    let _ = error.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_ones_own_and_has_ended_goes() {
        let goes = |state: &str, owner: Option<&str>, me: Option<&str>| {
            let view = json!({"id": 3, "state": state, "owner": owner});
            ended(Collection::Batches, view, me).map(|place| place.is_some())
        };
        assert_eq!(goes("dead", None, None), Ok(true));
        assert_eq!(goes("success", Some("ann"), Some("ann")), Ok(true));
        assert_eq!(goes("success", Some("bob"), Some("ann")), Ok(false));
        assert_eq!(goes("idle", Some("ann"), Some("ann")), Ok(false));
        assert!(matches!(goes("dead", Some("ann"), None), Err(Failure::Usage(_))));
    }
}
