//! How sessions and batches are named on the command line: `session/7`, `batch/3`, `session/NAME`, `batch/NAME`, or a name alone.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::Failure;
use super::http::Client;

/// One of the two collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// `/sessions`.
    Sessions,
    /// `/batches`.
    Batches,
}

impl Collection {
    /// The collection's path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Sessions => "/sessions",
            Self::Batches => "/batches",
        }
    }

    /// One of it, as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sessions => "session",
            Self::Batches => "batch",
        }
    }
}

/// One session or batch, by its id or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the two.
    pub collection: Collection,
    /// An id or a name.
    pub key: String,
}

impl Place {
    /// By its id.
    pub fn of(collection: Collection, id: i64) -> Self {
        let key = id.to_string();
        Self { collection, key }
    }

    /// The resource's path.
    pub fn path(&self) -> String {
        let key = utf8_percent_encode(&self.key, NON_ALPHANUMERIC);
        format!("{}/{key}", self.collection.path())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.collection.word(), self.key)
    }
}

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// It says which of the two.
    Place(Place),
    /// A name that either may have.
    Name(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = |collection, key: &str| {
            let key = key.to_owned();
            match key.is_empty() {
                true => Err("an id or a name is needed after the slash, such as session/7".to_owned()),
                false => Ok(Self::Place(Place { collection, key })),
            }
        };
        match text.split_once('/') {
            Some(("session" | "sessions", key)) => place(Collection::Sessions, key),
            Some(("batch" | "batches", key)) => place(Collection::Batches, key),
            _ if text.is_empty() => Err("an id or a name is needed, such as session/7".to_owned()),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Err(format!(
                "sessions and batches are counted apart: say session/{text} or batch/{text}"
            )),
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl Address {
    /// Finds it: its place by id, and the server's view.
    ///
    /// # Errors
    /// There is none, or a session and a batch both have the name.
    pub async fn find(&self, client: &Client) -> Result<(Place, Value), Failure> {
        let at = |collection| {
            let key = match self {
                Self::Place(place) => &place.key,
                Self::Name(name) => name,
            };
            Place {
                collection,
                key: key.clone(),
            }
        };
        let found = match self {
            Self::Place(place) => vec![look(client, place).await?],
            Self::Name(_) => vec![
                look(client, &at(Collection::Sessions)).await?,
                look(client, &at(Collection::Batches)).await?,
            ],
        };
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        match (found.pop(), found.pop(), self) {
            (Some(one), None, _) => Ok(one),
            (Some(_), Some(_), _) => Err(Failure::Usage(format!(
                "a session and a batch have that name: say {} or {}",
                at(Collection::Sessions),
                at(Collection::Batches)
            ))),
            (None, _, Self::Place(place)) => Err(Failure::NotFound(format!(
                "there is no {place}; `firesteel ls --all` lists what there is"
            ))),
            (None, _, Self::Name(name)) => Err(Failure::NotFound(format!(
                "no session or batch has the name {name:?}; `firesteel ls --all` lists what there is"
            ))),
        }
    }
}

async fn look(client: &Client, place: &Place) -> Result<Option<(Place, Value)>, Failure> {
    match client.get(&place.path()).await {
        Ok(view) => {
            let id = view.get("id").and_then(Value::as_i64);
            let exact = id.map_or_else(|| place.clone(), |id| Place::of(place.collection, id));
            Ok(Some((exact, view)))
        }
        Err(Failure::NotFound(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(collection: Collection, key: &str) -> Address {
        let key = key.to_owned();
        Address::Place(Place { collection, key })
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!("session/7".parse(), Ok(place(Collection::Sessions, "7")));
        assert_eq!("batch/etl".parse(), Ok(place(Collection::Batches, "etl")));
        assert_eq!("batches/a/b".parse(), Ok(place(Collection::Batches, "a/b")));
        assert_eq!("etl".parse(), Ok(Address::Name("etl".to_owned())));
        assert_eq!("x/y".parse(), Ok(Address::Name("x/y".to_owned())));
        for wrong in ["", "7", "session/"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_one_segment_of_a_path() {
        let Ok(Address::Place(place)) = "session/a/../b?c é".parse() else {
            panic!("a place")
        };
        assert_eq!(place.path(), "/sessions/a%2F%2E%2E%2Fb%3Fc%20%C3%A9");
        assert_eq!(place.to_string(), "session/a/../b?c é");
    }
}
