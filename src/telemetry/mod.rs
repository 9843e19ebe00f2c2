//! The server's own log. Called by `serve` and `main`; calls `config`.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// The log level can't be read.
#[derive(Debug, thiserror::Error)]
#[error("log.level: {0}")]
pub struct BadLevel(String);

/// Sends the log to standard error, as `[log]` says. Messages have ids and words, never code, output or secrets.
///
/// # Errors
/// `log.level` is no level and no list of directives.
pub fn init(log: &Log) -> Result<(), BadLevel> {
    // The HTTP library calls a client's malformed request an error; it is one of the client's, and has been answered 400.
    let directives = format!("actix_http=off,actix_server=warn,{}", log.level);
    let filter = EnvFilter::try_new(directives).map_err(|error| BadLevel(error.to_string()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell on standard error that standard error is gone, and panic over that.
        .log_internal_errors(false);
    let set = match log.format {
        LogFormat::Text => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    // Fails only where a test has set one up before.
    drop(set);
    Ok(())
}
