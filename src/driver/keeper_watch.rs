//! A driver's keeper as the server sees it: a pidfd that tells its end, whether this server has started it or an earlier one.

use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::process::ProcessName;

/// A driver's keeper, watched without being waited for: works for a child and for a keeper of an earlier server alike.
pub(super) struct Keeper {
    /// The agent descends from it; 0 for one that never named itself.
    pub pid: i32,
    /// True for one that an earlier server started.
    pub is_adopted: bool,
    /// None: it has ended already.
    pidfd: Option<AsyncFd<OwnedFd>>,
    /// None: it is an earlier server's.
    child: Option<tokio::process::Child>,
    /// True where it was lost with all other processes of the host.
    pub rebooted: bool,
}

impl Keeper {
    /// Watches a keeper that was just spawned; one that can't be watched is killed.
    pub(super) fn new(mut child: tokio::process::Child) -> std::io::Result<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let watch = |pid| crate::sys::watch(pidfd_open(pid, PidfdFlags::NONBLOCK)?);
        let watched = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| std::io::ErrorKind::InvalidInput.into())
            .and_then(watch);
        match watched {
            Ok(pidfd) => Ok(Self {
                pid,
                is_adopted: false,
                pidfd: Some(pidfd),
                child: Some(child),
                rebooted: false,
            }),
            Err(error) => {
                // Its agent sees it die and ends the driver.
                let _ = child.start_kill();
                Err(error)
            }
        }
    }

    /// Watches an earlier server's keeper, by the name that it gave itself; one that has ended is seen as ended.
    pub(super) fn adopt(name: Option<ProcessName>) -> std::io::Result<Self> {
        let pidfd = name.as_ref().and_then(ProcessName::open).map(crate::sys::watch);
        Ok(Self {
            pid: name.as_ref().map_or(0, |name| name.pid),
            is_adopted: true,
            pidfd: pidfd.transpose()?,
            child: None,
            rebooted: name.is_some_and(|name| name.is_of_another_boot()),
        })
    }

    /// Cancel safe.
    pub(super) async fn ended(&self) {
        if let Some(pidfd) = &self.pidfd {
            // An error here would come again and again: better to believe that it has ended than to spin.
            let _ = pidfd.readable().await;
        }
    }

    pub(super) fn terminate(&self) {
        if let Some(pidfd) = &self.pidfd {
            // It may have ended since.
            let _ = pidfd_send_signal(pidfd, Signal::TERM);
        }
    }

    pub(super) fn reap(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.try_wait();
        }
    }
}
