//! Durations in Livy's notation, which `ttl` and `idleTimeout` of a request have.

use std::time::Duration;

use super::{Rejection, shortened};

/// The longest duration that a request gets: longer ones count as a hundred years, so that no clock overflows.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads `<whole number><unit>`, with the units `us ms s m min h d` in any case; without unit it is milliseconds. Parts of
/// a millisecond are dropped, as Livy does (livy-spec 1.3, ClientConf.getTimeAsMs).
///
/// # Errors
///
/// [`Rejection::Time`], [`Rejection::TimeSuffix`] or [`Rejection::TimeValue`] with Livy's texts.
pub fn parse_duration(text: &str) -> Result<Duration, Rejection> {
    let invalid = || Rejection::Time(shortened(text));
    let lower = text.trim().to_ascii_lowercase();
    let (negative, digits) = match lower.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, lower.as_str()),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    if number.is_empty() || !suffix.chars().all(|c| c.is_ascii_lowercase()) {
        return Err(invalid());
    }
    // A number that Java's long doesn't hold is no number to Livy either.
    let value = number.parse::<i64>().map_err(|_| invalid())?.unsigned_abs();
    let microseconds: u64 = match suffix {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(Rejection::TimeSuffix(shortened(suffix))),
    };
    if negative && value > 0 {
        return Err(Rejection::TimeValue(format!("-{value}")));
    }
    Ok(Duration::from_millis(value.saturating_mul(microseconds) / 1_000).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn livys_units() {
        for (text, milliseconds) in [
            ("5", 5),
            ("5ms", 5),
            ("5s", 5_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1H", 3_600_000),
            ("1d", 86_400_000),
            ("1500us", 1),
            ("0", 0),
            ("-0s", 0),
            (" 5s ", 5_000),
            ("007", 7),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("9223372036854775807d"), Ok(LONGEST));
    }

    #[test]
    fn livys_errors() {
        for (text, message) in [
            ("soon", "Invalid time string: soon"),
            ("abc", "Invalid time string: abc"),
            ("", "Invalid time string: "),
            ("1.5h", "Invalid time string: 1.5h"),
            ("5 s", "Invalid time string: 5 s"),
            ("+5", "Invalid time string: +5"),
            ("5s6", "Invalid time string: 5s6"),
            ("9223372036854775808", "Invalid time string: 9223372036854775808"),
            ("5y", "Invalid suffix: \"y\""),
            ("-5", "Invalid value: -5"),
            ("-5s", "Invalid value: -5"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-+]?[0-9]{0,22}.{0,4}") {
            let _ = parse_duration(&text);
        }
    }
}
