//! Completion by the session: what may stand at the cursor, and which part of the line it takes the place of.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::client::http::Client;
use crate::client::model::{self, Candidates};
use crate::client::session::Session;

/// A key is not kept waiting for longer.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the session; nothing where it does not answer in time.
pub fn ask(session: &Session, client: &Client, runtime: &Handle, line: &str, at: usize) -> Vec<String> {
    let cursor = line.get(..at).map_or(0, |before| before.chars().count());
    let body = json!({"code": line, "kind": session.kind.as_str(), "cursor": cursor});
    let path = session.path("/completion");
    let asked = async { timeout(LIMIT, client.post_again(&path, &body)).await };
    let Ok(Ok(answer)) = runtime.block_on(asked) else {
        return Vec::new();
    };
    model::read::<Candidates>(answer).map_or_else(|_| Vec::new(), |found| found.candidates)
}

/// Where the word begins that candidates replace: the longest text before the cursor that all of them begin with.
pub fn word_start(before: &str, candidates: &[String]) -> usize {
    let begins = |start: usize| {
        let word = before[start..].to_lowercase();
        candidates
            .iter()
            .all(|candidate| candidate.to_lowercase().starts_with(&word))
    };
    let starts = before.char_indices().map(|(at, _)| at);
    starts.into_iter().find(|at| begins(*at)).unwrap_or(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(before: &str, candidates: &[&str]) -> usize {
        let candidates: Vec<String> = candidates.iter().map(|one| (*one).to_owned()).collect();
        word_start(before, &candidates)
    }

    #[test]
    fn the_word_before_the_cursor_is_replaced() {
        assert_eq!(start("spark.ra", &["range"]), 6);
        assert_eq!(start("é = pri", &["print", "private"]), 5);
        assert_eq!(start("d[\"ke", &["key 1", "key 2"]), 3);
        assert_eq!(start("f(", &["a=", "b="]), 2);
        assert_eq!(start("sel", &["SELECT"]), 0);
    }
}
