//! How a command ends that does not succeed: a sentence and an exit status.

/// Wrong usage: sysexits' EX_USAGE.
const USAGE: u8 = 64;
/// The server can't be reached: EX_UNAVAILABLE.
const UNREACHABLE: u8 = 69;
/// The server refuses the caller: EX_NOPERM.
const REFUSED: u8 = 77;

/// Why a command can't go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line or the client's file is wrong.
    Usage(String),
    /// Nobody answers, or no longer.
    Unreachable(String),
    /// 401 and 403.
    Refused(String),
    /// 404.
    NotFound(String),
    /// Everything else.
    Failed(String),
    /// Somebody ended the command; all has been said.
    Stopped(u8),
    /// Nobody reads the output any more.
    Closed,
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Unreachable(_) => UNREACHABLE,
            Self::Refused(_) => REFUSED,
            Self::NotFound(_) | Self::Failed(_) => 1,
            Self::Stopped(status) => *status,
            // As a shell counts a process that SIGPIPE ended.
            Self::Closed => 128 + 13,
        }
    }

    /// What to say, if something is left to say.
    pub fn sentence(&self) -> Option<&str> {
        match self {
            Self::Usage(text)
            | Self::Unreachable(text)
            | Self::Refused(text)
            | Self::NotFound(text)
            | Self::Failed(text) => Some(text),
            Self::Stopped(_) | Self::Closed => None,
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Writing to standard output failed.
    fn from(reason: std::io::Error) -> Self {
        match reason.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(format!("can't write the output: {reason}")),
        }
    }
}
