//! What is seen of a driver's use of the GPUs: how long, how much, and whether it keeps to its own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::book::Part;
use super::device::gib;
use super::inventory::{Process, Seen};

/// Clones are of the same driver.
#[derive(Clone, Debug)]
pub struct Usage(Arc<Mutex<Figures>>);

#[derive(Debug)]
struct Figures {
    parts: Vec<Part>,
    /// How long it had held them when this server took it.
    before: Duration,
    begun: Instant,
    /// How long it held them in all, once it has let go.
    ended: Option<Duration>,
    /// Time in which something of it ran on a GPU, over all of them.
    busy: Duration,
    last_busy: Instant,
    /// The most bytes that it has had of all its GPUs' memory.
    memory_peak: u64,
    /// Percent over its GPUs at the last look; none where no GPU tells.
    utilization: Option<u32>,
    /// Whether one of its processes has a GPU open.
    is_on: bool,
    /// GPUs that it used without holding them, and those of them that were not told yet.
    strayed: BTreeSet<String>,
    untold: Vec<String>,
}

/// What one look showed of one driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    /// Bytes of all its GPUs' memory; of each process the most that it has had, where that is known.
    memory: u64,
    /// Of each GPU that it holds and that tells.
    utilizations: Vec<u32>,
    is_on: bool,
    strays: BTreeSet<String>,
}

/// The figures for people and their programs, as `appInfo` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Seconds of holding a whole GPU: two GPUs count twice, half a GPU counts half.
    pub seconds: u64,
    /// Seconds in which something of it ran on a GPU, as far as looks can tell.
    pub busy_seconds: u64,
    /// Percent at the last look, the mean over its GPUs; none where no GPU tells.
    pub utilization: Option<u32>,
    /// The most memory that it has had, in words.
    pub memory_peak: String,
}

impl Usage {
    /// A driver that has held these for so long.
    #[must_use]
    pub fn new(parts: Vec<Part>, before: Duration) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Figures {
            parts,
            before,
            begun: now,
            ended: None,
            busy: Duration::ZERO,
            last_busy: now,
            memory_peak: 0,
            utilization: None,
            is_on: false,
            strayed: BTreeSet::new(),
            untold: Vec::new(),
        })))
    }

    /// Takes what a look has shown of all GPUs, so long after the one before; `driver_of` says whose a process is.
    pub(super) fn observe(
        &self,
        driver: Uuid,
        seen: &[Seen],
        driver_of: &dyn Fn(u32) -> Option<Uuid>,
        elapsed: Duration,
    ) {
        let mut figures = self.lock();
        let look = look_at(driver, &figures.parts, seen, driver_of);
        figures.take(look, elapsed);
    }

    /// It holds nothing any more.
    pub fn end(&self) {
        let mut figures = self.lock();
        let held = figures.held();
        figures.ended.get_or_insert(held);
        figures.parts.clear();
        figures.is_on = false;
        figures.utilization = None;
    }

    /// The figures; none for a driver that has never held a GPU.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let figures = self.lock();
        let weighed = figures.ended.unwrap_or_else(|| figures.held());
        (!figures.parts.is_empty() || figures.ended.is_some_and(|held| !held.is_zero())).then(|| Summary {
            seconds: weighed.as_secs(),
            busy_seconds: figures.busy.as_secs(),
            utilization: figures.utilization,
            memory_peak: gib(figures.memory_peak),
        })
    }

    /// How long nothing of it has run on its GPUs, as far as looks can tell.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.lock().last_busy.elapsed()
    }

    /// Whether one of its processes has one of its GPUs open: its memory is not free.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.lock().is_on
    }

    /// GPUs that its processes use and that it does not hold; each is told once.
    #[must_use]
    pub fn strays(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().untold)
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Time of holding, each GPU as the part of it that is held.
    fn held(&self) -> Duration {
        let thousandths: u32 = self.parts.iter().map(Part::cost).sum();
        (self.before + self.begun.elapsed()) * thousandths / super::ask::WHOLE
    }

    fn take(&mut self, look: Look, elapsed: Duration) {
        self.memory_peak = self.memory_peak.max(look.memory);
        self.is_on = look.is_on;
        let busy = look.utilizations.iter().filter(|percent| **percent > 0).count();
        if busy > 0 {
            self.busy += elapsed * u32::try_from(busy).unwrap_or(1);
            self.last_busy = Instant::now();
        }
        let told = u32::try_from(look.utilizations.len()).unwrap_or(u32::MAX);
        self.utilization = look.utilizations.iter().sum::<u32>().checked_div(told);
        for uuid in look.strays {
            if self.strayed.insert(uuid.clone()) {
                self.untold.push(uuid);
            }
        }
    }
}

