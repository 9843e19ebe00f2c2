//! What a request asks for: conf keys read, refused where they make no sense or can never be met.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::device::{Device, gib};
use crate::config::Size;

/// How many GPUs, or which part of one.
pub const GPUS: &str = "firesteel.gpus";
/// The least memory of each GPU, or of the part.
pub const MEMORY: &str = "firesteel.gpu.memory";
/// A part of the GPU's name.
pub const TYPE: &str = "firesteel.gpu.type";
/// Spark's own key, which means the same as [`GPUS`].
pub const SPARK_AMOUNT: &str = "spark.driver.resource.gpu.amount";

/// A whole GPU in [`Ask::thousandths`].
pub const WHOLE: u32 = 1000;

/// What a session or batch wants of the GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Whole GPUs, or a part of one, in thousandths; `None`: as much of one as [`Ask::memory`] is.
    pub thousandths: Option<u32>,
    /// The least bytes of each GPU, or of the part.
    pub memory: Option<u64>,
    /// A part of the GPU's name, such as `H200`.
    pub kind: Option<String>,
}

/// Why an ask is refused: the key at fault, and a sentence that says what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Refused {
    /// The conf key.
    pub key: &'static str,
    /// A sentence.
    pub reason: String,
}

/// What bounds asks beside the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether a GPU may have more than one holder.
    pub sharing: bool,
    /// The most that one owner holds at a time, in thousandths; none: no limit.
    pub of_owner: Option<u32>,
    /// The most that all hold at a time, in thousandths; none: no limit.
    pub in_all: Option<u32>,
}

impl Ask {
    /// What the conf asks for; none where it asks for nothing.
    ///
    /// # Errors
    /// A value makes no sense, or two contradict each other.
    pub fn read(conf: &BTreeMap<String, String>, rules: Rules) -> Result<Option<Self>, Refused> {
        let amount = match conf.get(GPUS) {
            Some(text) => Some(amount(GPUS, text, rules.sharing)?),
            None => None,
        };
        let sparks = match conf.get(SPARK_AMOUNT) {
            // Spark's own must be whole.
            Some(text) => Some(self::amount(SPARK_AMOUNT, text, false)?),
            None => None,
        };
        if let (Some(ours), Some(sparks)) = (amount, sparks)
            && ours != sparks
        {
            let (ours, sparks) = (&conf[GPUS], &conf[SPARK_AMOUNT]);
            return refuse(
                GPUS,
                format!("it is {ours} and {SPARK_AMOUNT} is {sparks}; give one of them"),
            );
        }
        let memory = match conf.get(MEMORY) {
            Some(text) => Some(memory(text)?),
            None => None,
        };
        let kind = conf.get(TYPE).map(|text| text.trim().to_owned());
        if kind.as_deref() == Some("") {
            return refuse(
                TYPE,
                "it is empty; give a part of the GPU's name, such as H200".to_owned(),
            );
        }
        let thousandths = match amount.or(sparks) {
            Some(0) if memory.is_some() || kind.is_some() => {
                let key = if memory.is_some() { MEMORY } else { TYPE };
                return refuse(
                    key,
                    "no GPU is asked for; leave it out, or ask for some".to_owned(),
                );
            }
            Some(0) => return Ok(None),
            Some(amount) => Some(amount),
            None if memory.is_none() && kind.is_none() => return Ok(None),
            // A type alone, and a memory where nothing is shared, mean a whole one.
            None if memory.is_none() || !rules.sharing => Some(WHOLE),
            None => None,
        };
        Ok(Some(Self {
            thousandths,
            memory,
            kind,
        }))
    }

    /// Whether it shares a GPU with others.
    #[must_use]
    pub fn is_share(&self) -> bool {
        self.thousandths.is_none_or(|amount| amount < WHOLE)
    }

