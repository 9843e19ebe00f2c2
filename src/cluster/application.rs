//! An application as its cluster manager tells it, and what that means in Livy's words.

use serde::{Deserialize, Serialize};

/// The longest text that is kept of what a cluster manager says about an application, in characters.
const SAID_MAX: usize = 4000;
/// What YARN says on the way of every application.
const USUAL: &str = "waiting for AM container";
/// The longest sentence made of it.
const SENTENCE_MAX: usize = 500;

/// An application at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Its id, such as `application_1795898565022_0001`.
    pub id: String,
    /// Whose it is, as the cluster knows them.
    pub user: String,
    /// How far it has come.
    pub state: State,
    /// Where its log and UI are.
    pub links: Links,
    /// Whether it has ended by itself and told so, and has cleared up by then: with success or without.
    pub is_finished: bool,
    /// The pod that its driver runs in, where that is Kubernetes.
    pub place: Option<Place>,
    /// How its driver ended, where the cluster manager tells it.
    pub exit_code: Option<i32>,
    /// What the cluster manager says about it, its own first words on top.
    pub diagnostics: String,
    /// Whether that says more about its end than its log does, which knows nothing of it.
    pub is_decisive: bool,
}

/// A pod. Another one of the same name has another uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// The driver's container in it, once there is one.
    pub container: Option<String>,
}

/// Where people find an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The driver's log, as a page.
    pub driver_log: Option<String>,
    /// Spark's UI, or what is left of it.
    pub ui: Option<String>,
    /// The node that the driver runs on, as `HOST:PORT` of its web services.
    #[serde(skip)]
    pub node: Option<String>,
}

/// How far an application has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Accepted; nothing of it runs yet.
    #[default]
    Starting,
    /// Its driver runs, or is about to end.
    Running,
    /// It has ended.
    Ended(Outcome),
}

/// How an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Success,
    /// It failed.
    Dead,
    /// Somebody killed it.
    Killed,
}

impl State {
    /// YARN's two words in Livy's (livy-spec.md, 2.2). While YARN still says RUNNING nothing is final, whatever the application has
    /// said of itself by then.
    #[must_use]
    pub fn of_yarn(state: &str, final_status: &str) -> Self {
        match (state, final_status) {
            ("NEW" | "NEW_SAVING" | "SUBMITTED" | "ACCEPTED", _) => Self::Starting,
            ("RUNNING", _) => Self::Running,
            ("FINISHED", "SUCCEEDED") => Self::Ended(Outcome::Success),
            ("KILLED", "KILLED") => Self::Ended(Outcome::Killed),
            _ => Self::Ended(Outcome::Dead),
        }
    }
}

impl Application {
    /// How it ended; none while it lives.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended(outcome) => Some(outcome),
            State::Starting | State::Running => None,
        }
    }

    /// Whether both are one application, at two moments.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let uid = |this: &Self| this.place.as_ref().map(|place| place.uid.clone());
        self.id == other.id && uid(self) == uid(other)
    }

    /// What the cluster manager says about it, in a sentence without time stamps and figures that change; none where it says nothing.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        // Of an attempt that failed, its own diagnostics say more than the count of attempts before them.
        let said = self
            .diagnostics
            .split_once("Diagnostics: ")
            .map_or(&*self.diagnostics, |(_, own)| own);
        let said = without_stamp(said.trim());
        let said = said.split("Details :").next().unwrap_or_default();
        let line = said.lines().map(str::trim).find(|line| !line.is_empty())?;
        let line: String = line
            .chars()
            .filter(|character| !character.is_control())
            .take(SENTENCE_MAX)
            .collect();
        let end = if line.ends_with(['.', '!', '?']) { "" } else { "." };
        Some(format!("{line}{end}"))
    }

    /// Why nothing of it runs yet, as far as its cluster manager says more than it does of every application.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let said = self.sentence().filter(|said| !said.contains(USUAL))?;
        let manager = if self.place.is_some() {
            "Kubernetes"
        } else {
            "YARN"
        };
        Some(format!("{manager}: {said}"))
    }

    /// Cuts what the cluster manager says to what is kept of it.
    pub(super) fn shorten(text: &str) -> String {
        text.chars().take(SAID_MAX).collect()
    }
}

/// What follows a time stamp such as `[Sat Nov 28 20:00:00 +0000 2026]`.
fn without_stamp(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((stamp, rest)) if stamp.contains(':') => rest.trim(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarns_words_are_livys() {
        for (state, status, expected) in [
            ("NEW", "UNDEFINED", State::Starting),
            ("NEW_SAVING", "UNDEFINED", State::Starting),
            ("SUBMITTED", "UNDEFINED", State::Starting),
            ("ACCEPTED", "UNDEFINED", State::Starting),
            ("RUNNING", "UNDEFINED", State::Running),
            ("RUNNING", "SUCCEEDED", State::Running),
            ("RUNNING", "FAILED", State::Running),
            ("FINISHED", "SUCCEEDED", State::Ended(Outcome::Success)),
            ("FINISHED", "FAILED", State::Ended(Outcome::Dead)),
            ("FINISHED", "KILLED", State::Ended(Outcome::Dead)),
            ("FINISHED", "UNDEFINED", State::Ended(Outcome::Dead)),
            ("FAILED", "FAILED", State::Ended(Outcome::Dead)),
            ("KILLED", "KILLED", State::Ended(Outcome::Killed)),
            ("KILLED", "UNDEFINED", State::Ended(Outcome::Dead)),
            ("", "", State::Ended(Outcome::Dead)),
        ] {
            assert_eq!(State::of_yarn(state, status), expected, "{state} {status}");
        }
    }

    #[test]
    fn what_is_said_becomes_a_sentence() {
        let sentence = |text: &str| {
            let application = Application {
                diagnostics: text.to_owned(),
                ..Application::default()
            };
            application.sentence()
        };
        assert_eq!(
            sentence(
                "[Sat Nov 28 20:00:00 +0000 2026] Application is added to the scheduler and is not yet activated. Queue's \
                 AM resource limit exceeded.  Details : AM Partition = <DEFAULT_PARTITION>; AM Resource Request = <memory:1>"
            )
            .as_deref(),
            Some(
                "Application is added to the scheduler and is not yet activated. Queue's AM resource limit exceeded."
            )
        );
        assert_eq!(
            sentence("\n  User application exited\nmore").as_deref(),
            Some("User application exited.")
        );
        assert_eq!(
            sentence(
                "Application application_1_2 failed 1 times (global limit =2; local limit is =1) due to AM Container for appattempt_1 \
                 exited with  exitCode: -1000\nFailing this attempt.Diagnostics: [2026-11-28 21:01:44.609]No space available.\nFor more"
            )
            .as_deref(),
            Some("No space available.")
        );
        assert_eq!(sentence("[2] x").as_deref(), Some("[2] x."));
        assert_eq!(sentence(" \n "), None);
    }
}
