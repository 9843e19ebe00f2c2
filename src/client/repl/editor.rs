//! The prompt: lines with history, continued until they are whole, completed by the session.
//!
//! rustyline edits them. It is well kept, leaves the terminal as it was, and brings next to nothing that is not here already;
//! reedline would bring a terminal library and a clock of its own.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use super::{complete, history, scan};
use crate::client::failure::Failure;
use crate::client::http::Client;
use crate::client::session::Session;

/// Entries that are remembered.
const HISTORY: usize = 1000;
/// What Tab gives where nothing stands before the cursor.
const INDENT: &str = "    ";

/// Reads code from a terminal.
pub struct Editor<'a> {
    lines: rustyline::Editor<Aid<'a>, FileHistory>,
    history: Option<PathBuf>,
    prompt: String,
}

impl<'a> Editor<'a> {
    /// For a session, with the history of earlier ones.
    ///
    /// # Errors
    /// The terminal can't be used.
    pub fn new(session: &'a Session, client: &'a Client, runtime: &'a Handle) -> Result<Self, Failure> {
        let unusable = |reason: ReadlineError| Failure::Failed(format!("can't use the terminal: {reason}"));
        let config = Config::builder()
            .max_history_size(HISTORY)
            .map_err(unusable)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut lines = rustyline::Editor::with_config(config).map_err(unusable)?;
        lines.set_helper(Some(Aid {
            session,
            client,
            runtime,
        }));
        // Without a history one can work.
        let history = history::file().ok().flatten();
        if let Some(path) = &history {
            let _ = lines.load_history(path);
        }
        Ok(Self {
            lines,
            history,
            prompt: format!("{}> ", session.kind.as_str()),
        })
    }

    /// Code that is whole, which may be empty.
    ///
    /// # Errors
    /// Ctrl-C and Ctrl-D are two of them.
    pub fn read(&mut self) -> Result<String, ReadlineError> {
        let code = self.lines.readline(&self.prompt)?;
        if !code.trim().is_empty() && self.lines.add_history_entry(code.trim_end())? {
            // Each entry is kept at once: another prompt, or a crash, loses none.
            if let Some(path) = &self.history {
                let _ = self.lines.append_history(path);
            }
        }
        Ok(code)
    }
}

/// What the language and the session know.
struct Aid<'a> {
    session: &'a Session,
    client: &'a Client,
    runtime: &'a Handle,
}

impl Helper for Aid<'_> {}
impl Highlighter for Aid<'_> {}
impl Hinter for Aid<'_> {
    type Hint = String;
}

impl Validator for Aid<'_> {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match scan::wants_more(self.session.kind, context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Aid<'_> {
    type Candidate = String;

    fn complete(&self, code: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = code.get(..at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        if line.trim().is_empty() {
            return Ok((at, vec![INDENT.to_owned()]));
        }
        let candidates = complete::ask(self.session, self.client, self.runtime, code, at);
        Ok((complete::word_start(before, &candidates), candidates))
    }
}
