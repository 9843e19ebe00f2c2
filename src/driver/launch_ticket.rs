//! The server's own Kerberos ticket, with which drivers are started on a secured Hadoop (docs/hadoop-security.md): got with its keytab by
//! `kinit`, and again before it ends.
//!
//! The cache is one file of the state directory, which stays where it is for drivers that outlive the server. Called by `serve`, `check` and `Drivers`;
//! calls `ccache`, `config` and `background`.

use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tracing::{info, warn};

use super::ccache::{self, Held, KINIT};
use crate::background::Background;
use crate::config::{Config, Hadoop};

/// The bytes that are read of what `kinit` says.
const SAID: u64 = 1024;

/// The ticket, and what became of the last attempt to get one. Clones are the same one.
#[derive(Clone, Debug)]
pub struct LaunchTicket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Hadoop,
    cache: PathBuf,
    background: Background,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Why the last attempt failed.
    failed: Option<String>,
}

/// No driver can be started: there is no ticket. The text goes to the client; the log says why.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server has no Kerberos ticket for {principal} (hadoop.keytab), which its log explains; it tries again every {again}"
)]
pub(super) struct NoTicket {
    principal: String,
    again: crate::config::Span,
}

impl LaunchTicket {
    /// Gets the ticket, where the configuration has a keytab, and keeps it fresh until the server stops. That there is none is no error: the log says it, and
    /// drivers can't be started until there is one.
    pub async fn obtain(settings: &Hadoop, state_dir: &Path, background: &Background) -> Option<Self> {
        let cache = settings.ticket(state_dir)?;
        if let Ok(Some(open)) = ccache::look_at_keytab(&settings.keytab) {
            warn!("hadoop.keytab: {open}");
        }
        // An earlier server's is as good, as long as it lasts.
        let held = ccache::read(&cache).filter(|held| held.principal == settings.principal);
        let ticket = Self(Arc::new(Inner {
            settings: settings.clone(),
            cache,
            background: background.clone(),
            state: Mutex::new(State { held, failed: None }),
        }));
        let first = ticket.renew().await;
        background.spawn(ticket.clone().keep(first));
        Some(ticket)
    }

    /// Where the ticket is, for a driver that is started now.
    ///
    /// # Errors
    /// There is none that is good.
    pub(super) fn cache(&self) -> Result<&Path, NoTicket> {
        let inner = &self.0;
        let is_good = self
            .lock()
            .held
            .as_ref()
            .is_some_and(|held| !held.left().is_zero());
        match is_good {
            true => Ok(&inner.cache),
            false => Err(NoTicket {
                principal: inner.settings.principal.clone(),
                again: inner.settings.retry_interval,
            }),
        }
    }

    async fn keep(self, mut after: Duration) {
        let stopping = self.0.background.stopping().clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(after) => {}
            }
            after = tokio::select! {
                () = stopping.cancelled() => return,
                after = self.renew() => after,
            };
        }
    }

    /// One attempt; after how long the next is due.
    async fn renew(&self) -> Duration {
        let settings = &self.0.settings;
        let got = self.get().await;
        let mut state = self.lock();
        match got {
            Ok(held) => {
                let principal = &held.principal;
                let ends = humantime::format_duration(Duration::from_secs(held.left().as_secs()));
                info!("a Kerberos ticket for {principal} was got with hadoop.keytab; it ends in {ends}");
                let after = held.renew_after(settings.renew_interval.get());
                *state = State {
                    held: Some(held),
                    failed: None,
                };
                after
            }
            Err(why) => {
                // Once for each reason, however often it is met.
                if state.failed.as_ref() != Some(&why) {
                    let left = state.held.as_ref().map(Held::left).filter(|left| !left.is_zero());
                    let then = match left {
                        Some(left) => format!(
                            "the one that there is ends in {}",
                            humantime::format_duration(Duration::from_secs(left.as_secs()))
                        ),
                        None => "without one no driver is started".to_owned(),
                    };
                    warn!(
                        "no Kerberos ticket could be got with hadoop.keytab: {why}; {then}, and it is tried again every {}",
                        settings.retry_interval
                    );
                    state.failed = Some(why);
                }
                settings.retry_interval.get()
            }
        }
    }

    async fn get(&self) -> Result<Held, String> {
        let Inner {
            settings,
            cache,
            background,
            ..
        } = &*self.0;
        let fresh = cache.with_extension("new");
        // Left by a server that was killed.
        let _ = tokio::fs::remove_file(&fresh).await;
        let argv = ccache::kinit(
            &settings.keytab.to_string_lossy(),
            &settings.principal,
            &format!("FILE:{}", fresh.display()),
        );
        let said = run(&argv, settings.kinit_timeout.get()).await?;
        let cache = cache.clone();
        let put = move || ccache::put(&fresh, &cache, &said);
        background
            .blocking(put)
            .await
            .map_err(|panicked| panicked.to_string())?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `kinit` with these arguments, which says on its stderr what is wrong.
fn program(argv: &[String]) -> Program {
    let mut program = Program::new(KINIT);
    program
        .args(&argv[1..])
        .env_clear()
        .envs(ccache::environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    program
}

/// Runs `kinit` to its end, which is killed when it takes too long or nobody waits any more; the first line that it says.
async fn run(argv: &[String], limit: Duration) -> Result<String, String> {
    let mut child = Command::from(program(argv))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_run(&error))?;
    let pipe = child.stderr.take();
    let ended = async {
        let mut said = Vec::new();
        if let Some(pipe) = pipe {
            // More than that nobody reads, and it would be cut off at its next word.
            let _ = pipe.take(SAID).read_to_end(&mut said).await;
        }
        (child.wait().await, said)
    };
    match tokio::time::timeout(limit, ended).await {
        Err(_) => Err(ccache::too_slow(limit)),
        Ok((Ok(status), said)) if status.success() => Ok(ccache::first_line(&said)),
        Ok((_, said)) => Err(ccache::first_line(&said)),
    }
}

fn not_run(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no kinit on PATH: install Kerberos' client programs (Debian: krb5-user, Red Hat: krb5-workstation)"
                .to_owned()
        }
        _ => format!("{KINIT}: {error}"),
    }
}

/// What there is of tickets for drivers, for `firesteel check`. Asks the KDC for one, where there is a keytab.
///
/// # Errors
/// What is wrong, and how to mend it.
pub fn check_tickets(config: &Config) -> Result<String, String> {
    let Hadoop {
        keytab,
        principal,
        kinit_timeout,
        ..
    } = &config.hadoop;
    if !config.run_as.keytabs.is_empty() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|directory| directory.join(KINIT).is_file());
        return match is_there {
            true => Ok(format!("users' own, in {}", config.run_as.keytabs)),
            false => Err(not_run(&std::io::ErrorKind::NotFound.into())),
        };
    }
    if !config.hadoop.has_keytab() {
        return Ok("no tickets for drivers".to_owned());
    }
    if let Some(open) = ccache::look_at_keytab(keytab).map_err(|why| format!("hadoop.keytab: {why}"))? {
        return Err(format!("hadoop.keytab: {open}"));
    }
    let argv = ccache::kinit(&keytab.to_string_lossy(), principal, "MEMORY:check");
    let mut child = program(&argv).spawn().map_err(|error| not_run(&error))?;
    ccache::wait(&mut child, kinit_timeout.get()).map_err(|why| format!("hadoop.keytab: {why}"))?;
    Ok(format!("the KDC gives a ticket for {principal}"))
}
