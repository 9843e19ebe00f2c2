//! Whether the time that a look takes tells how much of a secret is right (S18): a test by statistics, in the manner of dudect (Reparaz, Balasch,
//! Verbauwhede: "dude, is my code constant time?", 2017). Two classes of input are timed in random turns, what is slowest is cropped, and
//! Welch's t-test compares the rest. `make timing` runs it, in the release build; nothing else should run beside it.

use std::hint::black_box;

use super::tests::{IDLE, credentials, new, token};
use super::*;

/// Measurements, both classes together. dudect asks for 10,000 at least.
const MEASURED: usize = 400_000;
/// Inputs of each class, as many for both: so neither lies in a nearer cache.
const INPUTS: usize = 1024;
/// Of a hundred measurements the slowest are interruptions, not the code.
const KEPT_PERCENT: usize = 90;
/// A t beyond this is a leak for sure, says dudect; below 4.5 nothing is found.
const LEAK: f64 = 10.0;
/// What else runs on the machine can make a difference once, not each time.
const TRIES: usize = 3;

/// Mean and variance of a stream of numbers (Welford).
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(times: impl Iterator<Item = f64>) -> Self {
        let mut all = Self::default();
        for time in times {
            all.count += 1.0;
            let off = time - all.mean;
            all.mean += off / all.count;
            all.squares += off * (time - all.mean);
        }
        all
    }

    /// The variance of the mean.
    fn of_mean(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Welch's t of two classes of input.
fn welch(one: &[Vec<u8>], other: &[Vec<u8>], mut measured: impl FnMut(&[u8])) -> f64 {
    let classes = [one, other];
    let mut chance = vec![0_u8; MEASURED * 4];
    getrandom::fill(&mut chance).unwrap();
    let mut times: Vec<(usize, f64)> = Vec::with_capacity(MEASURED);
    for chosen in chance.chunks_exact(4) {
        let class = usize::from(chosen[0] & 1);
        let input = usize::from(u16::from_le_bytes([chosen[2], chosen[3]])) % INPUTS;
        let input = black_box(&*classes[class][input]);
        let begun = Instant::now();
        measured(input);
        times.push((class, begun.elapsed().as_secs_f64()));
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let longest = sorted[MEASURED * KEPT_PERCENT / 100];
    let of = |wanted: usize| {
        let kept = times
            .iter()
            .filter(|(class, time)| *class == wanted && *time <= longest);
        Moments::of(kept.map(|(_, time)| *time))
    };
    let (first, second) = (of(0), of(1));
    assert!(
        first.count.min(second.count) > 100_000.0,
        "enough is left of each"
    );
    (first.mean - second.mean) / (first.of_mean() + second.of_mean()).sqrt()
}

/// The least t of some tries, which ends with the first below the bound.
fn least(one: &[Vec<u8>], other: &[Vec<u8>], mut measured: impl FnMut(&[u8])) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        least = least.min(welch(one, other, &mut measured).abs());
        if least < LEAK {
            break;
        }
    }
    least
}

/// Texts whose names are this one's, and as many first bytes of whose secrets; the rest of these is random, and none is the right one.
fn inputs(text: &str, right: usize) -> Vec<Vec<u8>> {
    let (prefix, coded) = match text.strip_prefix(TOKEN_PREFIX) {
        Some(coded) => (TOKEN_PREFIX, coded),
        None => ("", text),
    };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(coded).unwrap();
    let made = (0..INPUTS).map(|_| {
        let mut other = bytes.clone();
        loop {
            getrandom::fill(&mut other[NAME_BYTES + right..]).unwrap();
            if other != bytes {
                break;
            }
        }
        format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(other)).into_bytes()
    });
    made.collect()
}

fn text(input: &[u8]) -> &str {
    std::str::from_utf8(input).unwrap()
}

#[tokio::test]
#[ignore = "it measures times, alone: make timing"]
async fn the_time_of_a_look_tells_nothing_of_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let held = credentials(&dir).await;
    let (sent, _) = held.make(new(token(), 5)).await.unwrap();
    let (cookie, _) = held.make(new(Kind::Login(None), 5)).await.unwrap();

    // What the instrument finds: a comparison that ends at the first byte that differs.
    let (right, wrong) = (inputs(&sent, SECRET_BYTES - 1), inputs(&sent, 0));
    let stops = |input: &[u8]| {
        let same = input.iter().zip(sent.as_bytes());
        black_box(
            same.take_while(|(one, other)| black_box(one) == black_box(other))
                .count(),
        );
    };
    let found = welch(&right, &wrong, stops).abs();
    println!("a comparison that stops early: |t| = {found:.1}");
    assert!(found > LEAK, "the instrument finds nothing: {found}");

    let of_token = least(&right, &wrong, |input| {
        assert!(black_box(held.token(text(input))).is_none());
    });
    println!("a token, 31 of 32 bytes right or none: |t| = {of_token:.1}");
    assert!(of_token < LEAK, "a token's time tells of it: {of_token}");

    let (right, wrong) = (inputs(&cookie, SECRET_BYTES - 1), inputs(&cookie, 0));
    let of_cookie = least(&right, &wrong, |input| {
        assert!(black_box(held.login(text(input), IDLE)).is_none());
    });
    println!("a cookie, 31 of 32 bytes right or none: |t| = {of_cookie:.1}");
    assert!(of_cookie < LEAK, "a cookie's time tells of it: {of_cookie}");
}