    /// How many devices it takes.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.thousandths
            .map_or(1, |amount| (amount / WHOLE).max(1) as usize)
    }

    /// How many bytes it takes of a device; none where the device does not do.
    #[must_use]
    pub fn bytes_of(&self, device: &Device) -> Option<u64> {
        if self.kind.as_ref().is_some_and(|kind| !device.is_of_type(kind)) {
            return None;
        }
        // A process uses one slice only.
        if device.is_slice() && self.devices() > 1 {
            return None;
        }
        let least = self.memory.unwrap_or(0);
        let bytes = match self.thousandths {
            Some(amount) if amount < WHOLE => part(device.memory, amount),
            Some(_) => device.memory,
            None => least,
        };
        (bytes > 0 && least <= bytes && bytes <= device.memory).then_some(bytes)
    }

    /// How much of a device's worth it takes, for quotas: thousandths, rounded up.
    #[must_use]
    pub fn cost_of(&self, device: &Device) -> Option<u32> {
        let bytes = self.bytes_of(device)?;
        Some(cost(bytes, device.memory))
    }

    /// Refuses what can never be met: more than there is, or than the quotas allow.
    ///
    /// # Errors
    /// It can't; the sentence says what there is.
    pub fn check(&self, devices: &[Device], rules: Rules) -> Result<(), Refused> {
        let key = if self.thousandths.is_some() { GPUS } else { MEMORY };
        if devices.is_empty() {
            return refuse(key, "this server has no GPU".to_owned());
        }
        let it_has = || format!("this server has {}", listed(devices));
        if let Some(kind) = &self.kind
            && !devices.iter().any(|device| device.is_of_type(kind))
        {
            return refuse(TYPE, format!("no GPU has {kind:?} in its name; {}", it_has()));
        }
        let fit: Vec<u32> = devices.iter().filter_map(|device| self.cost_of(device)).collect();
        if fit.is_empty() && self.memory.is_some() {
            let asked = gib(self.memory.unwrap_or(0));
            return refuse(
                MEMORY,
                format!("no GPU that is asked for has {asked}; {}", it_has()),
            );
        }
        if fit.len() < self.devices() {
            let (wanted, fit) = (self.devices(), fit.len());
            return refuse(
                key,
                format!(
                    "{wanted} are asked for and {fit} can be had at once; {}",
                    it_has()
                ),
            );
        }
        let mut costs = fit;
        costs.sort_unstable();
        let least: u32 = costs[..self.devices()].iter().sum();
        for (limit, name) in [(rules.of_owner, "gpu.owner_limit"), (rules.in_all, "gpu.limit")] {
            if let Some(limit) = limit
                && least > limit
            {
                let limit = f64::from(limit) / f64::from(WHOLE);
                return refuse(key, format!("{limit} at a time is the most ({name})"));
            }
        }
        Ok(())
    }
}

/// A part of a device's memory.
fn part(memory: u64, thousandths: u32) -> u64 {
    u64::try_from(u128::from(memory) * u128::from(thousandths) / u128::from(WHOLE)).unwrap_or(u64::MAX)
}

/// What a part of a device's memory is of the device, in thousandths, rounded up.
pub(super) fn cost(bytes: u64, memory: u64) -> u32 {
    let thousandths = (u128::from(bytes) * u128::from(WHOLE)).div_ceil(u128::from(memory.max(1)));
    u32::try_from(thousandths).unwrap_or(u32::MAX)
}

fn refuse<T>(key: &'static str, reason: String) -> Result<T, Refused> {
    Err(Refused { key, reason })
}

