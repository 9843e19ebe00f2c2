//! `ls` and `show`.

use clap::Args;
use serde_json::{Value, json};

use super::address::{Address, Collection, Place};
use super::failure::Failure;
use super::http::Client;
use super::model::{self, Listed, Work};
use super::options::{Connection, Output};
use super::screen::Screen;
use super::table::table;

/// Rows asked for at once.
const PAGE: usize = 500;

/// `firesteel ls`.
#[derive(Args, Clone, Debug)]
pub struct Ls {
    /// Those that have ended as well.
    #[arg(long)]
    all: bool,
    /// json: sessions and batches as the server has them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub connection: Connection,
}

/// `firesteel show`.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// Such as session/7, batch/3, or a name.
    #[arg(value_name = "ID")]
    address: Address,
    /// json: as the server has it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub connection: Connection,
}

/// Lists.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn list(command: Ls, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let sessions = all(client, Collection::Sessions, command.all).await?;
    let batches = all(client, Collection::Batches, command.all).await?;
    if command.output == Output::Json {
        screen.json(&json!({"sessions": sessions, "batches": batches}))?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    for (collection, views) in [(Collection::Sessions, sessions), (Collection::Batches, batches)] {
        for view in views {
            rows.push(row(collection, &model::read(view)?));
        }
    }
    for line in table(
        &["ID", "NAME", "KIND", "STATE", "EXIT", "OWNER"],
        &rows,
        screen.width(),
    ) {
        screen.line(&line)?;
    }
    Ok(0)
}

/// What the server lists of a collection, page by page.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn all(client: &Client, collection: Collection, ended: bool) -> Result<Vec<Value>, Failure> {
    let mut views = Vec::new();
    let mut from = 0;
    loop {
        let path = format!("{}?from={from}&size={PAGE}", collection.path());
        let page: Listed = match client.get(&path).await {
            // A server without batches.
            Err(Failure::NotFound(_)) => return Ok(views),
            page => model::read(page?)?,
        };
        from += page.sessions.len();
        let is_last = page.sessions.is_empty() || from >= page.total;
        let is_shown = |view: &Value| {
            let state = view.get("state").and_then(Value::as_str).unwrap_or_default();
            ended || !model::is_ended(state)
        };
        views.extend(page.sessions.into_iter().filter(is_shown));
        if is_last {
            return Ok(views);
        }
    }
}

fn row(collection: Collection, work: &Work) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        Place::of(collection, work.id).to_string(),
        text(&work.name),
        text(&work.kind),
        work.state.clone(),
        work.exit_code().map(|code| code.to_string()).unwrap_or_default(),
        text(&work.owner),
    ]
}

/// Shows one.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn show(command: Show, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let (place, view) = command.address.find(client).await?;
    if command.output == Output::Json {
        screen.json(&view)?;
        return Ok(0);
    }
    let work: Work = model::read(view)?;
    let app = work.app_info.clone().unwrap_or_default();
    let fields = [
        ("id", Some(place.to_string())),
        ("name", work.name),
        ("state", Some(work.state)),
        ("kind", work.kind),
        ("exit code", app.exit_code),
        ("owner", work.owner),
        ("application", work.app_id),
        ("Spark UI", app.spark_ui_url),
        ("cluster", app.cluster),
        ("GPUs", app.gpus),
        ("GPU seconds", app.gpu_seconds),
        ("GPU memory, at most", app.gpu_memory_peak),
    ];
    let rows: Vec<Vec<String>> = fields
        .into_iter()
        .filter_map(|(name, value)| Some(vec![name.to_owned(), value?]))
        .collect();
    // Whole, whatever the width: addresses are there to be copied.
    for line in table(&["", ""], &rows, None).into_iter().skip(1) {
        screen.line(&line)?;
    }
    for line in work.log.iter().flatten() {
        screen.line(line)?;
    }
    Ok(0)
}
