//! A driver's own Kerberos ticket, where it runs as its user (docs/hadoop-security.md): got by that Unix user with that user's keytab, into
//! the driver's own directory, and again before it ends, for as long as the keeper lives.
//!
//! Nothing here reads a keytab or writes a cache with the server's rights: `kinit` is started by the step, which has given them up. Called by `Drivers` and `keeper`;
//! calls `ccache` and `step`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ccache::{self, Held, KINIT};
use super::run_as::Identity;
use super::run_dir::RunDir;
use super::step::Step;
use crate::config::Config;

/// The cache's name in the driver's own part of its directory.
const CACHE: &str = "krb5cc";
/// Files are their user's alone.
const UMASK: u32 = 0o077;

/// How a driver's ticket is got, in `launch.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UserTicket {
    principal: String,
    argv: Vec<String>,
    environment: BTreeMap<String, String>,
    fresh: PathBuf,
    cache: PathBuf,
    renew_interval_ms: u64,
    retry_interval_ms: u64,
    kinit_timeout_ms: u64,
}

impl UserTicket {
    /// The one of a driver that runs as this user; none where `run_as.keytabs` names no keytabs.
    pub(super) fn of(config: &Config, identity: &Identity, run_dir: &RunDir) -> Option<Self> {
        let (keytabs, principal) = (&config.run_as.keytabs, &config.run_as.principal);
        if keytabs.is_empty() {
            return None;
        }
        let of_user = |pattern: &str| pattern.replace("%u", &identity.name);
        let cache = run_dir.own().join(CACHE);
        let fresh = cache.with_extension("new");
        let ms = |span: crate::config::Span| u64::try_from(span.get().as_millis()).unwrap_or(u64::MAX);
        let principal = of_user(principal);
        Some(Self {
            argv: ccache::kinit(
                &of_user(keytabs),
                &principal,
                &format!("FILE:{}", fresh.display()),
            ),
            environment: ccache::environment(),
            fresh,
            cache,
            principal,
            renew_interval_ms: ms(config.hadoop.renew_interval),
            retry_interval_ms: ms(config.hadoop.retry_interval),
            kinit_timeout_ms: ms(config.hadoop.kinit_timeout),
        })
    }

    /// Where the driver finds it.
    pub(super) fn cache(&self) -> &std::path::Path {
        &self.cache
    }

    /// Gets one, at most as long as `kinit` may take.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn obtain(&self, identity: &Identity) -> Result<Held, String> {
        let step = Step {
            argv: self.argv.clone(),
            environment: self.environment.clone(),
            directory: PathBuf::from("/"),
            umask: UMASK,
            identity: Some(identity.clone()),
            cgroups: Vec::new(),
            processes: 0,
            oom_score_adj: 0,
        };
        let got = step
            .start()
            .map_err(|error| format!("{KINIT}: {error}"))
            .and_then(|mut child| ccache::wait(&mut child, Duration::from_millis(self.kinit_timeout_ms)))
            .and_then(|said| ccache::put(&self.fresh, &self.cache, &said));
        got.map_err(|why| {
            format!(
                "No Kerberos ticket for {} could be got (run_as.keytabs): {why}.",
                self.principal
            )
        })
    }

    /// Gets another each time before the one before ends, in a thread of its own, which ends with the process; what went wrong is told once.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(super) fn keep(
        self,
        identity: Identity,
        first: &Held,
        failed: Sender<String>,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<()> {
        let most = Duration::from_millis(self.renew_interval_ms);
        let mut after = first.renew_after(most);
        let renewing = move || {
            let mut told = None;
            loop {
                std::thread::sleep(after);
                after = match self.obtain(&identity) {
                    Ok(held) => {
                        told = None;
                        held.renew_after(most)
                    }
                    Err(why) => {
                        if told.as_ref() != Some(&why) {
                            let _ = failed.send(why.clone());
                            wake();
                            told = Some(why);
                        }
                        Duration::from_millis(self.retry_interval_ms)
                    }
                };
            }
        };
        std::thread::Builder::new()
            .name("ticket".to_owned())
            .spawn(renewing)
            .map(drop)
    }
}
