//! The command line's client: `submit`, `exec`, `repl`, `ls`, `show`, `logs`, `kill`, `gc`, `token`.
//!
//! Owns: where the server is and who calls (`settings.rs`), requests and their retries (`http.rs`), what is shown on a terminal
//! (`screen.rs`, `table.rs`), and a file for each command. It speaks HTTP only and uses no module of the server, so it works with
//! any Livy as far as that goes. Called by `main.rs`; calls none but `background`.

mod address;
mod backoff;
mod download;
mod exec;
mod failure;
mod follow;
mod gc;
mod http;
mod interrupts;
mod kill;
mod local;
mod logs;
mod model;
mod options;
mod private;
mod rendered;
mod repl;
mod screen;
mod session;
mod settings;
mod show;
mod statement;
mod submit;
mod table;
mod tail;
mod token;
mod upload;

use std::process::ExitCode;

use clap::Subcommand;

use failure::Failure;
use http::Client;
use options::Connection;
use screen::Screen;

/// The client's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an application as a batch: upload what is local, follow its log, exit with its exit code.
    Submit(Box<submit::Submit>),
    /// Run code in a session and print what it gives.
    Exec(exec::Exec),
    /// Run code line by line in a session.
    Repl(repl::Repl),
    /// List sessions and batches.
    Ls(show::Ls),
    /// Show a session or a batch.
    Show(show::Show),
    /// Print a log.
    Logs(logs::Logs),
    /// End and delete sessions and batches.
    Kill(kill::Kill),
    /// Delete your sessions and batches that have ended.
    Gc(gc::Gc),
    /// Make, list and revoke API tokens.
    Token(token::Token),
}

/// Runs a command; gives its exit status, which `docs/command-line.md` lists.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let screen = Screen::new();
    let status = match start(command, &screen) {
        Ok(status) => status,
        Err(failure) => {
            screen.clear();
            if let Some(sentence) = failure.sentence() {
                screen.note(sentence);
            }
            failure.status()
        }
    };
    ExitCode::from(status)
}

fn start(command: Command, screen: &Screen) -> Result<u8, Failure> {
    // A worker of its own keeps connections and heartbeats alive while a prompt has the main thread.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|reason| Failure::Failed(format!("can't start: {reason}")))?;
    let client = |connection: &Connection| -> Result<Client, Failure> {
        Client::new(connection.settle()?, screen.clone())
    };
    match command {
        Command::Submit(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(submit::run(*command, &client, screen))
        }
        Command::Exec(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(exec::run(command, &client, screen))
        }
        // It reads lines between requests, so it blocks on each of its own.
        Command::Repl(command) => {
            let client = client(&command.connection)?;
            repl::run(command, &client, screen, runtime.handle())
        }
        Command::Ls(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(show::list(command, &client, screen))
        }
        Command::Show(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(show::show(command, &client, screen))
        }
        Command::Logs(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(logs::run(command, &client, screen))
        }
        Command::Kill(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(kill::run(command, &client, screen))
        }
        Command::Gc(command) => {
            let client = client(&command.connection)?;
            runtime.block_on(gc::run(command, &client, screen))
        }
        Command::Token(command) => {
            let client = client(command.connection())?;
            runtime.block_on(token::run(command, &client, screen))
        }
    }
}
