//! A warm driver becomes a session's: what is asked of its agent, and what it says.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::Driver;
use super::cgroup::Group;
use super::link::Frame;
use super::process::stand_back;
use serde_json::json;

/// How long the agent may take: Spark sets some keys, and nothing else runs in the driver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the kernel is asked to take a driver out of the background, and the pause that it wants in between.
const ASKED_AGAIN: usize = 20;
const ASK_AGAIN: Duration = Duration::from_millis(110);

/// What a session makes of a warm driver.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// `spark.app.name`.
    pub app_name: String,
    /// The session's kind.
    pub kind: String,
    /// Conf in which the session differs from what the driver was started with.
    pub conf: BTreeMap<String, String>,
    /// The most rows of a SQL result.
    pub sql_max_rows: usize,
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the session's; [`super::DriverEvent::Ready`] follows.
    Yes,
    /// A conf key can't be set any more; nothing has changed.
    Refused(String),
    /// It has ended, or does not answer, or could not say what is wrong: of no use to anybody.
    Lost,
}

impl Driver {
    /// Has a driver that was started in the background run as any other. The kernel may ask to be asked again a little later.
    pub async fn to_foreground(&self) {
        Group::of(&self.host.cgroups, &self.run_dir.id()).stand_back(0);
        let Some(keeper) = self.run_dir.named_keeper() else {
            return;
        };
        for _ in 0..ASKED_AGAIN {
            match stand_back(keeper.pid, 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(ASK_AGAIN).await
                }
                // Where there are no such groups it never was in the background.
                _ => return,
            }
        }
    }

    /// Makes a warm driver a session's.
    pub async fn claim(&self, claim: &Claim) -> Claimed {
        let fields = json!({
            "app_name": claim.app_name,
            "kind": claim.kind,
            "conf": claim.conf,
            "sql_max_rows": claim.sql_max_rows,
        });
        let asked = self.ask(Frame::new("claim", fields, ""));
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Some(answer)) => match answer.text("refused") {
                None => Claimed::Yes,
                Some("") => Claimed::Lost,
                Some(key) => Claimed::Refused(key.to_owned()),
            },
            _ => Claimed::Lost,
        }
    }
}
