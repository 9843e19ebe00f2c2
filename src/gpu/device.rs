//! What can be leased: a GPU, or a slice of one (MIG).

use std::fmt;
use std::str::FromStr;

use crate::config::Size;

/// A GPU or a slice. NVIDIA's word for both is a device; it is known by its UUID, since indices change (gpu.md, 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `GPU-…` or `MIG-…`, as CUDA takes it.
    pub uuid: String,
    /// Such as `NVIDIA H200`; of a slice with its profile, such as `NVIDIA H200 MIG 3g.71gb`.
    pub name: String,
    /// Bytes.
    pub memory: u64,
}

impl Device {
    /// Whether it is a slice: a process can use only one of those (gpu.md, 7.4).
    #[must_use]
    pub fn is_slice(&self) -> bool {
        self.uuid.starts_with("MIG-")
    }

    /// Whether a word of a request means it: any part of its name, in any case.
    #[must_use]
    pub fn is_of_type(&self, word: &str) -> bool {
        self.name.to_lowercase().contains(&word.to_lowercase())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, {})", self.uuid, self.name, gib(self.memory))
    }
}

/// Memory for people, in GiB.
pub(super) fn gib(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// An entry of `gpu.devices`: `UUID` restricts the inventory to what NVML shows under it, `UUID MEMORY NAME` declares a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A UUID of NVML's.
    Restrict(String),
    /// A device that NVML is not asked about.
    Declare(Device),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let uuid = words.next().unwrap_or_default();
        let (head, tail) = uuid.split_at(uuid.len().min(4));
        let is_uuid = matches!(head, "GPU-" | "MIG-")
            && !tail.is_empty()
            && tail.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_uuid {
            return Err(format!(
                "{uuid:?} is no UUID of a GPU: GPU- or MIG- and letters, digits and dashes, as nvidia-smi -L shows them"
            ));
        }
        let Some(memory) = words.next() else {
            return Ok(Self::Restrict(uuid.to_owned()));
        };
        let memory: Size = memory.parse()?;
        let name = words.collect::<Vec<_>>().join(" ");
        if name.is_empty() || memory.bytes() == 0 {
            return Err(format!(
                "{text:?} declares a GPU without memory or name: write it as \"GPU-1 80GiB NVIDIA H100\""
            ));
        }
        Ok(Self::Declare(Device {
            uuid: uuid.to_owned(),
            name,
            memory: memory.bytes(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        assert_eq!("GPU-a1".parse(), Ok(Entry::Restrict("GPU-a1".to_owned())));
        let declared = Device {
            uuid: "MIG-2".to_owned(),
            name: "H200 MIG 3g.71gb".to_owned(),
            memory: 71 << 30,
        };
        assert!(declared.is_slice() && declared.is_of_type("h200") && !declared.is_of_type("a100"));
        assert_eq!(
            "MIG-2  71GiB H200 MIG 3g.71gb".parse(),
            Ok(Entry::Declare(declared))
        );
        for bad in [
            "",
            "0",
            "GPU-",
            "GPU-é",
            "GPU-1,GPU-2",
            "GPU-1 80GiB",
            "GPU-1 many H100",
            "GPU-1 0B H100",
        ] {
            assert!(bad.parse::<Entry>().is_err(), "{bad}");
        }
    }
}
