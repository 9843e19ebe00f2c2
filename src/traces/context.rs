//! A place in a trace, as the header `traceparent` of W3C Trace Context names it.

use std::fmt;

/// The bit of the flags that says that the trace is recorded.
const SAMPLED: u8 = 1;
/// How long a header of version 00 is.
const LENGTH: usize = 55;

/// A span of a trace, here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
    /// Whether it is recorded, for all that anybody knows.
    pub is_sampled: bool,
}

impl Context {
    /// Reads a `traceparent`. None: it is none, and then there was no trace before (Trace Context, 3.2).
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let fields = header.get(..LENGTH)?;
        let version = hex(fields.get(..2)?)?;
        let is_whole = header.len() == LENGTH;
        // Later versions may add fields.
        let goes_on = version > 0 && header.as_bytes().get(LENGTH) == Some(&b'-');
        let are_apart = [2, 35, 52].iter().all(|at| fields.as_bytes()[*at] == b'-');
        if version == 0xff || !are_apart || !(is_whole || goes_on) {
            return None;
        }
        let trace = hex(&fields[3..35])?;
        let span = u64::try_from(hex(&fields[36..52])?).ok()?;
        let flags = u8::try_from(hex(&fields[53..])?).ok()?;
        (trace != 0 && span != 0).then_some(Self {
            trace,
            span,
            is_sampled: flags & SAMPLED != 0,
        })
    }

    /// The trace's id as collectors show it: 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// As a `traceparent`.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// Digits in lower case, and nothing else.
fn hex(digits: &str) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = digits.bytes().all(is_digit);
    is_number.then(|| u128::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Context;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read() {
        let context = Context::parse(GOOD);
        assert_eq!(
            context,
            Some(Context {
                trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                span: 0x00f0_67aa_0ba9_02b7,
                is_sampled: true,
            })
        );
        assert_eq!(
            context.map(|context| context.trace_id()).as_deref(),
            Some(&GOOD[3..35])
        );
        let later = format!("cc{}-what", &GOOD[2..]);
        assert_eq!(Context::parse(&later), context);
        let other_flags = format!("{}fe", &GOOD[..53]);
        assert_eq!(
            Context::parse(&other_flags).map(|context| context.is_sampled),
            Some(false)
        );
    }

    #[test]
    fn what_is_none_is_none() {
        let zeros = ["0".repeat(32), "0".repeat(16)];
        for bad in [
            "",
            &GOOD[1..],
            &GOOD[..54],
            &format!("{GOOD}-what"),
            &format!("ff{}", &GOOD[2..]),
            &format!("cc{}what", &GOOD[2..]),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &GOOD.replace('4', "+"),
            &GOOD.replace(&GOOD[3..35], &zeros[0]),
            &GOOD.replace(&GOOD[36..52], &zeros[1]),
            &format!("{}\u{e4}{}", &GOOD[..3], &GOOD[5..]),
        ] {
            assert_eq!(Context::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(header in ".*") {
            let _ = Context::parse(&header);
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., is_sampled: bool) {
            let context = Context { trace, span, is_sampled };
            prop_assert_eq!(Context::parse(&context.to_string()), Some(context));
        }
    }
}