/// A number of GPUs in thousandths: a whole one, or where parts may be asked for, one between 0 and 1.
fn amount(key: &'static str, text: &str, parts: bool) -> Result<u32, Refused> {
    let text = text.trim();
    let wrong = |reason: &str| refuse(key, format!("it is {text:?}; {reason}"));
    let Ok(number) = text.parse::<f64>() else {
        return wrong("give a number of GPUs");
    };
    if !(0.0..=1000.0).contains(&number) {
        return wrong("give a number of GPUs from 0 to 1000");
    }
    if number.fract() == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1000"
        )]
        return Ok(number as u32 * WHOLE);
    }
    if !parts {
        let why = if key == SPARK_AMOUNT {
            "Spark takes whole numbers here"
        } else {
            "GPUs are not shared here (gpu.sharing), so give a whole number"
        };
        return wrong(why);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1")]
    let thousandths = (number * f64::from(WHOLE)).floor() as u32;
    if number > 1.0 || thousandths == 0 {
        return wrong("a part is from 0.001 to 0.999, and more than one GPU are whole ones");
    }
    Ok(thousandths)
}

/// A memory: with a unit as the configuration has it, or as Spark writes it, such as `20g`.
fn memory(text: &str) -> Result<u64, Refused> {
    let trimmed = text.trim();
    let spark = trimmed
        .strip_suffix(['g', 'G'])
        .map(|number| format!("{number}GiB"))
        .or_else(|| {
            trimmed
                .strip_suffix(['m', 'M'])
                .map(|number| format!("{number}MiB"))
        });
    let size: Result<Size, String> = spark.as_deref().unwrap_or(trimmed).parse();
    match size {
        Ok(size) if size.bytes() > 0 => Ok(size.bytes()),
        _ => refuse(
            MEMORY,
            format!("{text:?} is no size; give one such as 20GiB or 20g"),
        ),
    }
}

