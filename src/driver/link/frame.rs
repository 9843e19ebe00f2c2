//! Frames: a length, a JSON header, raw bytes.

use std::sync::LazyLock;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prometheus::IntCounter;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::codec::{Decoder, Encoder};

use crate::metrics;

/// The longest header.
const HEADER_MAX: usize = 1024 * 1024;
/// Frames from this size on have their memory for themselves.
const LARGE: usize = 256 * 1024;
/// The two length fields.
const LENGTH: usize = 4;

/// The counts of one direction: looked up once, since frames are many.
struct Direction(LazyLock<(IntCounter, IntCounter)>);

static SENT: Direction = Direction(LazyLock::new(|| counters("sent")));
static RECEIVED: Direction = Direction(LazyLock::new(|| counters("received")));

fn counters(direction: &str) -> (IntCounter, IntCounter) {
    let frames = metrics::LINK_FRAMES.with_label_values(&[direction]);
    (frames, metrics::LINK_BYTES.with_label_values(&[direction]))
}

impl Direction {
    fn count(&self, length: usize) {
        let (frames, bytes) = &*self.0;
        frames.inc();
        bytes.inc_by(length as u64);
    }
}

/// Why a peer's bytes are no frame, or why a frame can't be sent. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// A length beyond `link.max_frame` or a header beyond 1 MiB.
    #[error("a frame of {0} bytes is over its limit")]
    TooLong(usize),
    /// A header that is no JSON object, or lengths that contradict each other.
    #[error("a frame is malformed: {0}")]
    Malformed(String),
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `type`, `seq` and the fields of the type.
    pub header: Map<String, Value>,
    /// Code or output.
    pub body: Bytes,
}

impl Frame {
    /// A frame of `kind` whose fields are those of `fields`, a struct or map.
    #[must_use]
    pub fn new(kind: &str, fields: impl Serialize, body: impl Into<Bytes>) -> Self {
        let mut header = Map::new();
        header.insert("type".to_owned(), kind.into());
        if let Ok(Value::Object(fields)) = serde_json::to_value(fields) {
            header.extend(fields);
        }
        Self {
            header,
            body: body.into(),
        }
    }

    /// The frame's `type`, empty when it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or("")
    }

    /// A field that is a string.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.header.get(field)?.as_str()
    }

    /// A field that is a whole number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<i64> {
        self.header.get(field)?.as_i64()
    }

    /// The frame's number; 0 for an unnumbered one.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.header.get("seq").and_then(Value::as_u64).unwrap_or(0)
    }
}

/// Reads and writes frames of at most `max` bytes.
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    /// `link.max_frame`.
    pub max: usize,
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = peek(bytes) else {
            return Ok(None);
        };
        if length > self.max {
            return Err(FrameError::TooLong(length));
        }
        if bytes.len() < LENGTH + length {
            // Room for the rest, but no more at a time than has come: a peer can't make us reserve what it doesn't send.
            bytes.reserve((LENGTH + length - bytes.len()).min(bytes.len().max(64 * 1024)));
            return Ok(None);
        }
        bytes.advance(LENGTH);
        let mut payload = bytes.split_to(length).freeze();
        if length > LARGE {
            // Nothing else keeps the memory of a large frame, so that its body can be taken without a copy.
            *bytes = BytesMut::from(&bytes[..]);
        }
        let header_length = match peek(&payload) {
            Some(header) if header > HEADER_MAX => return Err(FrameError::TooLong(header)),
            Some(header) if header <= payload.len() - LENGTH => header,
            _ => {
                return Err(FrameError::Malformed(
                    "the header is longer than its frame".into(),
                ));
            }
        };
        payload.advance(LENGTH);
        let header = serde_json::from_slice(&payload.split_to(header_length))
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        RECEIVED.count(LENGTH + length);
        Ok(Some(Frame {
            header,
            body: payload,
        }))
    }
}

fn peek(bytes: &[u8]) -> Option<usize> {
    let length: [u8; LENGTH] = bytes.get(..LENGTH)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, bytes: &mut BytesMut) -> Result<(), FrameError> {
        let header =
            serde_json::to_vec(&frame.header).map_err(|error| FrameError::Malformed(error.to_string()))?;
        let length = LENGTH + header.len() + frame.body.len();
        let as_field = |length: usize| u32::try_from(length).map_err(|_| FrameError::TooLong(length));
        if length > self.max {
            return Err(FrameError::TooLong(length));
        }
        bytes.reserve(LENGTH + length);
        bytes.put_u32(as_field(length)?);
        bytes.put_u32(as_field(header.len())?);
        bytes.put_slice(&header);
        bytes.put_slice(&frame.body);
        SENT.count(LENGTH + length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODEC: FrameCodec = FrameCodec { max: 1 << 20 };

    fn encoded(frame: &Frame) -> BytesMut {
        let mut bytes = BytesMut::new();
        let mut codec = CODEC;
        codec.encode(frame.clone(), &mut bytes).unwrap();
        bytes
    }

    proptest! {
        /// However the bytes are cut on their way, the same frame comes out, and no earlier than its last byte.
        #[test]
        fn a_frame_survives_any_cut(id in any::<i64>(), text in ".*", body: Vec<u8>, cut: prop::sample::Index) {
            let frame = Frame::new("run", serde_json::json!({"id": id, "text": text}), body);
            let whole = encoded(&frame);
            let at = cut.index(whole.len());
            let mut codec = CODEC;
            let mut arrived = BytesMut::from(&whole[..at]);
            prop_assert_eq!(codec.decode(&mut arrived).unwrap(), None);
            arrived.extend_from_slice(&whole[at..]);
            prop_assert_eq!(codec.decode(&mut arrived).unwrap(), Some(frame));
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let mut codec = CODEC;
            let mut arrived = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode(&mut arrived) {}
        }

        /// Lengths that may be, with anything in them: no panic, and no more memory than what has come and a little more.
        #[test]
        fn a_frame_of_anything_takes_no_more_than_it_brings(
            length in 0_u32..70_000, header in 0_u32..300, rest in prop::collection::vec(any::<u8>(), 0..400), is_json: bool,
        ) {
            let mut codec = CODEC;
            let mut arrived = BytesMut::new();
            arrived.put_u32(length);
            arrived.put_u32(header);
            if is_json {
                arrived.put_slice(br#"{"type":"result","id":"#);
            }
            arrived.put_slice(&rest);
            let came = arrived.len();
            while let Ok(Some(frame)) = codec.decode(&mut arrived) {
                prop_assert!(frame.body.len() <= came);
            }
            prop_assert!(arrived.capacity() <= 2 * came + 64 * 1024, "{}", arrived.capacity());
        }
    }

    #[test]
    fn a_header_is_not_read_deeper_than_it_must() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            let deep = format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
            let mut bytes = BytesMut::new();
            bytes.put_u32(u32::try_from(LENGTH + deep.len()).unwrap());
            bytes.put_u32(u32::try_from(deep.len()).unwrap());
            bytes.put_slice(deep.as_bytes());
            let mut codec = CODEC;
            assert!(matches!(codec.decode(&mut bytes), Err(FrameError::Malformed(_))));
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut codec = CODEC;
        let mut bytes = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(matches!(codec.decode(&mut bytes), Err(FrameError::TooLong(_))));
        let mut bytes = BytesMut::from(&[0, 0, 0, 8, 0, 0, 1, 0, 1, 2, 3, 4][..]);
        assert!(matches!(codec.decode(&mut bytes), Err(FrameError::Malformed(_))));
    }
}
