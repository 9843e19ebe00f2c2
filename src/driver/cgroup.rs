//! A control group for each driver: version 2 where one is delegated to the server, else those of version 1 that it can write (cgroups(7)).
//!
//! Owns: where groups can be made, what a driver's says of its limits, and its end. The server finds the places and gives them to each keeper,
//! which makes its driver's group and removes it. Called by `driver`, `keeper` and `watch`; calls `run_dir`.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::run_dir::{Limits, RunDir};

/// What groups of drivers are called, before the driver's id.
const PREFIX: &str = "firesteel-driver-";
/// The group of a server that has drivers' groups beside it: in version 2 no inner group has processes. systemd makes it, or the server itself.
const SERVER: &str = "firesteel-server";
/// The share of the processors of each driver, against one another and against the server.
const SHARES: u64 = 1024;
/// The same in version 2.
const WEIGHT: u64 = 100;
/// The period of the processors' quota, in microseconds.
const PERIOD: u64 = 100_000;
/// How often a group's removal is tried: the kernel may still be busy with the last process.
const REMOVE_TRIES: u32 = 50;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// Where groups of drivers can be made: a directory for each controller, the same for all in version 2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    /// Whether it is version 2.
    pub unified: bool,
    pub memory: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
    pub pids: Option<PathBuf>,
}

impl Places {
    /// Looks for them. A server in version 2 may move into a group below its own for this.
    pub(super) fn find() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (mounts, groups) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let find = |controller: &str| {
            let place = version_1(&mounts, &groups, controller)?;
            may_make(&place).then_some(place)
        };
        let first = Self {
            unified: false,
            memory: find("memory"),
            cpu: find("cpu"),
            pids: find("pids"),
        };
        if first == Self::default() {
            version_2(&mounts, &groups)
                .and_then(|own| Self::delegated(&own))
                .unwrap_or_default()
        } else {
            first
        }
    }

    /// Has controllers work below the server's own group, or beside it where the server is in a group of its own.
    fn delegated(own: &Path) -> Option<Self> {
        let is_moved = own.file_name().is_some_and(|name| name == SERVER);
        let base = if is_moved { own.parent()? } else { own };
        let has = |file: &str, controller: &str| {
            let text = fs::read_to_string(base.join(file)).unwrap_or_default();
            text.split_whitespace().any(|found| found == controller)
        };
        let controllers = ["memory", "cpu", "pids"].map(|name| (name, has("cgroup.controllers", name)));
        if !controllers.iter().any(|(_, is_there)| *is_there) || !may_make(base) {
            return None;
        }
        let is_on = |name: &str| has("cgroup.subtree_control", name);
        if controllers
            .iter()
            .any(|(name, is_there)| *is_there && !is_on(name))
        {
            if !is_moved {
                if is_unit() {
                    // systemd could not start the next server in a group that has come to have others below it.
                    return None;
                }
                let server = base.join(SERVER);
                let _ = fs::create_dir(&server);
                fs::write(server.join("cgroup.procs"), "0").ok()?;
            }
            for (name, _) in controllers.iter().filter(|(_, is_there)| *is_there) {
                // One that can't be had is left out.
                let _ = fs::write(base.join("cgroup.subtree_control"), format!("+{name}"));
            }
        }
        let place = |name: &str| is_on(name).then(|| base.to_owned());
        let found = Self {
            unified: true,
            memory: place("memory"),
            cpu: place("cpu"),
            pids: place("pids"),
        };
        let has_none = found.memory.is_none() && found.cpu.is_none() && found.pids.is_none();
        if has_none && !is_moved {
            // Others' processes are in the way: back to where it was.
            let _ = fs::write(base.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(base.join(SERVER));
        }
        Some(found)
    }

    /// Removes the groups of drivers that have a directory below `run_root` and no keeper, which would have removed them. One in which something
    /// still runs stays for the next time.
    pub(super) fn sweep(&self, run_root: &Path) -> io::Result<()> {
        for entry in fs::read_dir(run_root)? {
            let driver = RunDir::at(entry?.path());
            let id = driver.path().file_name().unwrap_or_default().to_string_lossy();
            let places = [&self.memory, &self.cpu, &self.pids].into_iter().flatten();
            let groups = places.map(|place| place.join(format!("{PREFIX}{id}")));
            // Most drivers have ended and left none: their keepers need not be looked up.
            let left: Vec<PathBuf> = groups.filter(|group| group.exists()).collect();
            if left.is_empty() || driver.named_keeper().is_some_and(|keeper| keeper.exists()) {
                continue;
            }
            for group in left {
                let _ = fs::remove_dir(group);
            }
        }
        Ok(())
    }

    /// In words, for the log.
    pub(super) fn told(&self) -> String {
        let named = [("memory", &self.memory), ("cpu", &self.cpu), ("pids", &self.pids)];
        let there: Vec<&str> = named
            .iter()
            .filter(|(_, place)| place.is_some())
            .map(|(name, _)| *name)
            .collect();
        match (there.is_empty(), self.unified) {
            (true, _) => "none".to_owned(),
            (_, true) => format!("version 2 ({})", there.join(", ")),
            (_, false) => format!("version 1 ({})", there.join(", ")),
        }
    }
}

