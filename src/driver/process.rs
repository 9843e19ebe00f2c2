//! Processes as /proc shows them: who descends from whom, and names that survive the reuse of a pid.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use uuid::Uuid;

/// Deepest chain of parents that is followed.
const DEPTH: usize = 64;
/// The most processes of one tree that are counted.
const COUNTED: usize = 50_000;

/// Gives everything in a process's session (setsid) a nice value of 0 to 19 as a whole. Unlike a process's own it can be taken back without
/// privilege (sched(7), the autogroup feature).
///
/// # Errors
/// The kernel groups no processes by session; or, `WouldBlock`, it was asked for this less than 100 ms ago.
pub fn stand_back(pid: i32, nice: u32) -> std::io::Result<()> {
    fs::write(format!("/proc/{pid}/autogroup"), nice.to_string())
}

/// A process that can't be taken for another: pid, start time in clock ticks, and boot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessName {
    /// The process id.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub start: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl ProcessName {
    /// The process that has `pid` now; none when there is none.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            start: stat(pid)?.start,
            boot: boot_id()?,
        })
    }

    /// True when the host was restarted since.
    #[must_use]
    pub fn is_of_another_boot(&self) -> bool {
        boot_id().is_some_and(|boot| boot != self.boot)
    }

    /// True while this very process runs. A zombie has ended: it may stay for long where nobody waits for it.
    #[must_use]
    pub fn exists(&self) -> bool {
        let runs = stat(self.pid).is_some_and(|found| found.start == self.start && found.state != 'Z');
        runs && boot_id().is_some_and(|boot| boot == self.boot)
    }

    /// A pidfd of this very process; none when it has ended. It is opened before the name is checked, so that a pid that is used
    /// again in between is not taken for it.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let pid = rustix::process::Pid::from_raw(self.pid)?;
        pidfd_open(pid, PidfdFlags::NONBLOCK)
            .ok()
            .filter(|_| self.exists())
    }

    /// Sends SIGTERM to this very process; to none when it has ended.
    pub fn terminate(&self) {
        if let Some(pidfd) = self.open() {
            // It may have ended since.
            let _ = pidfd_send_signal(&pidfd, Signal::TERM);
        }
    }

    /// How long ago it started, suspended time included: no wall clock is asked.
    #[must_use]
    pub fn age(&self) -> Duration {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
        let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        up.saturating_sub(Duration::from_millis(self.start.saturating_mul(1000) / ticks))
    }
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

struct Stat {
    parent: i32,
    state: char,
    start: u64,
    threads: u64,
    /// Pages.
    resident: u64,
}

/// Parses `/proc/PID/stat`; the command's name may hold blanks and parentheses, so fields count from its last `)`.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        resident: fields.get(21)?.parse().ok()?,
    })
}

/// What one process uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub pid: i32,
    pub threads: u64,
    /// Bytes in memory, those that it shares with others counted whole.
    pub resident: u64,
}

impl Usage {
    /// Bytes in memory, of those that it shares with others its part. Where that is not told, as many as are resident.
    pub(super) fn proportional(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.map_or(self.resident, |kib| kib * 1024)
    }
}

/// What each living descendant of `ancestor` uses, itself left out. Costs a read for each of their threads, whatever else runs on the host.
pub(super) fn tree(ancestor: i32) -> Vec<Usage> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|page| u64::try_from(page).ok()).unwrap_or(4096);
    let (mut waiting, mut found) = (children(ancestor), Vec::new());
    while let Some(pid) = waiting.pop() {
        if found.len() >= COUNTED {
            break;
        }
        let Some(stat) = stat(pid) else { continue };
        found.push(Usage {
            pid,
            threads: stat.threads,
            resident: stat.resident.saturating_mul(page),
        });
        waiting.extend(children(pid));
    }
    found
}

/// The children of all of a process's threads.
fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let mut found = Vec::new();
    for text in texts {
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}

/// The process of this user's whose first arguments are these, the oldest of several.
#[must_use]
pub fn running(arguments: &[&[u8]]) -> Option<ProcessName> {
    let me = nix::unistd::geteuid().as_raw();
    let is_it = |pid: i32| {
        let is_mine = fs::metadata(format!("/proc/{pid}")).is_ok_and(|data| data.uid() == me);
        is_mine
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                let words: Vec<&[u8]> = line.split(|byte| *byte == 0).skip(1).collect();
                words.starts_with(arguments)
            })
    };
    fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| ProcessName::of(pid).filter(|_| is_it(pid)))
        // Its pid may be another's since.
        .filter(ProcessName::exists)
        .min_by_key(|name| (name.start, name.pid))
}

/// The driver that a process was started by, at whatever distance: its first environment says so.
#[must_use]
pub fn driver_of(pid: u32) -> Option<Uuid> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let id = entries.find_map(|entry| entry.strip_prefix(b"FIRESTEEL_DRIVER_ID="))?;
    Uuid::try_parse_ascii(id).ok()
}

/// True when `pid` is `ancestor` or descends from it.
#[must_use]
pub fn descends(pid: i32, ancestor: i32) -> bool {
    let mut at = pid;
    for _ in 0..DEPTH {
        if at == ancestor {
            return true;
        }
        match stat(at) {
            Some(found) if found.parent > 0 => at = found.parent,
            _ => return false,
        }
    }
    false
}

/// Every living descendant of `ancestor`, itself and zombies left out.
#[must_use]
pub fn descendants(ancestor: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let all: HashMap<i32, Stat> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let is_below = |pid: i32| {
        let mut at = pid;
        for _ in 0..DEPTH {
            match all.get(&at) {
                Some(found) if found.parent == ancestor => return true,
                Some(found) if found.parent > 0 => at = found.parent,
                _ => return false,
            }
        }
        false
    };
    let mut found: Vec<i32> = all
        .iter()
        .filter(|(pid, stat)| stat.state != 'Z' && is_below(**pid))
        .map(|(pid, _)| *pid)
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_descends_from_this_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descends(pid, me));
        assert!(!descends(me, pid));
        assert!(descendants(me).contains(&pid));
        let name = ProcessName::of(pid).unwrap();
        assert!(name.exists());
        assert!(name.open().is_some());
        assert!(name.age() < Duration::from_secs(60));
        child.kill().unwrap();
        let pidfd = pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        assert!(!name.exists(), "a zombie has ended");
        child.wait().unwrap();
        assert!(!name.exists());
    }

    #[test]
    fn a_process_is_found_by_its_arguments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().as_os_str().as_encoded_bytes();
        fs::write(directory.path().join("keeper"), "read line").unwrap();
        let mut child = std::process::Command::new("sh")
            .args([std::path::Path::new("keeper"), directory.path()])
            .current_dir(directory.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = running(&[b"keeper", path]).unwrap();
        assert_eq!(u32::try_from(found.pid).unwrap(), child.id());
        assert_eq!(running(&[b"keeper", &path[1..]]), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(running(&[b"keeper", path]), None);
    }

    #[test]
    fn a_name_with_another_start_is_another_process() {
        let me = ProcessName::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(
            ProcessName {
                start: me.start + 1,
                ..me.clone()
            }
            .open()
            .is_none()
        );
        assert!(
            !ProcessName {
                boot: "another".into(),
                ..me
            }
            .exists()
        );
    }
}