/// What there is, for people: `2 NVIDIA H200 (141 GiB)`.
fn listed(devices: &[Device]) -> String {
    let mut kinds: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for device in devices {
        *kinds.entry((&device.name, device.memory)).or_default() += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|((name, memory), count)| format!("{count} {name} ({})", gib(*memory)))
        .collect();
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARED: Rules = Rules {
        sharing: true,
        of_owner: None,
        in_all: None,
    };

    fn read(conf: &[(&str, &str)], rules: Rules) -> Result<Option<Ask>, Refused> {
        let conf = conf
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Ask::read(&conf, rules)
    }

    fn device(uuid: &str, name: &str, gib: u64) -> Device {
        Device {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            memory: gib << 30,
        }
    }

    proptest! {
        /// Any values are read or refused with a sentence; what is read can be weighed against a device.
        #[test]
        fn any_ask_is_read(
            values in prop::collection::hash_map(
                prop::sample::select(&[GPUS, MEMORY, TYPE, SPARK_AMOUNT][..]),
                r"[0-9]{0,22}(\.[0-9]{0,22})?[kKmMgGtT]?[iI]?[bB]?|-?[0-9]e[0-9]{0,4}|NaN|inf|.{0,12}",
                0..4,
            ),
            sharing: bool,
        ) {
            let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let rules = Rules { sharing, ..Rules::default() };
            let one = device("GPU-1", "H200", 141);
            match read(&values, rules) {
                Ok(Some(ask)) => {
                    prop_assert!(ask.devices() >= 1);
                    let _ = (ask.bytes_of(&one), ask.cost_of(&one));
                    let _ = ask.check(std::slice::from_ref(&one), rules);
                }
                Ok(None) => {}
                Err(refused) => prop_assert!(refused.to_string().len() < 600),
            }
        }
    }

    #[test]
    fn what_asks_for_nothing() {
        for conf in [
            &[][..],
            &[(GPUS, "0")],
            &[(SPARK_AMOUNT, "0")],
            &[("spark.x", "1")],
        ] {
            assert_eq!(read(conf, Rules::default()), Ok(None));
        }
    }

    #[test]
    fn amounts_and_memory() {
        let whole = read(&[(GPUS, "2"), (SPARK_AMOUNT, "2")], Rules::default())
            .unwrap()
            .unwrap();
        assert_eq!(
            (whole.thousandths, whole.devices(), whole.is_share()),
            (Some(2000), 2, false)
        );
        let half = read(&[(GPUS, " 0.5 ")], SHARED).unwrap().unwrap();
        assert!(half.is_share());
        assert_eq!(half.bytes_of(&device("GPU-1", "H200", 100)), Some(50 << 30));
        let by_memory = [(MEMORY, "20g")];
        let shared = read(&by_memory, SHARED).unwrap().unwrap();
        assert_eq!(shared.bytes_of(&device("GPU-1", "H200", 100)), Some(20 << 30));
        assert_eq!(shared.cost_of(&device("GPU-1", "H200", 100)), Some(200));
        let alone = read(&by_memory, Rules::default()).unwrap().unwrap();
        assert_eq!(alone.bytes_of(&device("GPU-1", "H200", 100)), Some(100 << 30));
        assert_eq!(alone.bytes_of(&device("GPU-1", "T4", 16)), None);
        let slices = read(&[(GPUS, "2")], Rules::default()).unwrap().unwrap();
        assert_eq!(slices.bytes_of(&device("MIG-1", "H200 MIG 3g.71gb", 71)), None);
    }

    #[test]
    fn bad_asks_name_the_key() {
        let devices = [
            device("GPU-1", "NVIDIA H200", 141),
            device("GPU-2", "NVIDIA H200", 141),
        ];
        let quota = Rules {
            of_owner: Some(WHOLE),
            ..Rules::default()
        };
        type Case<'a> = (&'a [(&'a str, &'a str)], Rules, &'a str, &'a str);
        let cases: &[Case<'_>] = &[
            (&[(GPUS, "-1")], Rules::default(), GPUS, "from 0 to 1000"),
            (&[(GPUS, "NaN")], Rules::default(), GPUS, "from 0 to 1000"),
            (&[(GPUS, "two")], Rules::default(), GPUS, "a number"),
            (&[(GPUS, "0.7")], Rules::default(), GPUS, "gpu.sharing"),
            (&[(GPUS, "1.5")], SHARED, GPUS, "whole ones"),
            (&[(GPUS, "0.0001")], SHARED, GPUS, "0.001"),
            (&[(SPARK_AMOUNT, "0.5")], SHARED, SPARK_AMOUNT, "whole"),
            (
                &[(GPUS, "99")],
                Rules::default(),
                GPUS,
                "2 NVIDIA H200 (141.0 GiB)",
            ),
            (&[(GPUS, "2")], quota, GPUS, "gpu.owner_limit"),
            (
                &[(GPUS, "1"), (SPARK_AMOUNT, "2")],
                Rules::default(),
                GPUS,
                SPARK_AMOUNT,
            ),
            (
                &[(GPUS, "0"), (TYPE, "H200")],
                Rules::default(),
                TYPE,
                "no GPU is asked for",
            ),
            (&[(TYPE, "B200")], Rules::default(), TYPE, "2 NVIDIA H200"),
            (&[(TYPE, " ")], Rules::default(), TYPE, "empty"),
            (&[(MEMORY, "lots")], Rules::default(), MEMORY, "20GiB"),
            (&[(MEMORY, "200GiB")], SHARED, MEMORY, "141.0 GiB"),
            (&[(GPUS, "0.5"), (MEMORY, "80g")], SHARED, MEMORY, "141.0 GiB"),
        ];
        for (conf, rules, key, words) in cases {
            let refused = read(conf, *rules)
                .and_then(|ask| ask.unwrap().check(&devices, *rules))
                .unwrap_err();
            assert_eq!(refused.key, *key, "{conf:?}: {refused}");
            assert!(refused.reason.contains(words), "{conf:?}: {refused}");
        }
        let none = read(&[(GPUS, "1")], Rules::default()).unwrap().unwrap();
        assert!(
            none.check(&[], Rules::default())
                .unwrap_err()
                .reason
                .contains("no GPU")
        );
    }
}
