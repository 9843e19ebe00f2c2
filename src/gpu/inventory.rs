//! Which devices there are: what NVML shows, restricted or replaced by `gpu.devices`.

use super::device::{Device, Entry};

/// A device as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which one.
    pub device: Device,
    /// Why nobody should get it; none for one that is well.
    pub trouble: Option<String>,
    /// Processes that compute on it.
    pub processes: Vec<Process>,
    /// Percent of the last moments in which something ran on it; none where the driver does not tell.
    pub utilization: Option<u32>,
    /// Degrees Celsius; none where the driver does not tell.
    pub temperature: Option<u32>,
    /// Bytes of its memory that are in use.
    pub used: u64,
}

/// A process that computes on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id, as this server sees it.
    pub pid: u32,
    /// Bytes of the device's memory that it has; none where the driver does not tell.
    pub bytes: Option<u64>,
    /// The most bytes that it has had, where NVML's accounting is on.
    pub peak: Option<u64>,
    /// Percent of the last moments in which something of it ran; none where the driver does not tell.
    pub utilization: Option<u32>,
}

/// Something that shows devices. It may take some milliseconds: not on a worker.
pub trait Probe: Send {
    /// The devices as they are now.
    ///
    /// # Errors
    /// A sentence: nothing can be seen at the moment.
    fn look(&mut self) -> Result<Vec<Seen>, String>;
}

/// The devices of the configuration, which are always well.
#[derive(Debug)]
pub struct Declared(pub Vec<Device>);

impl Probe for Declared {
    fn look(&mut self) -> Result<Vec<Seen>, String> {
        let seen = self.0.iter().map(|device| Seen {
            device: device.clone(),
            trouble: None,
            processes: Vec::new(),
            utilization: None,
            temperature: None,
            used: 0,
        });
        Ok(seen.collect())
    }
}

/// A probe that shows some of another's devices only.
pub struct Restricted<P> {
    /// The other.
    pub probe: P,
    /// The UUIDs of those that are shown; all where it is empty.
    pub to: Vec<String>,
}

impl<P: Probe> Probe for Restricted<P> {
    fn look(&mut self) -> Result<Vec<Seen>, String> {
        let mut seen = self.probe.look()?;
        seen.retain(|seen| self.to.is_empty() || self.to.contains(&seen.device.uuid));
        Ok(seen)
    }
}

/// What `gpu.devices` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configured {
    /// The devices, without asking NVML.
    Declared(Vec<Device>),
    /// NVML's, of these UUIDs; all where it is empty.
    Restricted(Vec<String>),
}

impl Configured {
    /// Reads the key.
    ///
    /// # Errors
    /// An entry makes no sense, two have the same UUID, or some declare and others restrict.
    pub fn read(entries: &[String]) -> Result<Self, String> {
        let (mut declared, mut restricted) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.parse()? {
                Entry::Declare(device) => declared.push(device),
                Entry::Restrict(uuid) => restricted.push(uuid),
            }
        }
        let mut uuids: Vec<&str> = declared
            .iter()
            .map(|device: &Device| device.uuid.as_str())
            .collect();
        uuids.extend(restricted.iter().map(String::as_str));
        uuids.sort_unstable();
        if let Some(twice) = uuids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is there twice", twice[0]));
        }
        match (declared.is_empty(), restricted.is_empty()) {
            (false, false) => {
                Err("some entries declare GPUs and others name NVML's: give one or the other".to_owned())
            }
            (false, true) => Ok(Self::Declared(declared)),
            (true, _) => Ok(Self::Restricted(restricted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[&str]) -> Result<Configured, String> {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Configured::read(&entries)
    }

    #[test]
    fn what_is_configured() {
        assert_eq!(read(&[]), Ok(Configured::Restricted(Vec::new())));
        assert_eq!(
            read(&["GPU-1"]),
            Ok(Configured::Restricted(vec!["GPU-1".to_owned()]))
        );
        let Ok(Configured::Declared(devices)) = read(&["GPU-1 16GiB T4", "GPU-2 16GiB T4"]) else {
            unreachable!("both are declared");
        };
        assert_eq!(devices.len(), 2);
        assert!(
            read(&["GPU-1", "GPU-2 16GiB T4"])
                .unwrap_err()
                .contains("one or the other")
        );
        assert!(read(&["GPU-1", "GPU-1"]).unwrap_err().contains("twice"));
    }

    #[test]
    fn restricted_to_some() {
        let of = |uuid: &str| Device {
            uuid: uuid.to_owned(),
            name: "T4".to_owned(),
            memory: 1,
        };
        let probe = Declared(vec![of("GPU-1"), of("GPU-2")]);
        let mut some = Restricted {
            probe,
            to: vec!["GPU-2".to_owned(), "GPU-9".to_owned()],
        };
        let seen = some.look().unwrap();
        assert_eq!((seen.len(), seen[0].device.uuid.as_str()), (1, "GPU-2"));
    }
}
