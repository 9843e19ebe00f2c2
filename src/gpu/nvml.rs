//! NVIDIA's management library, loaded when the server starts; nothing of it is needed to build, or on a host without GPUs.

use std::collections::BTreeMap;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device as Handle, EventSet, Nvml};

use super::device::Device;
use super::inventory::{Probe, Process, Seen};

/// The library as the driver brings it; the name without a number comes with the toolkit only.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// XID errors that an application's own mistake may cause: its end is the application's, and the GPU is well.
const OF_APPLICATIONS: [u64; 6] = [13, 31, 43, 45, 68, 109];

/// The GPUs of this host.
pub struct NvmlProbe {
    /// Loaded once for the life of the process.
    nvml: &'static Nvml,
    /// What each GPU tells of errors.
    events: Vec<EventSet<'static>>,
    known: BTreeMap<String, Known>,
}

/// What an earlier look left of a GPU.
#[derive(Default)]
struct Known {
    /// Memory errors that could not be corrected when it was seen first.
    errors: Option<u64>,
    /// The critical error that it told of last.
    xid: Option<u64>,
    /// When its processes were looked at last, in the driver's time.
    until: u64,
}

impl NvmlProbe {
    /// Loads the library.
    ///
    /// # Errors
    /// There is none, or no driver: a sentence.
    pub fn load() -> Result<Self, String> {
        let nvml = Nvml::builder()
            .lib_path(LIBRARY.as_ref())
            .init()
            .map_err(|error| match error {
                NvmlError::LibloadingError(_) => format!("{LIBRARY} is not there"),
                error => error.to_string(),
            })?;
        // The events borrow it; it is there until the process ends, as the driver's library is.
        let nvml: &'static Nvml = Box::leak(Box::new(nvml));
        let events = |index| {
            let (gpu, set) = (nvml.device_by_index(index).ok()?, nvml.create_event_set().ok()?);
            gpu.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok()
        };
        Ok(Self {
            nvml,
            events: (0..nvml.device_count().unwrap_or(0)).filter_map(events).collect(),
            known: BTreeMap::new(),
        })
    }

    /// Takes the errors that the GPUs have told of since the look before.
    fn take_events(&mut self) {
        for set in &self.events {
            // Times out at once when there is none.
            while let Ok(event) = set.wait(0) {
                let (Some(XidError::Value(xid)), Ok(uuid)) = (event.event_data, event.device.uuid()) else {
                    continue;
                };
                if !OF_APPLICATIONS.contains(&xid) {
                    self.known.entry(uuid).or_default().xid = Some(xid);
                }
            }
        }
    }
}

impl Probe for NvmlProbe {
    fn look(&mut self) -> Result<Vec<Seen>, String> {
        self.take_events();
        let count = self.nvml.device_count().map_err(|error| error.to_string())?;
        let mut seen = Vec::new();
        for index in 0..count {
            // One that has fallen off its bus has no handle or no UUID: it is not there.
            let Ok(gpu) = self.nvml.device_by_index(index) else {
                continue;
            };
            let Ok(uuid) = gpu.uuid() else {
                continue;
            };
            let trouble = trouble(&gpu, self.known.entry(uuid.clone()).or_default());
            let slices = slices(&gpu);
            // One that is set to be cut, and is not, computes nothing.
            let is_to_be_cut = gpu.mig_mode().is_ok_and(|mode| mode.current != 0);
            if slices.is_empty() && !is_to_be_cut {
                let known = self.known.entry(uuid.clone()).or_default();
                seen.extend(look_at(&gpu, uuid, None, trouble, known));
                continue;
            }
            // Handles go stale when slices are made anew, so they are asked for each time.
            let parent = gpu.name().unwrap_or_default();
            for slice in slices {
                if let Ok(uuid) = slice.uuid() {
                    let known = self.known.entry(uuid.clone()).or_default();
                    seen.extend(look_at(&slice, uuid, Some(&parent), trouble.clone(), known));
                }
            }
        }
        Ok(seen)
    }
}