/// Whether systemd has started this process.
fn is_unit() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// Whether groups can be made in a directory.
fn may_make(directory: &Path) -> bool {
    let probe = directory.join(format!("firesteel-probe-{}", std::process::id()));
    let is_made = fs::create_dir(&probe).is_ok();
    is_made && fs::remove_dir(&probe).is_ok()
}

/// Where this process is in a hierarchy: its mount point, and below it the part of its path that the mount shows.
fn own(mount: &str, path: &str) -> Option<PathBuf> {
    let fields: Vec<&str> = mount.split_whitespace().collect();
    let (root, point) = (*fields.get(3)?, *fields.get(4)?);
    let path = Path::new(path);
    let below = path.strip_prefix(root).unwrap_or_else(|_| Path::new(""));
    let is_plain = below
        .components()
        .all(|part| !matches!(part, std::path::Component::ParentDir));
    let below = if is_plain { below } else { Path::new("") };
    Some(Path::new(point).join(below.strip_prefix("/").unwrap_or(below)))
}

/// Mounts of a file system type, each with what stands after it: its source and its options.
fn mounts_of<'a>(mounts: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    mounts.lines().filter_map(move |line| {
        let (mount, rest) = line.split_once(" - ")?;
        let (found, options) = rest.split_once(' ')?;
        (found == kind).then_some((mount, options))
    })
}

fn version_1(mounts: &str, groups: &str, controller: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split([',', ' ']).any(|word| word == controller);
    let (mount, _) = mounts_of(mounts, "cgroup").find(|(_, options)| {
        options
            .split_once(' ')
            .is_some_and(|(_, superblock)| has(superblock))
    })?;
    let path = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has(controllers).then_some(path)
    })?;
    own(mount, path)
}

fn version_2(mounts: &str, groups: &str) -> Option<PathBuf> {
    let (mount, _) = mounts_of(mounts, "cgroup2").next()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    own(mount, path)
}

/// One driver's group.
#[derive(Debug, Default)]
pub(super) struct Group {
    unified: bool,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    pids: Option<PathBuf>,
}

impl Group {
    /// Makes it, with a driver's limits. What can't be made or limited is left out.
    pub(super) fn make(places: &Places, driver: &str, limits: &Limits) -> Self {
        let name = format!("{PREFIX}{driver}");
        let make = |place: &Option<PathBuf>, wanted: bool| {
            let directory = place.as_ref().filter(|_| wanted)?.join(&name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => None,
                _ => Some(directory),
            }
        };
        let mut group = Self {
            unified: places.unified,
            memory: make(&places.memory, limits.memory_max > 0),
            cpu: make(&places.cpu, true),
            pids: make(&places.pids, limits.pids_max > 0),
        };
        group.memory = group
            .memory
            .take()
            .filter(|directory| group.limit_memory(directory, limits.memory_max));
        group.pids = group
            .pids
            .take()
            .filter(|directory| write(directory, "pids.max", limits.pids_max));
        group.limit_cpu(limits.cpu_percent);
        group
    }

    fn limit_memory(&self, directory: &Path, most: u64) -> bool {
        if self.unified {
            write(directory, "memory.swap.max", 0);
            write(directory, "memory.oom.group", 1);
            return write(directory, "memory.max", most);
        }
        let is_limited = write(directory, "memory.limit_in_bytes", most);
        // Only a kernel that counts swap has it.
        write(directory, "memory.memsw.limit_in_bytes", most);
        is_limited
    }

