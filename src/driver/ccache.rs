//! Kerberos credential caches: how `kinit` is asked to fill one from a keytab, and what a file of one holds.
//!
//! Called by `launch_ticket` and `user_ticket`; calls `run_dir` for reading. The format is MIT's, version 4
//! (<https://web.mit.edu/kerberos/krb5-latest/doc/formats/ccache_file_format.html>).

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::run_dir::read_plain;
use crate::clock::now_ms;

/// The version of the format, as the first two bytes.
const VERSION: u16 = 0x0504;
/// The program, looked for on PATH.
pub(super) const KINIT: &str = "kinit";
/// The bytes that are kept of what `kinit` says.
const SAID: usize = 1024;
/// The variables of the server's that `kinit` gets.
const PASSED: [&str; 3] = ["PATH", "KRB5_CONFIG", "LD_LIBRARY_PATH"];
/// Bits of a mode that let others than the owner read.
const OTHERS_READ: u32 = 0o044;

/// What a cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Whose tickets they are.
    pub principal: String,
    /// When the ticket-granting ticket ends, in epoch milliseconds.
    pub ends_ms: i64,
}

impl Held {
    /// How long the ticket is still good for.
    pub(super) fn left(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.ends_ms.saturating_sub(now_ms())).unwrap_or(0))
    }

    /// How long after now the next one is got: three quarters of its life, `most` at most, a second at least.
    pub(super) fn renew_after(&self, most: Duration) -> Duration {
        (self.left() / 4 * 3).min(most).max(Duration::from_secs(1))
    }
}

/// The argument vector that puts a ticket of a keytab's into a cache. A keytab's path is no secret.
pub(super) fn kinit(keytab: &str, principal: &str, cache: &str) -> Vec<String> {
    let words = [KINIT, "-k", "-t", keytab, "-c", cache, principal];
    words.map(str::to_owned).to_vec()
}

/// The whole environment of `kinit`.
pub(super) fn environment() -> BTreeMap<String, String> {
    let passed = PASSED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    passed.chain([("LC_ALL".to_owned(), "C".to_owned())]).collect()
}

/// Why a keytab can't be used, as far as its file tells; the second is what is wrong with it though it can be used.
///
/// # Errors
/// It can't be read: a sentence.
pub(super) fn look_at_keytab(keytab: &Path) -> Result<Option<String>, String> {
    let name = keytab.display();
    let file = std::fs::File::open(keytab).map_err(|error| format!("{name} can't be read: {error}"))?;
    let data = file.metadata().map_err(|error| format!("{name}: {error}"))?;
    if !data.is_file() {
        return Err(format!("{name} is no file"));
    }
    Ok((data.mode() & OTHERS_READ != 0).then(|| {
        format!(
            "{name} can be read by other users of this host, who can so be its principal: chmod 600 {name}"
        )
    }))
}

/// What a cache file holds; none where it is not there, or has no ticket-granting ticket.
pub(super) fn read(path: &Path) -> Option<Held> {
    parse(&read_plain(path).ok()?)
}

/// Waits for the end of `kinit`, whose standard error is a pipe, at most `limit`; then it is killed. What it said, and whether it ended well, which nobody
/// knows where somebody else has waited for it.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Result<String, String> {
    let until = Instant::now() + limit;
    let mut said = Vec::new();
    let mut in_time = true;
    if let Some(mut pipe) = child.stderr.take() {
        let mut buffer = [0; SAID];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => in_time = false,
                Err(Errno::EINTR) => continue,
                _ => {}
            }
            if !in_time {
                break;
            }
            match pipe.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    let room = SAID.saturating_sub(said.len());
                    said.extend_from_slice(&buffer[..count.min(room)]);
                }
            }
        }
    }
    if !in_time {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Err(too_slow(limit));
    }
    let is_well = child.wait().map_or(true, |status| status.success());
    let said = first_line(&said);
    match is_well {
        true => Ok(said),
        false => Err(said),
    }
}

pub(super) fn too_slow(limit: Duration) -> String {
    format!("{KINIT} did not end within {limit:?} (hadoop.kinit_timeout)")
}

/// What `kinit` says, as far as one line goes.
pub(super) fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line: String = line
        .unwrap_or("kinit left no ticket, and did not say why")
        .chars()
        .filter(|c| !c.is_control())
        .take(SAID)
        .collect();
    line
}

