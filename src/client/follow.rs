//! Follows a log, stream by stream, as the server lays it out: `stdout: `, its lines, `\nstderr: `, its lines, and what the server adds
//! under a third heading. No line of a stream can hold a line feed, so headings are known by theirs.

use super::address::Place;
use super::failure::Failure;
use super::http::Client;
use super::model::{self, LogPage};
use super::tail::Stream;

const STDOUT: &str = "stdout: ";
const STDERR: &str = "\nstderr: ";
/// Lines asked for at once.
const PAGE: usize = 500;
/// All of a log.
const WHOLE: usize = i32::MAX as usize;
/// Looks at which a stream is not where it was before all of the log is read to find it.
const PATIENCE: u32 = 3;

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The application's standard output.
    Stdout,
    /// Its standard error.
    Stderr,
    /// The server, about it.
    Server,
}

const ORIGINS: [Origin; 3] = [Origin::Stdout, Origin::Stderr, Origin::Server];

/// A log as far as it has been read.
#[derive(Debug)]
pub struct Follower<'a> {
    client: &'a Client,
    path: String,
    streams: [Stream; 3],
    misses: u32,
}

impl<'a> Follower<'a> {
    /// From the beginning.
    pub fn new(client: &'a Client, place: &Place) -> Self {
        Self {
            client,
            path: format!("{}/log", place.path()),
            streams: Default::default(),
            misses: 0,
        }
    }

    /// Gives `print` what is new; true when there was something. Cancelling it loses no line.
    ///
    /// # Errors
    /// The server's, and those of `print`.
    pub async fn look(
        &mut self,
        mut print: impl FnMut(Origin, &str) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let mut heading = STDOUT.to_owned();
        let mut at = 0;
        let mut news = false;
        for index in 0..ORIGINS.len() {
            match self.look_at(index, &heading, at, &mut print).await? {
                Seen::Stream { next, printed } => {
                    news |= printed;
                    let Some((next_heading, next_at)) = next else {
                        self.misses = 0;
                        return Ok(news);
                    };
                    (heading, at) = (next_heading, next_at);
                }
                Seen::Moved => {
                    self.misses += 1;
                    if self.misses >= PATIENCE {
                        news |= self.find(false, &mut print).await?.0;
                    }
                    return Ok(news);
                }
            }
        }
        Ok(news)
    }

    /// Gives `print` the rest of a log that has ended, and the sentence that explains the end, where there is one.
    ///
    /// # Errors
    /// The server's, and those of `print`.
    pub async fn finish(
        &mut self,
        mut print: impl FnMut(Origin, &str) -> Result<(), Failure>,
    ) -> Result<Option<String>, Failure> {
        Ok(self.find(true, &mut print).await?.1)
    }

    /// Reads one stream on, whose heading is the log's line `at`.
    async fn look_at(
        &mut self,
        index: usize,
        heading: &str,
        at: usize,
        print: &mut impl FnMut(Origin, &str) -> Result<(), Failure>,
    ) -> Result<Seen, Failure> {
        let mut printed = false;
        loop {
            let stream = &mut self.streams[index];
            let from = at + stream.count();
            let page = page(self.client, &self.path, from, PAGE).await?;
            let mut lines = page.log.into_iter();
            let Some(before) = lines.next() else {
                return Ok(Seen::Moved);
            };
            match stream.fits(heading, &before) {
                None => return Ok(Seen::Moved),
                Some(None) => {}
                Some(Some(rest)) => {
                    stream.grown(&before);
                    print(ORIGINS[index], &rest)?;
                }
            }
            let lines: Vec<String> = lines.collect();
            let after = from + 1;
            let next = lines.iter().position(|line| line.starts_with('\n'));
            let is_end = next.is_some() || after + lines.len() >= page.total;
            let next = next.map(|next| (lines[next].clone(), after + next));
            let own = next.as_ref().map_or(lines.len(), |(_, at)| at - after);
            let new = stream.take(lines[..own].to_vec(), is_end, false);
            printed |= !new.is_empty();
            for line in new {
                print(ORIGINS[index], &line)?;
            }
            if is_end {
                return Ok(Seen::Stream { next, printed });
            }
        }
    }

    /// Reads all of the log; finds in it what has been given out already.
    async fn find(
        &mut self,
        is_final: bool,
        print: &mut impl FnMut(Origin, &str) -> Result<(), Failure>,
    ) -> Result<(bool, Option<String>), Failure> {
        self.misses = 0;
        let whole = page(self.client, &self.path, 0, WHOLE).await?.log;
        let (mut streams, diagnosis) = split(whole);
        if let Some(sentence) = &diagnosis {
            // The server's last note says the same.
            streams[2].retain(|line| !line.ends_with(sentence.as_str()));
        }
        let mut news = false;
        for (index, lines) in streams.into_iter().enumerate() {
            for line in self.streams[index].find(lines, is_final) {
                news = true;
                print(ORIGINS[index], &line)?;
            }
        }
        Ok((news, diagnosis))
    }
}

enum Seen {
    Stream {
        /// The heading that follows, and its line.
        next: Option<(String, usize)>,
        printed: bool,
    },
    /// The stream is not where it was.
    Moved,
}

async fn page(client: &Client, path: &str, from: usize, size: usize) -> Result<LogPage, Failure> {
    let page = client.get(&format!("{path}?from={from}&size={size}")).await?;
    model::read(page)
}

/// The streams of a whole log, and the sentence that stands first and last once it has ended.
fn split(mut whole: Vec<String>) -> ([Vec<String>; 3], Option<String>) {
    let has_sentence = whole.len() > 2 && whole[0] != STDOUT && whole[1] == STDOUT;
    let diagnosis = has_sentence.then(|| whole.remove(0));
    if diagnosis.is_some() && whole.last() == diagnosis.as_ref() {
        whole.pop();
    }
    let mut streams: [Vec<String>; 3] = Default::default();
    let mut index = 0;
    for line in whole {
        match line.as_str() {
            STDOUT if index == 0 && streams[0].is_empty() => {}
            STDERR => index = 1,
            other if other.starts_with('\n') => index = 2,
            _ => streams[index].push(line),
        }
    }
    (streams, diagnosis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_log_is_told_apart() {
        let whole = lines(&[
            "It died.",
            STDOUT,
            "a",
            STDERR,
            "b",
            "",
            "\nFiresteel: ",
            "c",
            "It died.",
        ]);
        let (streams, sentence) = split(whole);
        assert_eq!(streams, [lines(&["a"]), lines(&["b", ""]), lines(&["c"])]);
        assert_eq!(sentence.as_deref(), Some("It died."));
        let (streams, sentence) = split(lines(&[STDOUT, STDERR, "x"]));
        assert_eq!(streams, [lines(&[]), lines(&["x"]), lines(&[])]);
        assert_eq!(sentence, None);
    }
}