    fn limit_cpu(&self, percent: u32) {
        let Some(directory) = &self.cpu else { return };
        self.stand_back(0);
        let quota = u64::from(percent) * PERIOD / 100;
        match (quota, self.unified) {
            (0, _) => {}
            (_, true) => drop(fs::write(directory.join("cpu.max"), format!("{quota} {PERIOD}"))),
            (_, false) => {
                write(directory, "cpu.cfs_period_us", PERIOD);
                write(directory, "cpu.cfs_quota_us", quota);
            }
        }
    }

    /// Gives the driver the share of the processors that goes with a nice value of 0 to 19: each step a fifth less.
    pub(super) fn stand_back(&self, nice: u32) {
        let Some(directory) = &self.cpu else { return };
        let share = |mut share: u64| {
            for _ in 0..nice {
                share = (share * 4).div_ceil(5);
            }
            share
        };
        match self.unified {
            true => write(directory, "cpu.weight", share(WEIGHT)),
            false => write(directory, "cpu.shares", share(SHARES)),
        };
    }

    /// A driver's group that its keeper has made.
    pub(super) fn of(places: &Places, driver: &str) -> Self {
        let name = format!("{PREFIX}{driver}");
        let there = |place: &Option<PathBuf>| {
            let directory = place.as_ref()?.join(&name);
            directory.is_dir().then_some(directory)
        };
        Self {
            unified: places.unified,
            memory: there(&places.memory),
            cpu: there(&places.cpu),
            pids: there(&places.pids),
        }
    }

    fn directories(&self) -> Vec<&PathBuf> {
        let mut all: Vec<&PathBuf> = [&self.memory, &self.cpu, &self.pids]
            .into_iter()
            .flatten()
            .collect();
        all.dedup();
        all
    }

    /// The files by which a process joins it.
    pub(super) fn procs(&self) -> Vec<PathBuf> {
        let directories = self.directories();
        directories
            .iter()
            .map(|directory| directory.join("cgroup.procs"))
            .collect()
    }

    /// Whether the kernel bounds its memory.
    pub(super) fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the kernel bounds its processes.
    pub(super) fn has_pids(&self) -> bool {
        self.pids.is_some()
    }

    /// Files that tell, with poll(2), that a limit was met. Version 1 has none for memory.
    pub(super) fn events(&self) -> Vec<Events> {
        let memory = self.memory.as_ref().filter(|_| self.unified);
        let memory = memory.and_then(|directory| Events::open(&directory.join("memory.events"), "oom_kill"));
        let pids = self.pids.as_ref();
        let pids = pids.and_then(|directory| Events::open(&directory.join("pids.events"), "max"));
        memory.into_iter().chain(pids).collect()
    }

    /// Whether the kernel has ended a process for want of memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        let file = match self.unified {
            true => "memory.events",
            false => "memory.oom_control",
        };
        let directory = self.memory.as_ref();
        directory.is_some_and(|directory| number(&directory.join(file), "oom_kill").unwrap_or(0) > 0)
    }

    /// Whether a process was refused because there were as many as may be; a group above may have refused it as well.
    pub(super) fn is_out_of_pids(&self) -> bool {
        let Some(directory) = &self.pids else { return false };
        let read = |file: &str| fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok();
        let (peak, most): (Option<u64>, Option<u64>) = (read("pids.peak"), read("pids.max"));
        let is_refused = number(&directory.join("pids.events"), "max").unwrap_or(0) > 0;
        is_refused && peak.zip(most).is_none_or(|(peak, most)| peak >= most)
    }

    /// Kills all that is in it. From the first call on, no process in it can make another one.
    pub(super) fn kill(&self) {
        if let Some(directory) = &self.pids {
            write(directory, "pids.max", 0);
        }
        for directory in self.directories() {
            if self.unified && write(directory, "cgroup.kill", 1) {
                continue;
            }
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines().filter_map(|line| line.parse().ok()) {
                // It may have ended since the look.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Removes it, once nothing is in it any more; waits a second for that.
    pub(super) fn remove(&self) {
        for directory in self.directories() {
            for _ in 0..REMOVE_TRIES {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(REMOVE_PAUSE),
                    _ => break,
                }
            }
        }
    }
}

/// True where the kernel takes it.
fn write(directory: &Path, file: &str, value: u64) -> bool {
    fs::write(directory.join(file), value.to_string()).is_ok()
}

/// The number after a word at the beginning of a line.
fn number(path: &Path, word: &str) -> Option<u64> {
    number_in(&fs::read_to_string(path).ok()?, word)
}

fn number_in(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (found, number) = line.split_once(' ')?;
        (found == word).then(|| number.trim().parse().ok())?
    })
}

