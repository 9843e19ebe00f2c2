//! A driver's limits, watched by its keeper: what the kernel tells of its cgroup, and, where there is none, what is looked at every
//! `driver.watch_interval`. Each look is bounded.
//!
//! Called by `keeper`; calls `cgroup` and `process`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::cgroup::{Events, Group};
use super::process::{Usage, tree};
use super::run_dir::Limits;

/// The most files that are counted in one look at a driver's disk; a driver that has more is over its limit of bytes or soon slow by itself.
const FILES: usize = 200_000;
/// A look at the disk waits so many times as long as the last one took.
const REST: u32 = 20;
/// Bytes of a block of st_blocks.
const BLOCK: u64 = 512;

/// What watches one driver.
pub(super) struct Watch {
    limits: Limits,
    group: Group,
    /// Whom the driver's processes descend from.
    keeper: i32,
    /// What the driver writes into.
    own: PathBuf,
    events: Vec<Events>,
    look_at: Instant,
    disk_at: Instant,
}

impl Watch {
    pub(super) fn new(limits: Limits, group: Group, keeper: i32, own: PathBuf) -> Self {
        Self {
            events: group.events(),
            limits,
            group,
            keeper,
            own,
            look_at: Instant::now(),
            disk_at: Instant::now(),
        }
    }

    /// The driver's cgroup.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Files whose change is a reason to look.
    pub(super) fn events(&self) -> impl Iterator<Item = &fs::File> {
        self.events.iter().map(|events| &events.0)
    }

    /// How often to look besides; none: not at all.
    pub(super) fn interval(&self) -> Option<Duration> {
        let by_kernel = self.events.len();
        let asked = usize::from(self.limits.memory_max > 0) + usize::from(self.limits.pids_max > 0);
        let is_looked_at = by_kernel < asked || self.limits.disk_max > 0;
        is_looked_at.then(|| Duration::from_millis(self.limits.interval_ms))
    }

    /// The sentence why the driver must end; none while it keeps to its limits. Unless the kernel has told something, looks no more often than it should.
    pub(super) fn look(&mut self, is_told: bool) -> Option<String> {
        let now = Instant::now();
        if !is_told && now < self.look_at {
            return None;
        }
        self.look_at = now + Duration::from_millis(self.limits.interval_ms);
        for events in &mut self.events {
            events.read();
        }
        self.by_kernel()
            .or_else(|| self.by_counting())
            .or_else(|| self.by_disk())
    }

    /// What the kernel has counted.
    pub(super) fn by_kernel(&self) -> Option<String> {
        if self.group.is_out_of_memory() {
            let most = size(self.limits.memory_max);
            return Some(format!(
                "The driver was ended: it ran out of memory, it needed more than driver.memory_max of {most}."
            ));
        }
        self.group.is_out_of_pids().then(|| {
            let most = self.limits.pids_max;
            format!(
                "The driver was ended: it wanted more processes and threads than driver.pids_max of {most}."
            )
        })
    }

    /// Counts what no cgroup does.
    fn by_counting(&self) -> Option<String> {
        let Limits {
            memory_max, pids_max, ..
        } = self.limits;
        let counts_memory = memory_max > 0 && !self.group.has_memory();
        let counts_pids = pids_max > 0 && !self.group.has_pids() && host_threads() > pids_max;
        if !counts_memory && !counts_pids {
            return None;
        }
        let found = tree(self.keeper);
        let threads: u64 = found.iter().map(|usage| usage.threads).sum();
        if counts_pids && threads > pids_max {
            return Some(format!(
                "The driver was ended: it had {threads} processes and threads, over driver.pids_max of {pids_max}."
            ));
        }
        let resident: u64 = found.iter().map(|usage| usage.resident).sum();
        if !counts_memory || resident <= memory_max {
            return None;
        }
        // Pages that processes share are in each one's count; only now is it worth to ask for their parts.
        let used: u64 = found.iter().map(Usage::proportional).sum();
        (used > memory_max).then(|| {
            let (used, most) = (size(used), size(memory_max));
            format!(
                "The driver was ended: it ran out of memory, it used {used}, over driver.memory_max of {most}."
            )
        })
    }

    fn by_disk(&mut self) -> Option<String> {
        let most = self.limits.disk_max;
        let began = Instant::now();
        if most == 0 || began < self.disk_at {
            return None;
        }
        let used = disk(&self.own);
        self.disk_at = Instant::now() + began.elapsed() * REST;
        (used > most).then(|| {
            let (used, most) = (size(used), size(most));
            format!(
                "The driver was ended: its directory had {used} on the disk, over driver.disk_max of {most}."
            )
        })
    }
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Processes and threads of the whole host, which are cheap to know: the number after the `/` of `/proc/loadavg`.
fn host_threads() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let count = text
        .split_whitespace()
        .nth(3)
        .and_then(|pair| pair.split('/').nth(1));
    count.and_then(|count| count.parse().ok()).unwrap_or(u64::MAX)
}

/// Bytes that a directory's files take on the disk, those of its first [`FILES`]. Links are not followed; what goes meanwhile counts nothing.
fn disk(directory: &Path) -> u64 {
    let (mut waiting, mut left, mut blocks) = (vec![directory.to_owned()], FILES, 0u64);
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            if left == 0 {
                return blocks.saturating_mul(BLOCK);
            }
            let Ok(data) = entry.metadata() else { continue };
            blocks = blocks.saturating_add(data.blocks());
            if data.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    blocks.saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limits: Limits, own: &Path) -> Watch {
        let me = nix::unistd::getpid().as_raw();
        Watch::new(limits, Group::default(), me, own.to_owned())
    }

    #[test]
    fn a_disk_over_its_limit_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let below = temp.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let limits = Limits {
            disk_max: 1 << 20,
            ..Limits::default()
        };
        let mut watched = watch(limits, temp.path());
        assert_eq!(watched.look(true), None);
        fs::write(below.join("full"), vec![1; 2 << 20]).unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("root")).unwrap();
        watched.disk_at = Instant::now();
        let told = watched.look(true).unwrap();
        assert!(
            told.contains("2.0 MiB on the disk, over driver.disk_max of 1.0 MiB"),
            "{told}"
        );
    }

    #[test]
    fn without_a_cgroup_processes_are_counted() {
        let temp = tempfile::tempdir().unwrap();
        let limits = Limits {
            memory_max: 1,
            ..Limits::default()
        };
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut watched = watch(limits, temp.path());
        assert!(watched.interval().is_some());
        let told = watched.look(true).unwrap();
        assert!(
            told.contains("ran out of memory") && told.contains("over driver.memory_max of 1 B"),
            "{told}"
        );
        let few = Limits {
            pids_max: 1,
            ..Limits::default()
        };
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let told = watch(few, temp.path()).look(true).unwrap();
        assert!(told.contains("over driver.pids_max of 1"), "{told}");
        for child in [&mut child, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let none = Limits::default();
        assert_eq!(watch(none, temp.path()).interval(), None);
    }
}
