//! What a line of the audit log says.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was answered with this.
    Answered(u16),
    /// Its client left before the answer; what it asked for may have been done.
    Left,
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Answered(status) => serializer.serialize_u16(*status),
            Self::Left => serializer.serialize_str("left"),
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

fn millis<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(took.as_millis())
}

/// One request, in the order in which the line has it. What is none is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    /// When it came.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// Its number, which its answer has as `X-Request-Id`.
    pub request: &'a str,
    /// Who sent it, as far as it was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// As whom they acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acting_as: Option<&'a str>,
    /// How they proved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a str>,
    /// The address that the connection came from; none for a socket without addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    /// What a reverse proxy says of that, where it is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<&'a str>,
    /// Such as `POST`.
    pub method: &'a str,
    /// The route, such as `/sessions/{id}`; none where there is no such route, and for a client that has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// The session, by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    /// The batch, by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<i64>,
    /// The statement, by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<i64>,
    /// What the path names that is none of these, or was not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<&'a str>,
    /// Whether the caller may do that.
    pub allowed: bool,
    /// The answer's status.
    pub status: Status,
    /// How long the answer took, in milliseconds.
    #[serde(serialize_with = "millis")]
    pub ms: Duration,
    /// The statement's code, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
}

impl Record<'_> {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

/// The line that says how many are missing.
pub(super) fn missing(time: SystemTime, missing: u64) -> String {
    #[derive(Serialize)]
    struct Missing {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
        missing: u64,
    }
    line(&Missing { time, missing })
}

fn line(of: &impl Serialize) -> String {
    let mut line = serde_json::to_string(of).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let record = Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_884_960_123),
            request: "5-1a",
            user: Some("ada\n{\"user\":\"eve\"}"),
            acting_as: None,
            by: Some("basic"),
            from: Some("127.0.0.1"),
            forwarded_for: None,
            method: "POST",
            route: Some("/sessions/{id}/statements"),
            session: Some(3),
            batch: None,
            statement: Some(0),
            named: None,
            allowed: true,
            status: Status::Answered(201),
            ms: Duration::from_micros(4_900),
            code: Some("print(1)\nprint(2)"),
        };
        assert_eq!(
            record.line(),
            "{\"time\":\"2026-11-28T16:56:00.123Z\",\"request\":\"5-1a\",\"user\":\"ada\\n{\\\"user\\\":\\\"eve\\\"}\",\
             \"by\":\"basic\",\"from\":\"127.0.0.1\",\"method\":\"POST\",\"route\":\"/sessions/{id}/statements\",\
             \"session\":3,\"statement\":0,\"allowed\":true,\"status\":201,\"ms\":4,\"code\":\"print(1)\\nprint(2)\"}\n"
        );
        let left = Record {
            status: Status::Left,
            ..record
        };
        assert!(left.line().contains("\"status\":\"left\""));
        assert_eq!(
            missing(SystemTime::UNIX_EPOCH, 7),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"missing\":7}\n"
        );
    }
}
