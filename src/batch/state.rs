//! A batch's states, in Livy's words.

use std::fmt;

/// A batch's state. The words are Livy's; a batch is never `recovering`, which Airflow does not know (clients.md, W5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// Accepted; it is queued, or its driver is being launched.
    Starting,
    /// Its driver was launched.
    Running,
    /// The application exited with 0.
    Success,
    /// The application failed, or could not be started.
    Dead,
    /// It was ended on purpose before its end.
    Killed,
}

impl BatchState {
    /// Livy's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Dead => "dead",
            Self::Killed => "killed",
        }
    }

    /// The state with this word; none for a word that no server writes.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [
            Self::Starting,
            Self::Running,
            Self::Success,
            Self::Dead,
            Self::Killed,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }

    /// True when nothing of it runs any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Starting | Self::Running)
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
