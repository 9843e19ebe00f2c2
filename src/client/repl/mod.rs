//! `repl`: lines, statements, and what they give.

mod complete;
mod editor;
mod history;
mod scan;

use std::time::Duration;

use clap::Args;
use rustyline::error::ReadlineError;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::failure::Failure;
use super::http::Client;
use super::interrupts::Interrupts;
use super::options::Connection;
use super::rendered;
use super::screen::Screen;
use super::session::{Choice, Session};
use super::statement::{self, Outcome};
use crate::background::Background;
use editor::Editor;

/// How often an own session is told that somebody is there: well within its heartbeat's time-out.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// `firesteel repl`.
#[derive(Args, Clone, Debug)]
pub struct Repl {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pub connection: Connection,
}

/// Reads and runs until Ctrl-D.
///
/// # Errors
/// As [`Failure`] has them.
pub fn run(command: Repl, client: &Client, screen: &Screen, runtime: &Handle) -> Result<u8, Failure> {
    if !screen.has_person() {
        return Err(Failure::Usage(
            "repl needs a terminal; `firesteel exec -` runs what standard input holds".to_owned(),
        ));
    }
    let mut interrupts = {
        let _inside = runtime.enter();
        Interrupts::of_a_prompt()?
    };
    let session = runtime.block_on(Session::open(&command.choice, command.choice.kind, client))?;
    let ran = runtime
        .block_on(interrupts.or(session.ready(client, screen)))
        .and_then(|()| {
            screen.note(&format!(
                "{} runs {}; Ctrl-C cancels, Ctrl-D leaves.",
                session.place,
                session.kind.as_str()
            ));
            converse(&session, client, screen, runtime, &mut interrupts)
        });
    screen.clear();
    runtime.block_on(session.close(client, screen));
    ran.map(|()| 0)
}

fn converse(
    session: &Session,
    client: &Client,
    screen: &Screen,
    runtime: &Handle,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let _beating = keep_alive(session, client, runtime);
    let mut editor = Editor::new(session, client, runtime)?;
    loop {
        let code = match editor.read() {
            Ok(code) => code,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(reason) => return Err(Failure::Failed(format!("can't read the terminal: {reason}"))),
        };
        if code.trim().is_empty() {
            continue;
        }
        let code = scan::as_posted(session.kind, &code);
        let ran = runtime.block_on(statement::run(session, code, client, screen, interrupts));
        screen.clear();
        match ran {
            Ok(Outcome::Done(output, truncated)) => {
                rendered::print(&output, truncated.as_deref(), screen)?;
            }
            Ok(Outcome::Cancelled(_)) => screen.note("cancelled."),
            // The session may be fine: it is asked, and only its end is the end.
            Err(failure @ (Failure::Failed(_) | Failure::NotFound(_))) => {
                runtime.block_on(session.is_open(client))?;
                screen.note(failure.sentence().unwrap_or_default());
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Lets the session know that somebody is there, for as long as the guard lives. That is no activity: a prompt that nobody types at
/// keeps no driver longer than the server's idle time.
fn keep_alive(session: &Session, client: &Client, runtime: &Handle) -> DropGuard {
    let (over, client, path) = (CancellationToken::new(), client.clone(), session.path("/state"));
    let guard = over.clone().drop_guard();
    let beats = async move {
        while tokio::time::timeout(HEARTBEAT, over.cancelled()).await.is_err() {
            // A server that is away is told of at the next statement.
            let _ = client.get(&path).await;
        }
    };
    let _inside = runtime.enter();
    Background::new().spawn(beats);
    guard
}
