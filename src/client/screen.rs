//! What people and pipes see: results on standard output, all else on standard error. A status line and colours only where standard
//! error is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::failure::Failure;

/// How often the status line is drawn anew.
const TICK: Duration = Duration::from_millis(200);
/// Parts of a statement's progress that are told apart.
const PARTS: u64 = 1000;

/// Both outputs and the status line between them; clones share them.
#[derive(Clone, Debug)]
pub struct Screen {
    bar: ProgressBar,
}

impl Screen {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        // Draws on standard error, and nothing where that is no terminal.
        let bar = ProgressBar::new_spinner();
        bar.finish_and_clear();
        Self { bar }
    }

    /// Whether somebody can be asked.
    pub fn has_person(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// The width of standard output's terminal; none where it is no terminal.
    pub fn width(&self) -> Option<usize> {
        let output = io::stdout();
        if !output.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&output).ok()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// Shows what is going on, with the time since it began.
    pub fn status(&self, text: &str) {
        self.draw("{spinner} {msg} {elapsed}", text);
    }

    /// Shows how far something is, from 0.0 to 1.0.
    pub fn progress(&self, text: &str, part: f64) {
        if part <= 0.0 {
            return self.status(text);
        }
        self.bar.set_length(PARTS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1000"
        )]
        self.bar
            .set_position((part.clamp(0.0, 1.0) * PARTS as f64) as u64);
        self.draw("{spinner} {msg} [{bar:30}] {percent}% {elapsed}", text);
    }

    fn draw(&self, template: &str, text: &str) {
        if self.bar.is_hidden() {
            return;
        }
        if self.bar.is_finished() {
            self.bar.reset();
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message(text.to_owned());
        self.bar.enable_steady_tick(TICK);
    }

    /// Takes the status line away.
    pub fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }

    /// A line on standard output.
    ///
    /// # Errors
    /// It can't be written.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| writeln!(io::stdout(), "{text}"))?;
        Ok(())
    }

    /// A line on standard error.
    pub fn error_line(&self, text: &str) {
        // Where it can't be written, nobody is left to be told.
        let _ = self.bar.suspend(|| writeln!(io::stderr(), "{text}"));
    }

    /// A sentence of our own.
    pub fn note(&self, text: &str) {
        self.error_line(&format!("firesteel: {text}"));
    }

    /// JSON on standard output.
    ///
    /// # Errors
    /// It can't be written.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }
}