/// The slices of a GPU; none where it has not been cut.
fn slices<'nvml>(gpu: &Handle<'nvml>) -> Vec<Handle<'nvml>> {
    let most = gpu.mig_device_count().unwrap_or(0);
    (0..most)
        .filter_map(|index| gpu.mig_device_by_index(index).ok())
        .collect()
}

/// A device without memory that can be told is none.
fn look_at(
    device: &Handle,
    uuid: String,
    parent: Option<&str>,
    trouble: Option<String>,
    known: &mut Known,
) -> Option<Seen> {
    let memory = device.memory_info().ok()?;
    let own = device.name().unwrap_or_default();
    let name = match parent {
        // A slice's name has its profile, in some drivers after that of the GPU.
        Some(parent) if !own.contains(parent) => format!("{parent} {own}"),
        _ => own,
    };
    let processes = device.running_compute_processes().unwrap_or_default();
    let utilizations = utilizations(device, &mut known.until);
    Some(Seen {
        device: Device {
            uuid,
            name,
            memory: memory.total,
        },
        trouble,
        processes: processes
            .into_iter()
            .map(|process| Process {
                pid: process.pid,
                utilization: utilizations.get(&process.pid).copied(),
                // Where accounting is on; it begins with the process, between looks too.
                peak: device
                    .accounting_stats_for(process.pid)
                    .ok()
                    .and_then(|stats| stats.max_memory_usage),
                bytes: match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                },
            })
            .collect(),
        utilization: device.utilization_rates().ok().map(|rates| rates.gpu),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        used: memory.used,
    })
}

/// Of each process, the mean percent since the look before; those that the driver does not tell of (slices, GPUs at rest) are missing.
/// `until` is the driver's time of the last sample that was seen.
fn utilizations(device: &Handle, until: &mut u64) -> BTreeMap<u32, u32> {
    let samples = device.process_utilization_stats(*until).unwrap_or_default();
    let is_first = *until == 0;
    let before = *until;
    let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.timestamp > before) {
        *until = sample.timestamp.max(*until);
        all.entry(sample.pid).or_default().push(sample.sm_util);
    }
    if is_first {
        // What the driver has kept from before is of no look's time.
        return BTreeMap::new();
    }
    // Rounded up: a little work is work.
    let mean = |samples: &[u32]| {
        samples
            .iter()
            .sum::<u32>()
            .div_ceil(u32::try_from(samples.len()).unwrap_or(1))
    };
    all.into_iter()
        .map(|(pid, samples)| (pid, mean(&samples)))
        .collect()
}

/// What is wrong with a GPU: a critical error that it told of, or memory errors that could not be corrected, since the server has known it.
fn trouble(gpu: &Handle, known: &mut Known) -> Option<String> {
    if let Some(xid) = known.xid {
        return Some(format!("it had XID error {xid}"));
    }
    match gpu.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile) {
        Ok(errors) => {
            let before = *known.errors.get_or_insert(errors);
            (errors > before)
                .then(|| format!("{} errors of its memory could not be corrected", errors - before))
        }
        Err(NvmlError::GpuLost) => Some("it has fallen off its bus".to_owned()),
        // Not all have such memory.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs where there is a GPU; says why it did not elsewhere.
    #[test]
    fn the_gpus_of_this_host() {
        let mut probe = match NvmlProbe::load() {
            Ok(probe) => probe,
            Err(reason) => {
                println!("skipped: no GPU can be seen here: {reason}");
                return;
            }
        };
        let seen = probe.look().unwrap();
        println!("{seen:#?}");
        for seen in &seen {
            assert!(seen.device.uuid.starts_with("GPU-") || seen.device.is_slice());
            assert!(seen.device.memory > 1 << 30 && seen.used <= seen.device.memory);
            assert!(!seen.device.name.is_empty());
        }
        assert_eq!(probe.look().unwrap().len(), seen.len());
    }
}
