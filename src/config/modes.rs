//! The ways in which callers prove who they are, as `access.mode` lists them.

use std::fmt;
use std::ops::Deref;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::keys::AccessMode;
use super::values::{KeyType, Kind};

/// The word for no way at all.
const NONE: &str = "none";

/// The value of `access.mode`: ways, tried in this order. Empty, or the single word `none`: nobody is asked who calls.
/// One way may stand as a text, `"basic"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Modes(Vec<AccessMode>);

impl Modes {
    /// These ways, in this order.
    #[must_use]
    pub const fn of(modes: Vec<AccessMode>) -> Self {
        Self(modes)
    }

    /// Whether nobody is asked who calls.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for Modes {
    type Target = [AccessMode];

    fn deref(&self) -> &[AccessMode] {
        &self.0
    }
}

impl KeyType for Modes {
    const KIND: Kind = Kind::List;
}

impl<'de> Deserialize<'de> for Modes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> de::Visitor<'de> for Words {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a way to authenticate in quotes, such as \"basic\", or a list of such")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Vec<String>, E> {
                Ok(vec![word.to_owned()])
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, words: A) -> Result<Vec<String>, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(words))
            }
        }
        let words = deserializer.deserialize_any(Words)?;
        if words.iter().any(|word| word == NONE) {
            return match words.len() {
                1 => Ok(Self::default()),
                _ => Err(de::Error::custom("`none` stands alone")),
            };
        }
        let mut modes = Vec::with_capacity(words.len());
        for word in &words {
            let mode = AccessMode::deserialize(StrDeserializer::<D::Error>::new(word))?;
            if modes.contains(&mode) {
                return Err(de::Error::custom(format!("`{word}` is there twice")));
            }
            modes.push(mode);
        }
        Ok(Self(modes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Modes, String> {
        #[derive(Deserialize)]
        struct Table {
            mode: Modes,
        }
        let table: Result<Table, _> = toml::from_str(&format!("mode = {value}"));
        table
            .map(|table| table.mode)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn one_or_several() {
        assert_eq!(read("\"basic\""), Ok(Modes::of(vec![AccessMode::Basic])));
        assert_eq!(
            read("[\"token\", \"basic\"]"),
            Ok(Modes::of(vec![AccessMode::Token, AccessMode::Basic]))
        );
        for open in ["\"none\"", "[]", "[\"none\"]"] {
            assert!(read(open).is_ok_and(|modes| modes.is_open()), "{open}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(read("\"basics\"").is_err_and(|error| error.contains("unknown variant `basics`")));
        assert_eq!(
            read("[\"none\", \"basic\"]"),
            Err("`none` stands alone".to_owned())
        );
        assert_eq!(
            read("[\"basic\", \"basic\"]"),
            Err("`basic` is there twice".to_owned())
        );
        assert!(read("5").is_err());
    }
}