/// What a look shows of a driver that holds `parts`.
fn look_at(driver: Uuid, parts: &[Part], seen: &[Seen], driver_of: &dyn Fn(u32) -> Option<Uuid>) -> Look {
    let mut look = Look::default();
    for seen in seen {
        let is_its = |process: &&Process| driver_of(process.pid) == Some(driver);
        let its: Vec<&Process> = seen.processes.iter().filter(is_its).collect();
        let Some(part) = parts.iter().find(|part| part.uuid == seen.device.uuid) else {
            if !its.is_empty() {
                look.strays.insert(seen.device.uuid.clone());
            }
            continue;
        };
        look.is_on |= !its.is_empty();
        look.memory += its
            .iter()
            .filter_map(|process| process.bytes.max(process.peak))
            .sum::<u64>();
        let own: Vec<u32> = its.iter().filter_map(|process| process.utilization).collect();
        let utilization = if own.is_empty() {
            // The whole GPU's is its own where nobody else has a part of it; of one that is shared it is, if it is anybody's, perhaps its own.
            seen.utilization.filter(|_| !its.is_empty() || !part.is_share)
        } else {
            Some(own.iter().sum::<u32>().min(100))
        };
        look.utilizations.extend(utilization);
    }
    look
}

#[cfg(test)]
mod tests {
    use super::super::device::Device;
    use super::*;

    fn part(uuid: &str, bytes: u64) -> Part {
        Part {
            uuid: uuid.to_owned(),
            name: "T4".to_owned(),
            bytes,
            memory: 16 << 30,
            is_share: bytes < 16 << 30,
        }
    }

    fn seen(uuid: &str, utilization: Option<u32>, processes: &[(u32, u64, Option<u32>)]) -> Seen {
        Seen {
            device: Device {
                uuid: uuid.to_owned(),
                name: "T4".to_owned(),
                memory: 16 << 30,
            },
            trouble: None,
            processes: processes
                .iter()
                .map(|(pid, bytes, utilization)| Process {
                    pid: *pid,
                    bytes: Some(*bytes),
                    peak: None,
                    utilization: *utilization,
                })
                .collect(),
            utilization,
            temperature: None,
            used: 0,
        }
    }

    /// Processes 10 to 19 are the first driver's, 20 to 29 the second's.
    fn driver_of(pid: u32) -> Option<Uuid> {
        (10..30)
            .contains(&pid)
            .then(|| Uuid::from_u128(u128::from(pid / 10)))
    }

    #[test]
    fn processes_are_their_drivers() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of_first = Usage::new(
            vec![part("GPU-1", 16 << 30), part("GPU-2", 16 << 30)],
            Duration::ZERO,
        );
        let of_second = Usage::new(vec![part("GPU-3", 8 << 30)], Duration::from_secs(100));
        let look = [
            seen("GPU-1", Some(80), &[(10, 1 << 30, None), (11, 2 << 30, None)]),
            seen("GPU-2", Some(0), &[(99, 5 << 30, None)]),
            seen(
                "GPU-3",
                Some(90),
                &[(20, 3 << 30, Some(30)), (98, 1 << 30, Some(60))],
            ),
            seen("GPU-4", Some(90), &[(21, 1 << 30, Some(30))]),
        ];
        let elapsed = Duration::from_secs(10);
        for (usage, driver) in [(&of_first, first), (&of_second, second)] {
            usage.observe(driver, &look, &driver_of, elapsed);
            usage.observe(driver, &look, &driver_of, elapsed);
        }
        let summary = of_first.summary().unwrap();
        assert_eq!((summary.busy_seconds, summary.utilization), (20, Some(40)));
        assert_eq!(summary.memory_peak, "3.0 GiB");
        assert!(of_first.is_on() && of_first.strays().is_empty());
        let summary = of_second.summary().unwrap();
        assert_eq!(
            (summary.seconds, summary.busy_seconds, summary.utilization),
            (50, 20, Some(30))
        );
        assert_eq!(of_second.strays(), ["GPU-4"]);
        assert!(of_second.strays().is_empty(), "it is told once");
        of_second.end();
        assert_eq!(of_second.summary().map(|summary| summary.seconds), Some(50));
        assert!(!of_second.is_on());
    }

    #[test]
    fn what_is_not_told_is_not_counted() {
        let usage = Usage::new(vec![part("MIG-1", 16 << 30)], Duration::ZERO);
        usage.observe(
            Uuid::from_u128(1),
            &[seen("MIG-1", None, &[(10, 1 << 30, None)])],
            &driver_of,
            Duration::from_secs(10),
        );
        let summary = usage.summary().unwrap();
        assert_eq!((summary.busy_seconds, summary.utilization), (0, None));
        assert!(Usage::new(Vec::new(), Duration::ZERO).summary().is_none());
    }
}
