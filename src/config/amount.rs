//! Amounts as Spark writes them: sizes (`8g`), durations (`30min`), numbers. Pure.

/// An amount that others are compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Bytes.
    Size(u64),
    /// Microseconds.
    Time(u64),
    /// A number without a unit.
    Number(f64),
}

/// How a value stands to an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Not over it.
    Within,
    /// Over it.
    Over,
    /// It can't be read as such an amount.
    Unreadable,
}

impl Amount {
    /// Reads an amount: `m` is MiB, and minutes are `min`. None: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        if unit.is_empty() {
            return decimal(&number).map(Self::Number);
        }
        let whole = whole(&number)?;
        match (bytes_of(&unit), microseconds_of(&unit)) {
            (Some(bytes), _) => Some(Self::Size(whole.saturating_mul(bytes))),
            (None, Some(microseconds)) => Some(Self::Time(whole.saturating_mul(microseconds))),
            (None, None) => None,
        }
    }

    /// Compares a value with it, which is read as an amount of its kind. `unit`: the bytes that a size without a unit counts; without it
    /// such a size is not readable, since Spark reads some as bytes and some as MiB.
    ///
    /// What Spark would refuse, or might read in another way, is not readable: signs, digits of other scripts, references such as `${x}`.
    #[must_use]
    pub fn compare(self, value: &str, unit: Option<u64>) -> Compared {
        let read = || {
            let (number, suffix) = split(value)?;
            Some(match self {
                Self::Number(most) => decimal(&number).filter(|_| suffix.is_empty())? > most,
                Self::Size(most) => {
                    let unit = if suffix.is_empty() {
                        unit
                    } else {
                        bytes_of(&suffix)
                    };
                    whole(&number)?.saturating_mul(unit?) > most
                }
                Self::Time(most) => whole(&number)?.saturating_mul(microseconds_of(&suffix)?) > most,
            })
        };
        match read() {
            Some(true) => Compared::Over,
            Some(false) => Compared::Within,
            None => Compared::Unreadable,
        }
    }
}

/// Digits, perhaps with a point among them, and what follows, in lower case.
fn split(text: &str) -> Option<(String, String)> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let begins = number.starts_with(|c: char| c.is_ascii_digit());
    (begins && unit.chars().all(|c| c.is_ascii_lowercase())).then(|| (number.to_owned(), unit.to_owned()))
}

/// A whole number; one that is too large for its type is the largest.
fn whole(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().unwrap_or(u64::MAX))
}

fn decimal(digits: &str) -> Option<f64> {
    digits.parse().ok().filter(|number: &f64| number.is_finite())
}

fn bytes_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        "p" | "pb" => 1 << 50,
        _ => return None,
    })
}

fn microseconds_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(Amount::parse("8g"), Some(Amount::Size(8 << 30)));
        assert_eq!(Amount::parse(" 512MB "), Some(Amount::Size(512 << 20)));
        assert_eq!(Amount::parse("5m"), Some(Amount::Size(5 << 20)));
        assert_eq!(Amount::parse("5min"), Some(Amount::Time(300_000_000)));
        assert_eq!(Amount::parse("250ms"), Some(Amount::Time(250_000)));
        assert_eq!(Amount::parse("4"), Some(Amount::Number(4.0)));
        assert_eq!(Amount::parse("0.5"), Some(Amount::Number(0.5)));
        for text in ["", "g", "-1", "1.5g", "8x", "8 g", "٨g", "1e9", "${x}", "."] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_read_in_the_kind_of_the_most() {
        use Compared::{Over, Unreadable, Within};
        const MIB: u64 = 1 << 20;
        for (most, value, unit, expected) in [
            ("8g", "8g", None, Within),
            ("8g", "8G", None, Within),
            ("8g", "8192m", None, Within),
            ("8g", "8193m", None, Over),
            ("8g", "8589934593", None, Unreadable),
            ("8g", "8192", Some(MIB), Within),
            ("8g", "8193", Some(MIB), Over),
            ("8g", "99999999999999999999999g", None, Over),
            ("8g", "1p", None, Over),
            ("8g", "30s", None, Unreadable),
            ("8g", "1.5g", None, Unreadable),
            ("8g", "-1", Some(1), Unreadable),
            ("8g", "${spark.x}", Some(1), Unreadable),
            ("8g", "1g -Dx", None, Unreadable),
            ("30min", "30m", None, Within),
            ("30min", "1801s", None, Over),
            ("30min", "1801", None, Unreadable),
            ("4", "4", None, Within),
            ("4", "5", None, Over),
            ("4", "4.5", None, Over),
            ("4", "4g", None, Unreadable),
            ("4", "-1", None, Unreadable),
            ("4", "+4", None, Unreadable),
            ("4", "٩", None, Unreadable),
            ("4", "inf", None, Unreadable),
        ] {
            let most = Amount::parse(most).unwrap();
            assert_eq!(most.compare(value, unit), expected, "{most:?} {value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(most in ".*", value in ".*", unit in any::<Option<u64>>()) {
            if let Some(most) = Amount::parse(&most) {
                let _ = most.compare(&value, unit);
            }
        }

        /// Whatever is within, its number of bytes is not over the most.
        #[test]
        fn sizes(most in 0..1u64 << 40, number in any::<u32>(), unit in prop::sample::select(vec!["b", "k", "kb", "m", "mb", "g", "gb", "t"])) {
            let bytes = u128::from(number) * u128::from(bytes_of(unit).unwrap());
            let compared = Amount::Size(most).compare(&format!("{number}{unit}"), None);
            prop_assert_eq!(compared == Compared::Within, bytes <= u128::from(most));
        }
    }
}
