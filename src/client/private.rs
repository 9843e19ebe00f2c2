//! Secrets in files and from terminals.

use std::fs;
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::SecretString;

use super::failure::Failure;

/// Longest password file.
const MAX_PASSWORD: u64 = 4096;

/// Refuses a file that others may read.
///
/// # Errors
/// What to do about it.
pub fn check(path: &Path) -> Result<(), String> {
    let mode = fs::metadata(path).map_err(|reason| format!("can't be read: {reason}"))?;
    match mode.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "holds a secret and is open to other users: chmod 600 {}",
            path.display()
        )),
    }
}

/// The password that a file holds.
///
/// # Errors
/// It can't be read, or others may read it.
pub fn read_password(path: &Path) -> Result<SecretString, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
    check(path).map_err(wrong)?;
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_PASSWORD).read_to_string(&mut text))
        .map_err(|reason| wrong(format!("can't be read: {reason}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

/// The password that somebody at the terminal types.
///
/// # Errors
/// There is no terminal.
pub fn ask_password(user: &str) -> Result<SecretString, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "the password of {user} is needed: give --password-file, or put it into client.toml"
        )));
    }
    rpassword::prompt_password(format!("Password of {user}: "))
        .map(SecretString::from)
        .map_err(|reason| Failure::Usage(format!("can't read the password: {reason}")))
}