/// A file of counts whose change wakes who waits for it. Reading it is what makes it wait again.
#[derive(Debug)]
pub(super) struct Events(pub File);

impl Events {
    fn open(path: &Path, word: &str) -> Option<Self> {
        let mut events = Self(File::open(path).ok()?);
        number_in(&events.read(), word)?;
        Some(events)
    }

    /// What it says now.
    pub(super) fn read(&mut self) -> String {
        let mut text = String::new();
        let _ = self.0.rewind();
        let _ = self.0.read_to_string(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::process::ProcessName;

    const VERSION_1: &str = "\
31 23 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
36 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
37 31 0:32 /docker/1 /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
38 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_process_is_found_in_each_hierarchy() {
        let groups = "5:memory:/docker/1/a\n3:cpu,cpuacct:/user.slice\n1:name=systemd:/x\n0::/system.slice/f.service\n";
        let found = |controller| version_1(VERSION_1, groups, controller);
        assert_eq!(found("memory"), Some("/sys/fs/cgroup/memory/a".into()));
        assert_eq!(found("cpu"), Some("/sys/fs/cgroup/cpu,cpuacct/user.slice".into()));
        assert_eq!(found("pids"), None);
        let second = version_2(VERSION_1, groups);
        assert_eq!(
            second,
            Some("/sys/fs/cgroup/unified/system.slice/f.service".into())
        );
        // Another namespace's path, which this mount does not show.
        let outside = "5:memory:/../../b\n0::/../c\n";
        assert_eq!(
            version_1(VERSION_1, outside, "memory"),
            Some("/sys/fs/cgroup/memory".into())
        );
        assert_eq!(
            version_2(VERSION_1, outside),
            Some("/sys/fs/cgroup/unified".into())
        );
    }

    #[test]
    fn counts_are_read_by_their_name() {
        let text = "low 0\noom 3\noom_kill 2\n";
        assert_eq!(number_in(text, "oom_kill"), Some(2));
        assert_eq!(number_in(text, "max"), None);
        assert_eq!(number_in("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }

    #[test]
    fn groups_without_a_keeper_are_removed() {
        let (run, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let group = |id: &str| place.path().join(format!("{PREFIX}{id}"));
        for id in ["gone", "busy", "lives", "anothers"] {
            fs::create_dir(group(id)).unwrap();
            if id != "anothers" {
                RunDir::create(run.path().join(id)).unwrap();
            }
        }
        // In a real hierarchy a process is what keeps a group.
        fs::create_dir(group("busy").join("something")).unwrap();
        let me = ProcessName::of(nix::unistd::getpid().as_raw()).unwrap();
        let keeper = serde_json::to_vec(&me).unwrap();
        RunDir::at(run.path().join("lives"))
            .replace("keeper.json", &keeper)
            .unwrap();
        let places = Places {
            pids: Some(place.path().to_owned()),
            ..Places::default()
        };
        places.sweep(run.path()).unwrap();
        let left = ["gone", "busy", "lives", "anothers"].map(|id| group(id).exists());
        assert_eq!(left, [false, true, true, true]);
    }

    #[test]
    fn a_group_of_files_is_limited_and_stands_back() {
        let temp = tempfile::tempdir().unwrap();
        let place = Some(temp.path().to_owned());
        let places = Places {
            unified: true,
            memory: place.clone(),
            cpu: place.clone(),
            pids: place,
        };
        let limits = Limits {
            memory_max: 1 << 30,
            cpu_percent: 150,
            pids_max: 100,
            ..Limits::default()
        };
        let group = Group::make(&places, "1", &limits);
        let directory = temp.path().join("firesteel-driver-1");
        let said = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(said("memory.max"), (1 << 30).to_string());
        assert_eq!(said("cpu.max"), "150000 100000");
        assert_eq!(said("pids.max"), "100");
        assert_eq!(said("cpu.weight"), "100");
        assert_eq!(group.procs(), [directory.join("cgroup.procs")]);
        Group::of(&places, "1").stand_back(10);
        assert_eq!(said("cpu.weight"), "13");
        assert!(!group.is_out_of_memory());
        fs::write(directory.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert!(group.is_out_of_memory());
        fs::write(directory.join("pids.events"), "max 2\n").unwrap();
        assert!(group.is_out_of_pids());
        fs::write(directory.join("pids.peak"), "99\n").unwrap();
        assert!(!group.is_out_of_pids(), "a group above has refused it");
    }
}
