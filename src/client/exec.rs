//! `exec`: code in a session that is there, or that is made and deleted around it.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::download;
use super::failure::Failure;
use super::http::Client;
use super::interrupts::{Interrupt, Interrupts};
use super::options::{Connection, Format, Kind, Output};
use super::rendered;
use super::screen::Screen;
use super::session::{Choice, Session};
use super::statement::{self, Outcome};

/// `firesteel exec`.
#[derive(Args, Clone, Debug)]
pub struct Exec {
    /// The code.
    #[arg(
        short,
        long,
        value_name = "CODE",
        conflicts_with = "file",
        required_unless_present = "file"
    )]
    code: Option<String>,
    /// A file of code; - for standard input.
    file: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// json: the statement's output as the server has it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// The whole result of SQL, or of a %table or %json value, in this format; to standard output without --to.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "output")]
    format: Option<Format>,
    /// The file for the whole result. It is there once it is whole.
    #[arg(long, value_name = "FILE", requires = "format")]
    to: Option<PathBuf>,
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs it: 0 for a result, 1 for an error.
///
/// # Errors
/// As [`Failure`] has them.
pub async fn run(command: Exec, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let (code, by_name) = match (&command.code, &command.file) {
        (Some(code), _) => (code.clone(), None),
        (None, Some(file)) => (read(file)?, kind_of(file)),
        (None, None) => return Err(Failure::Usage("-c CODE or a file is needed".to_owned())),
    };
    let kind = command.choice.kind.or(by_name);
    if let (Some(format), None) = (command.format, &command.to)
        && !format.is_text()
        && std::io::stdout().is_terminal()
    {
        let name = format.as_str();
        return Err(Failure::Usage(format!(
            "{name} is nothing for a terminal: give --to FILE"
        )));
    }
    let mut interrupts = Interrupts::new()?;
    let session = Session::open(&command.choice, kind, client).await?;
    let mut ran = in_session(&session, &code, client, screen, &mut interrupts).await;
    if let (Some(format), Ok(Outcome::Done(output, _))) = (command.format, &ran)
        && download::is_there(output)
    {
        let path = download::path(&session, output, format);
        let fetched = interrupts.or(download::run(client, &path, command.to.as_deref(), screen));
        match fetched.await {
            Ok(()) => {
                session.close(client, screen).await;
                return Ok(0);
            }
            Err(failure) => ran = Err(failure),
        }
    }
    screen.clear();
    session.close(client, screen).await;
    match ran? {
        Outcome::Cancelled(who) => {
            screen.note("the statement was cancelled.");
            Err(Failure::Stopped(who.map_or(1, Interrupt::status)))
        }
        Outcome::Done(output, truncated) if command.output == Output::Json => {
            screen.json(&output)?;
            if let Some(limit) = truncated {
                screen.note(&format!("there are more rows: the result was cut ({limit})."));
            }
            let failed = output.get("status").and_then(Value::as_str) == Some("error");
            Ok(u8::from(failed))
        }
        Outcome::Done(output, truncated) => {
            let ok = rendered::print(&output, truncated.as_deref(), screen)?;
            Ok(u8::from(!ok))
        }
    }
}

async fn in_session(
    session: &Session,
    code: &str,
    client: &Client,
    screen: &Screen,
    interrupts: &mut Interrupts,
) -> Result<Outcome, Failure> {
    interrupts.or(session.ready(client, screen)).await?;
    statement::run(session, code, client, screen, interrupts).await
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut code = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut code),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut code)),
    };
    match read {
        Ok(_) => Ok(code),
        Err(reason) => Err(Failure::Usage(format!("{}: {reason}", file.display()))),
    }
}

/// The language that a file's name says.
fn kind_of(file: &Path) -> Option<Kind> {
    match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "py" => Some(Kind::Pyspark),
        "scala" | "sc" => Some(Kind::Spark),
        "sql" => Some(Kind::Sql),
        "r" => Some(Kind::Sparkr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_its_language() {
        let kind = |name: &str| kind_of(Path::new(name));
        assert_eq!(kind("a/b.py"), Some(Kind::Pyspark));
        assert_eq!(kind("b.R"), Some(Kind::Sparkr));
        assert_eq!(kind("b.SQL"), Some(Kind::Sql));
        assert_eq!((kind("-"), kind("sql"), kind("a.txt")), (None, None, None));
    }
}
