//! Looks at the GPUs when the server starts and again and again: one that is not well, or gone, is withdrawn until it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tracing::{info, warn};
use uuid::Uuid;

use super::gpus::Gpus;
use super::inventory::{Configured, Declared, Probe, Restricted, Seen};
use super::nvml::NvmlProbe;
use crate::background::Background;
use crate::config::Gpu;

/// What looks at the devices that the configuration means; none on a host where there is nothing to see, which is told.
///
/// # Errors
/// `gpu.devices` makes no sense, or names GPUs and there is no NVML: a sentence that begins with the key.
pub fn probe(config: &Gpu) -> Result<Option<Box<dyn Probe>>, String> {
    let configured = Configured::read(&config.devices).map_err(|reason| format!("gpu.devices: {reason}"))?;
    match configured {
        Configured::Declared(devices) => Ok(Some(Box::new(Declared(devices)))),
        Configured::Restricted(to) => match NvmlProbe::load() {
            Ok(probe) => Ok(Some(Box::new(Restricted { probe, to }))),
            Err(reason) if to.is_empty() => {
                info!("no GPUs: {reason}");
                Ok(None)
            }
            Err(reason) => Err(format!("gpu.devices names GPUs that can't be seen: {reason}")),
        },
    }
}

/// Takes the devices into the book, and goes on looking in the background until the server stops. `driver_of` says whose a process is.
pub async fn watch(
    probe: Box<dyn Probe>,
    config: &Gpu,
    gpus: Gpus,
    driver_of: fn(u32) -> Option<Uuid>,
    background: &Background,
) {
    let mut watching = Watching::new(probe, gpus, driver_of);
    let interval = config.look_interval.get();
    let (background, stopping) = (background.clone(), background.stopping().clone());
    // A look may take some milliseconds, and one that panics leaves the devices as they are.
    let Ok(first) = background
        .blocking(move || {
            watching.look();
            watching
        })
        .await
    else {
        return;
    };
    watching = first;
    background.clone().spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stopping.cancelled() => return,
            }
            let looked = background.blocking(move || {
                watching.look();
                watching
            });
            match looked.await {
                Ok(next) => watching = next,
                Err(_) => return,
            }
        }
    });
}

struct Watching {
    probe: Box<dyn Probe>,
    gpus: Gpus,
    driver_of: fn(u32) -> Option<Uuid>,
    /// Those that were told.
    troubles: BTreeMap<String, String>,
    looked: Instant,
}

impl Watching {
    fn new(probe: Box<dyn Probe>, gpus: Gpus, driver_of: fn(u32) -> Option<Uuid>) -> Self {
        Self {
            probe,
            gpus,
            driver_of,
            troubles: BTreeMap::new(),
            looked: Instant::now(),
        }
    }

    fn look(&mut self) {
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        // A driver that is being replaced: those that hold go on, and nobody else gets any meanwhile.
        let seen = self.probe.look().unwrap_or_else(|reason| {
            warn!(%reason, "the GPUs can't be seen");
            Vec::new()
        });
        self.tell(&seen);
        // The same process may be on several GPUs.
        let pids: BTreeSet<u32> = seen
            .iter()
            .flat_map(|seen| seen.processes.iter().map(|process| process.pid))
            .collect();
        let drivers: BTreeMap<u32, Uuid> = pids
            .into_iter()
            .filter_map(|pid| Some((pid, (self.driver_of)(pid)?)))
            .collect();
        self.gpus
            .observe(seen, &|pid| drivers.get(&pid).copied(), elapsed);
    }

    /// Tells troubles that are new.
    fn tell(&mut self, seen: &[Seen]) {
        let now: BTreeMap<String, String> = seen
            .iter()
            .filter_map(|seen| Some((seen.device.uuid.clone(), seen.trouble.clone()?)))
            .collect();
        for (uuid, trouble) in &now {
            if self.troubles.get(uuid) != Some(trouble) {
                warn!(gpu.uuid = %uuid, "a GPU is not well: {trouble}");
            }
        }
        self.troubles = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::ask::Rules;
    use super::super::device::Device;
    use super::super::inventory::Process;
    use super::super::mask::Mask;
    use super::*;

    /// Shows what the test says at the moment.
    struct Scripted(Arc<Mutex<Result<Vec<Seen>, String>>>);

    impl Probe for Scripted {
        fn look(&mut self) -> Result<Vec<Seen>, String> {
            self.0.lock().unwrap().clone()
        }
    }

    fn driver_of(pid: u32) -> Option<Uuid> {
        (pid == 7).then(|| Uuid::from_u128(7))
    }

    #[test]
    fn devices_come_and_go() {
        let seen = |uuid: &str, trouble: Option<&str>| Seen {
            device: Device {
                uuid: uuid.to_owned(),
                name: "T4".to_owned(),
                memory: 16 << 30,
            },
            trouble: trouble.map(str::to_owned),
            processes: vec![Process {
                pid: 7,
                bytes: Some(1 << 30),
                peak: None,
                utilization: None,
            }],
            utilization: Some(50),
            temperature: None,
            used: 1 << 30,
        };
        let shown = Arc::new(Mutex::new(Ok(vec![seen("GPU-1", None), seen("GPU-2", None)])));
        let gpus = Gpus::new(Rules::default());
        let mut watching = Watching::new(Box::new(Scripted(Arc::clone(&shown))), gpus.clone(), driver_of);
        assert!(gpus.mask(&[]).is_none(), "nobody has looked yet");
        watching.look();
        assert_eq!(gpus.devices().len(), 2);
        let watched = gpus.watch(Uuid::from_u128(7), None).unwrap();
        for (now, devices) in [
            (Ok(vec![seen("GPU-1", None), seen("GPU-2", Some("broken"))]), 1),
            (Err("the driver is being replaced".to_owned()), 0),
            (Ok(vec![seen("GPU-1", None)]), 1),
        ] {
            *shown.lock().unwrap() = now;
            watching.look();
            assert_eq!(gpus.devices().len(), devices);
            assert_eq!(
                gpus.mask(&[]),
                Some(Mask::of(&[])),
                "one without a GPU sees none, whatever can be seen"
            );
        }
        // It holds none, and one of its processes is on two.
        let mut strays = watched.usage().strays();
        strays.sort_unstable();
        assert_eq!(strays, ["GPU-1", "GPU-2"]);
    }
}