/// Puts a cache that `kinit` has filled into the place of the one before, in one step, so that nobody finds half of one.
///
/// # Errors
/// It holds no ticket that is good now, or the disk says no: a sentence, `said` where it is about nothing else.
pub(super) fn put(fresh: &Path, cache: &Path, said: &str) -> Result<Held, String> {
    let held = read(fresh).ok_or_else(|| said.to_owned())?;
    if held.left().is_zero() {
        return Err(
            "the ticket has ended already: are the clocks of this host and of the KDC alike?".to_owned(),
        );
    }
    std::fs::rename(fresh, cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    Ok(held)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// `a/b@REALM`.
    fn principal(&mut self) -> Option<String> {
        let _kind = self.number()?;
        let count = self.number()?;
        let realm = String::from_utf8_lossy(self.data()?);
        let mut name = String::new();
        for at in 0..count {
            if at > 0 {
                name.push('/');
            }
            name.push_str(&String::from_utf8_lossy(self.data()?));
        }
        Some(format!("{name}@{realm}"))
    }

    fn list(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            self.short()?;
            self.data()?;
        }
        Some(())
    }

    /// A ticket: for which service, and until when, in epoch seconds.
    fn credential(&mut self) -> Option<(String, u32)> {
        let _client = self.principal()?;
        let service = self.principal()?;
        let _kind_of_key = self.short()?;
        let _key = self.data()?;
        let [_at, _from, until, _renewable] =
            [self.number()?, self.number()?, self.number()?, self.number()?];
        // Whether the key is of another ticket, then the flags.
        self.take(1 + 4)?;
        // Addresses, and what the ticket allows.
        self.list()?;
        self.list()?;
        let (_ticket, _second) = (self.data()?, self.data()?);
        Some((service, until))
    }
}

fn parse(bytes: &[u8]) -> Option<Held> {
    let mut reader = Reader(bytes);
    if reader.short()? != VERSION {
        return None;
    }
    let header = reader.short()?;
    reader.take(header.into())?;
    let principal = reader.principal()?;
    let (_, realm) = principal.rsplit_once('@')?;
    let granting = format!("krbtgt/{realm}@{realm}");
    while !reader.0.is_empty() {
        let (service, until) = reader.credential()?;
        if service == granting {
            let ends_ms = i64::from(until) * 1000;
            return Some(Held { principal, ends_ms });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(out: &mut Vec<u8>, text: &str) {
        out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        out.extend(text.as_bytes());
    }

    fn principal(out: &mut Vec<u8>, parts: &[&str], realm: &str) {
        out.extend(1_u32.to_be_bytes());
        out.extend(u32::try_from(parts.len()).unwrap().to_be_bytes());
        data(out, realm);
        for part in parts {
            data(out, part);
        }
    }

    fn credential(out: &mut Vec<u8>, service: &[&str], realm: &str, until: u32) {
        principal(out, &["firesteel", "host"], "E.TEST");
        principal(out, service, realm);
        out.extend(18_u16.to_be_bytes());
        data(out, "key");
        for time in [1, 1, until, 0] {
            out.extend(time.to_be_bytes());
        }
        out.extend([0; 5]);
        out.extend(1_u32.to_be_bytes());
        out.extend(2_u16.to_be_bytes());
        data(out, "addr");
        out.extend(0_u32.to_be_bytes());
        data(out, "ticket");
        data(out, "");
    }

    fn cache(until: u32) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        out.extend(12_u16.to_be_bytes());
        out.extend([0; 12]);
        principal(&mut out, &["firesteel", "host"], "E.TEST");
        // kinit notes there what the KDC can do.
        credential(
            &mut out,
            &["krb5_ccache_conf_data", "fast_avail"],
            "X-CACHECONF:",
            0,
        );
        credential(&mut out, &["krbtgt", "E.TEST"], "E.TEST", until);
        out
    }

    #[test]
    fn the_granting_ticket_is_found() {
        let expected = Held {
            principal: "firesteel/host@E.TEST".to_owned(),
            ends_ms: 4_000_000_000_000,
        };
        assert_eq!(parse(&cache(4_000_000_000)), Some(expected.clone()));
        assert!(expected.left() > Duration::from_secs(1000));
        assert_eq!(
            expected.renew_after(Duration::from_secs(60)),
            Duration::from_secs(60)
        );
        let whole = cache(7);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert!(parse(&whole).unwrap().left().is_zero());
        assert_eq!(parse(&[5, 3]), None);
    }

    #[test]
    fn only_a_good_ticket_takes_the_place_of_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let (fresh, old) = (home.path().join("new"), home.path().join("old"));
        std::fs::write(&old, "kept").unwrap();
        assert_eq!(put(&fresh, &old, "why").unwrap_err(), "why");
        std::fs::write(&fresh, cache(7)).unwrap();
        assert!(put(&fresh, &old, "why").unwrap_err().contains("clocks"));
        assert_eq!(std::fs::read(&old).unwrap(), b"kept");
        std::fs::write(&fresh, cache(u32::MAX)).unwrap();
        put(&fresh, &old, "why").unwrap();
        assert!(read(&old).is_some() && !fresh.exists());
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let start = |program: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", program]).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let limit = Duration::from_millis(100);
        let slow = wait(&mut start("exec sleep 1000000"), limit);
        assert!(slow.unwrap_err().contains("hadoop.kinit_timeout"));
        let limit = Duration::from_secs(60);
        let wrong = wait(&mut start("echo; echo no key >&2; exit 1"), limit);
        assert_eq!(wrong.unwrap_err(), "no key");
        assert!(wait(&mut start("true"), limit).is_ok());
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, byte in any::<u8>()) {
            let _ = parse(&bytes);
            let mut changed = cache(7);
            let at = at % changed.len();
            changed[at] = byte;
            let _ = parse(&changed);
        }
    }
}
