//! Pauses between looks: short at first, a second at most.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

/// The next pause.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    /// Begins with the shortest.
    pub fn new() -> Self {
        Self(FIRST)
    }

    /// Something happened: look again soon.
    pub fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// This pause; the next one is longer.
    pub fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 3 / 2).min(LONGEST);
        now
    }

    /// Waits.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}
