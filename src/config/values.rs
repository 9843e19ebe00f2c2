//! The types of configuration values: durations and sizes with their units, tables of texts, and what each type is called
//! on the reference page.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest duration that a key takes: ten years, so that adding one to a clock can't overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The greatest size that a key takes, 1 PiB, so that sums of a few can't overflow.
const LARGEST: u64 = 1 << 50;

/// What a key holds, for the reference page and for reading the environment and `--set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A duration with its unit.
    Duration,
    /// A number of bytes with its unit.
    Size,
    /// A list of texts.
    List,
    /// A table of texts; the keys are the administrator's.
    Map,
    /// A table of lists of texts; the keys are the administrator's.
    ListMap,
    /// One of a few words.
    Choice(&'static [&'static str]),
}

/// A type that a configuration key may have.
pub trait KeyType {
    /// What the type holds.
    const KIND: Kind;
}

macro_rules! kinds {
    ($($ty:ty => $kind:ident),+ $(,)?) => { $(impl KeyType for $ty { const KIND: Kind = Kind::$kind; })+ };
}

kinds! {
    bool => Flag, u32 => Integer, u64 => Integer, usize => Integer, i32 => Integer, f64 => Number, String => Text, PathBuf => Text,
    Listen => Text, Span => Duration, Size => Size, Vec<String> => List, Vec<PathBuf> => List, TextMap => Map,
    ListMap => ListMap,
}

/// A duration written with its unit: `"10m"`, `"1h 30m"`, `"250ms"`, `"0s"`; ten years at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The duration, or `None` for `"0s"`, which many keys take for "never".
    #[must_use]
    pub const fn positive(self) -> Option<Duration> {
        if self.0.is_zero() { None } else { Some(self.0) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.contains(|c: char| c.is_ascii_alphabetic());
        match humantime::parse_duration(text) {
            Ok(duration) if unit && duration <= LONGEST => Ok(Self(duration)),
            Ok(_) if unit => Err(format!("the duration {text:?} is longer than ten years")),
            _ => Err(format!(
                "{text:?} is no duration: a number and its unit, such as \"10m\" or \"250ms\""
            )),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes written with its unit: `"16MiB"`, `"1.5GiB"`, `"500kB"`; 1 PiB at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes, for buffers: at most what memory can address.
    #[must_use]
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is 0 bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text == "0" || text.contains(|c: char| c.is_ascii_alphabetic());
        match text.parse::<ByteSize>() {
            Ok(size) if unit && size.as_u64() <= LARGEST => Ok(Self(size.as_u64())),
            Ok(_) if unit => Err(format!("the size {text:?} is over 1 PiB")),
            _ => Err(format!(
                "{text:?} is no size: a number and its unit, such as \"16MiB\" or \"500kB\""
            )),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let fits = |shift: &u32| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match units.iter().find(|(shift, _)| fits(shift)) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// The address and port that the server listens on: `"127.0.0.1:8998"`, `"[::]:8998"`, `"localhost:8998"` (127.0.0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Deref for Listen {
    type Target = SocketAddr;

    fn deref(&self) -> &SocketAddr {
        &self.0
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let reason =
            || format!("{text:?} is no address with a port, such as \"127.0.0.1:8998\" or \"[::1]:8998\"");
        numeric.parse().map(Self).map_err(|_| reason())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! as_text {
    ($($ty:ty: $what:literal),+) => { $(
        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $ty;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$ty, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )+ };
}

as_text! {
    Span: "a duration with its unit in quotes, such as \"10m\"",
    Size: "a size with its unit in quotes, such as \"16MiB\"",
    Listen: "an address with a port in quotes, such as \"127.0.0.1:8998\""
}

/// A table of texts whose keys are the administrator's, such as `spark.conf`. Numbers and flags count as their text, and
/// tables inside it as dotted keys: `spark.executor.memory = "2g"` needs no quotes around its key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct TextMap(pub BTreeMap<String, String>);

impl Deref for TextMap {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        flatten(&table).map(Self).map_err(D::Error::custom)
    }
}

/// A table of lists of texts whose keys are the administrator's. Numbers and flags count as their text, a text as a list of it, and
/// tables inside it as dotted keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct ListMap(pub BTreeMap<String, Vec<String>>);

impl Deref for ListMap {
    type Target = BTreeMap<String, Vec<String>>;

    fn deref(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ListMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let mut lists = BTreeMap::new();
        lists_into(&table, "", &mut lists).map_err(D::Error::custom)?;
        Ok(Self(lists))
    }
}

fn lists_into(
    table: &toml::Table,
    prefix: &str,
    lists: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    let text = |key: &str, value: &toml::Value| match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            Err(format!("the list of {key} has something else than texts"))
        }
        other => Ok(other.to_string()),
    };
    for (name, value) in table {
        let key = dotted(prefix, name);
        let list = match value {
            toml::Value::Table(inner) => {
                lists_into(inner, &key, lists)?;
                continue;
            }
            toml::Value::Array(items) => items.iter().map(|item| text(&key, item)).collect(),
            value => text(&key, value).map(|text| vec![text]),
        };
        if lists.insert(key.clone(), list?).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(())
}

fn dotted(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// Makes one level of a table of texts: nested tables become dotted keys. Refuses lists, and a key written twice.
pub(super) fn flatten(table: &toml::Table) -> Result<BTreeMap<String, String>, String> {
    let mut flat = BTreeMap::new();
    flatten_into(table, "", &mut flat)?;
    Ok(flat)
}

fn flatten_into(
    table: &toml::Table,
    prefix: &str,
    flat: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in table {
        let key = dotted(prefix, name);
        let text = match value {
            toml::Value::Table(inner) => {
                flatten_into(inner, &key, flat)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(_) => return Err(format!("the value of {key} is a list; it must be a text")),
            other => other.to_string(),
        };
        if flat.insert(key.clone(), text).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(())
}
