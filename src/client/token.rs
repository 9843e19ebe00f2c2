//! `token`: API tokens, made, listed, revoked.

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::http::Client;
use super::model;
use super::options::{Connection, Output};
use super::screen::Screen;
use super::table::table;

/// Rows asked for at once.
const PAGE: usize = 500;

/// `firesteel token`.
#[derive(Args, Clone, Debug)]
pub struct Token {
    #[command(subcommand)]
    pub what: What,
}

/// What is done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Make one and print it: it is told this once.
    Create(Create),
    /// List those that have not expired.
    List(List),
    /// Revoke some: what comes with them is refused from then on.
    Revoke(Revoke),
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Read.
    Read,
    /// Read, and change sessions and uploads.
    Sessions,
    /// Read, and change batches and uploads.
    Batches,
    /// Read, and make and revoke tokens.
    Tokens,
    /// Read, and change all but tokens.
    All,
}

/// `firesteel token create`.
#[derive(Args, Clone, Debug)]
pub struct Create {
    /// What you call it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What it may do; may be given again. Without one: all but tokens.
    #[arg(long, value_enum, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// How long it lasts, such as 90d; the server's default unless it is said.
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
    /// json: the server's answer, with the token in it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub connection: Connection,
}

/// `firesteel token list`.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// json: as the server has them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub connection: Connection,
}

/// `firesteel token revoke`.
#[derive(Args, Clone, Debug)]
pub struct Revoke {
    /// As `firesteel token list` shows them.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

impl Token {
    /// Where the server is, and who calls.
    pub fn connection(&self) -> &Connection {
        match &self.what {
            What::Create(create) => &create.connection,
            What::List(list) => &list.connection,
            What::Revoke(revoke) => &revoke.connection,
        }
    }
}

/// What is read of a token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    id: String,
    name: Option<String>,
    owner: String,
    scopes: Vec<String>,
    expires: i64,
    token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    total: usize,
    tokens: Vec<Value>,
}

/// Does it.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn run(command: Token, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    match command.what {
        What::Create(command) => create(command, client, screen).await,
        What::List(command) => list(command, client, screen).await,
        What::Revoke(command) => revoke(command, client, screen).await,
    }
}

async fn create(command: Create, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let mut body = Map::new();
    let scopes: Vec<Value> = command
        .scope
        .iter()
        .filter_map(|scope| Some(scope.to_possible_value()?.get_name().into()))
        .collect();
    if !scopes.is_empty() {
        body.insert("scopes".to_owned(), scopes.into());
    }
    for (field, value) in [("name", command.name), ("expiresIn", command.expires)] {
        body.extend(value.map(|value| (field.to_owned(), value.into())));
    }
    let answer = client.post_once("/tokens", &Value::Object(body)).await?;
    if command.output == Output::Json {
        screen.json(&answer)?;
        return Ok(0);
    }
    let made: Shown = model::read(answer)?;
    // Alone on standard output, so that it can be caught in a variable.
    screen.line(&made.token)?;
    screen.note(&format!(
        "token {} of {}: {}, until {}. It is not shown again.",
        made.id,
        made.owner,
        made.scopes.join(", "),
        day(made.expires)
    ));
    Ok(0)
}

async fn list(command: List, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let mut views = Vec::new();
    loop {
        let path = format!("/tokens?from={}&size={PAGE}", views.len());
        let page: Listed = model::read(client.get(&path).await?)?;
        let is_last = page.tokens.is_empty() || views.len() + page.tokens.len() >= page.total;
        views.extend(page.tokens);
        if is_last {
            break;
        }
    }
    if command.output == Output::Json {
        screen.json(&Value::Array(views))?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    for view in views {
        let shown: Shown = model::read(view)?;
        rows.push(vec![
            shown.id,
            shown.name.unwrap_or_default(),
            shown.owner,
            shown.scopes.join(" "),
            day(shown.expires),
        ]);
    }
    for line in table(
        &["ID", "NAME", "OWNER", "SCOPES", "EXPIRES"],
        &rows,
        screen.width(),
    ) {
        screen.line(&line)?;
    }
    Ok(0)
}

async fn revoke(command: Revoke, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    for id in &command.ids {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::Usage(format!(
                "{id:?} is no token's id: `firesteel token list` shows them"
            )));
        }
        // What is gone already counts as revoked.
        client.delete(&format!("/tokens/{id}")).await?;
        screen.line(&format!("{id} revoked"))?;
    }
    Ok(0)
}

/// A time in epoch milliseconds as a person reads it, to the second and in UTC.
fn day(milliseconds: i64) -> String {
    let since = std::time::Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    let time = std::time::UNIX_EPOCH.checked_add(since);
    time.map_or_else(String::new, |time| {
        humantime::format_rfc3339_seconds(time).to_string()
    })
}
