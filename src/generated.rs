//! What is made from the command line's own description: shells' completions and manual pages.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;

/// Prints a shell's completions.
///
/// # Errors
/// They can't be written.
pub fn completions(mut command: Command, shell: Shell) -> Result<()> {
    let name = command.get_name().to_owned();
    // The generator panics where it can't write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    io::stdout().write_all(&text).context("can't write the output")
}

/// Writes a manual page for each command that is shown into a directory, which is made where it is not there.
///
/// # Errors
/// They can't be written.
pub fn manual(command: Command, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .with_context(|| format!("can't write to {}", directory.display()))
}
