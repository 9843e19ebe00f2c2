//! What a session's driver may collect: `spark.driver.maxResultSize` and its like, below what its memory can hold, so that collecting too
//! much is Spark's own error and not the driver's death. Pure functions.

use std::collections::BTreeMap;

use bytesize::ByteSize;

const MEMORY: &str = "spark.driver.memory";
/// Spark's default of it.
const USUAL_MEMORY: &str = "1g";
const MIB: u64 = 1 << 20;

/// The keys that are bounded, each with Spark's default.
const BOUNDED: [(&str, &str); 2] = [
    ("spark.driver.maxResultSize", "1g"),
    // A table that is broadcast is collected first. Spark 3 has no such key and takes no notice.
    ("spark.sql.maxBroadcastTableSize", "8g"),
];

/// Lowers what is over `percent` of the driver's memory; a sentence for each key that the conf had higher. 0 percent changes nothing,
/// and so does a memory that Spark itself will not take.
pub(super) fn bound(conf: &mut BTreeMap<String, String>, percent: u64) -> Vec<String> {
    let memory = conf.get(MEMORY).map_or(USUAL_MEMORY, String::as_str).to_owned();
    let Some(bytes) = memory_bytes(&memory).filter(|_| percent > 0) else {
        return Vec::new();
    };
    let most = (bytes.saturating_mul(percent) / 100 / MIB).max(1) * MIB;
    let mut lowered = Vec::new();
    for (key, usual) in BOUNDED {
        let asked = conf.get(key);
        // Spark takes 0 for no limit at all.
        let within =
            size(asked.map_or(usual, String::as_str), 1).is_some_and(|size| (1..=most).contains(&size));
        if within {
            continue;
        }
        if let Some(asked) = asked {
            lowered.push(format!(
                "{key} is {} and not {asked}: driver.max_result_percent is {percent}, and {MEMORY} is {memory}.",
                ByteSize::b(most).display().iec()
            ));
        }
        conf.insert(key.to_owned(), format!("{}m", most / MIB));
    }
    lowered
}

/// The bytes of a driver's memory as Spark's keys have it; without a unit it counts MiB. None where Spark would refuse it.
#[must_use]
pub fn memory_bytes(text: &str) -> Option<u64> {
    size(text, MIB)
}

/// A size as Spark writes it: `512m`, `1g`, `2gb`; without a unit it counts `unit`s. None where Spark would refuse it.
fn size(text: &str, unit: u64) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit = match suffix {
        "" => unit,
        "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => MIB,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        "p" | "pb" => 1 << 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(given: &[(&str, &str)], percent: u64) -> (BTreeMap<String, String>, Vec<String>) {
        let mut conf = given
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let lowered = bound(&mut conf, percent);
        (conf, lowered)
    }

    #[test]
    fn the_limit_is_a_share_of_the_memory() {
        for (memory, limit) in [("1g", "256m"), ("512m", "128m"), ("2048", "512m"), ("1m", "1m")] {
            let (conf, lowered) = bounded(&[(MEMORY, memory)], 25);
            assert_eq!(conf["spark.driver.maxResultSize"], limit, "{memory}");
            assert_eq!(lowered, [""; 0]);
        }
        let (conf, _) = bounded(&[], 25);
        assert_eq!(conf["spark.driver.maxResultSize"], "256m");
        assert_eq!(conf["spark.sql.maxBroadcastTableSize"], "256m");
    }

    #[test]
    fn a_lower_one_stays_and_a_higher_one_is_lowered_and_told() {
        let (conf, lowered) = bounded(&[("spark.driver.maxResultSize", "10m")], 25);
        assert_eq!(conf["spark.driver.maxResultSize"], "10m");
        assert_eq!(lowered, [""; 0]);
        for asked in ["2g", "0", "nonsense"] {
            let (conf, lowered) = bounded(&[("spark.driver.maxResultSize", asked)], 25);
            assert_eq!(conf["spark.driver.maxResultSize"], "256m");
            assert!(lowered[0].contains(asked), "{lowered:?}");
        }
    }

    #[test]
    fn sparks_own_default_is_not_raised() {
        let (conf, _) = bounded(&[(MEMORY, "16g")], 25);
        assert_eq!(conf.get("spark.driver.maxResultSize"), None);
    }

    #[test]
    fn nothing_is_changed_where_nothing_is_wanted_or_known() {
        for (memory, percent) in [("1g", 0), ("1.5g", 25), ("lots", 25)] {
            let (conf, lowered) = bounded(&[(MEMORY, memory)], percent);
            assert_eq!((conf.len(), lowered.len()), (1, 0), "{memory}");
        }
    }
}
