//! Sessions of `exec` and `repl`: found or made, waited for, deleted.

use clap::Args;
use serde_json::{Value, json};

use super::address::{Collection, Place};
use super::backoff::Backoff;
use super::failure::Failure;
use super::http::Client;
use super::model::{self, Work};
use super::options::{Conf, Kind};
use super::screen::Screen;

/// A session that is made for a command ends so many seconds after nobody asks for it any more, even where the command was killed.
const HEARTBEAT_SECONDS: u32 = 300;

/// Which session code runs in.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// The language; pyspark, unless the session or the file's name says another.
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// A session by name or id. It is made where no session has the name, and stays.
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    #[command(flatten)]
    pub conf: Conf,
}

/// A session in use.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it is.
    pub place: Place,
    /// What its statements are, unless they say otherwise.
    pub kind: Kind,
    /// Made here and for nobody else: to be deleted.
    pub is_own: bool,
}

impl Session {
    /// The one that the choice names, or a new one; it may not be ready.
    ///
    /// # Errors
    /// There is none with that id, or none can be made.
    pub async fn open(choice: &Choice, kind: Option<Kind>, client: &Client) -> Result<Self, Failure> {
        let Some(name) = &choice.session else {
            return Self::make(choice, kind, client).await;
        };
        let place = Place {
            collection: Collection::Sessions,
            key: name.clone(),
        };
        let is_id = name.bytes().all(|byte| byte.is_ascii_digit());
        match client.get(&place.path()).await {
            Ok(view) => {
                let found: Work = model::read(view)?;
                if !found.is_ended() {
                    let own = found.kind.as_deref().and_then(Kind::named);
                    return Ok(Self {
                        place: Place::of(Collection::Sessions, found.id),
                        kind: kind.or(own).unwrap_or(Kind::Pyspark),
                        is_own: false,
                    });
                }
                if is_id {
                    return Err(Failure::Failed(format!(
                        "{place} has ended ({}): {}",
                        found.state,
                        found.last_words()
                    )));
                }
            }
            Err(Failure::NotFound(_)) if !is_id => {}
            Err(Failure::NotFound(_)) => {
                return Err(Failure::NotFound(format!(
                    "there is no {place}; a session is made for a name only"
                )));
            }
            Err(failure) => return Err(failure),
        }
        Self::make(choice, kind, client).await
    }

    async fn make(choice: &Choice, kind: Option<Kind>, client: &Client) -> Result<Self, Failure> {
        let kind = kind.unwrap_or(Kind::Pyspark);
        let mut body = json!({"kind": kind.as_str(), "conf": choice.conf.object()});
        match &choice.session {
            Some(name) => body["name"] = name.as_str().into(),
            None => body["heartbeatTimeoutInSecond"] = HEARTBEAT_SECONDS.into(),
        }
        let made: Work = model::read(client.post("/sessions", &body).await?.body)?;
        client.be_patient();
        Ok(Self {
            place: Place::of(Collection::Sessions, made.id),
            kind,
            is_own: choice.session.is_none(),
        })
    }

    /// Waits until it takes code.
    ///
    /// # Errors
    /// It has ended instead; the sentence says why.
    pub async fn ready(&self, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let mut backoff = Backoff::new();
        loop {
            let now: Work = model::read(client.get(&self.place.path()).await?)?;
            if matches!(now.state.as_str(), "idle" | "busy") {
                screen.clear();
                return Ok(());
            }
            if now.is_ended() {
                return Err(self.ended(&now));
            }
            screen.status(&format!("{} {}", self.place, now.state));
            backoff.pause().await;
        }
    }

    /// Whether it takes statements still.
    ///
    /// # Errors
    /// It has ended; the sentence says why.
    pub async fn is_open(&self, client: &Client) -> Result<(), Failure> {
        match client.get(&self.place.path()).await {
            Ok(view) => {
                let now: Work = model::read(view)?;
                if now.is_ended() {
                    return Err(self.ended(&now));
                }
                Ok(())
            }
            Err(Failure::NotFound(_)) => Err(Failure::NotFound(format!("{} was deleted", self.place))),
            Err(failure) => Err(failure),
        }
    }

    fn ended(&self, now: &Work) -> Failure {
        Failure::Failed(format!("{} is {}: {}", self.place, now.state, now.last_words()))
    }

    /// Deletes it where it was made for this command.
    pub async fn close(&self, client: &Client, screen: &Screen) {
        if !self.is_own {
            return;
        }
        if let Err(failure) = client.delete(&self.place.path()).await {
            let why = failure.sentence().unwrap_or_default();
            screen.note(&format!(
                "{} is left ({why}): `firesteel kill {}` ends it",
                self.place, self.place
            ));
        }
    }

    /// The path of something below it.
    pub fn path(&self, below: &str) -> String {
        format!("{}{below}", self.place.path())
    }

    /// A request's body with code in it.
    pub fn body(&self, code: &str) -> Value {
        json!({"code": code, "kind": self.kind.as_str()})
    }
}
