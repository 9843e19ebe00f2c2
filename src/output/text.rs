//! The text of an output, page by page: read from the output's JSON as a stream, so that a page costs no more than itself.

use std::io::{self, BufRead, BufReader, Read};

/// What an output holds: a member of the output whose own member is the text.
const DATA: &[u8] = b"data";
const TEXT: &[u8] = b"text/plain";
/// Bytes kept of a string that may be a key.
const KEY_MAX: usize = 16;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// A part of a text. Places count bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The place of its first byte: where it was asked for, or at the character after that.
    pub from: u64,
    /// The place after its last byte.
    pub next: u64,
    /// The whole text's bytes; 0 where the output has no text.
    pub total: u64,
    /// The part.
    pub text: String,
}

/// Reads a part of at most `most` bytes, 4 at least, of the text of an output, which must be a JSON object.
///
/// # Errors
/// The output can't be read, or is no JSON.
pub fn page(output: impl Read, from: u64, most: usize) -> io::Result<Page> {
    let mut json = Json(BufReader::with_capacity(BUFFER, output));
    let mut found = Part {
        from,
        most: most.max(4),
        total: 0,
        bytes: Vec::new(),
    };
    if json.find_text()? {
        json.string(|bytes| found.take(bytes))?;
    }
    Ok(found.page())
}

/// The part of a text that is kept while all of it passes.
struct Part {
    from: u64,
    most: usize,
    total: u64,
    bytes: Vec<u8>,
}

impl Part {
    fn take(&mut self, bytes: &[u8]) {
        let before = usize::try_from(self.from.saturating_sub(self.total)).unwrap_or(usize::MAX);
        self.total += bytes.len() as u64;
        // A few more, to see where the last character ends.
        let room = self.most + 4 - self.bytes.len();
        if let Some(wanted) = bytes.get(before..) {
            self.bytes.extend_from_slice(&wanted[..wanted.len().min(room)]);
        }
    }

    fn page(self) -> Page {
        let is_inside = |byte: &u8| byte & 0xC0 == 0x80;
        let skip = self
            .bytes
            .iter()
            .take(3)
            .take_while(|byte| is_inside(byte))
            .count();
        let mut end = self.bytes.len().min(skip + self.most);
        while end > skip && self.bytes.get(end).is_some_and(is_inside) {
            end -= 1;
        }
        let from = self.from.min(self.total) + skip as u64;
        Page {
            from,
            next: from + (end - skip) as u64,
            total: self.total,
            text: String::from_utf8_lossy(&self.bytes[skip..end]).into_owned(),
        }
    }
}

/// As much of JSON as it takes to find one string. What it reads was checked before it was kept.
struct Json<R>(BufReader<R>);

impl<R: Read> Json<R> {
    /// Reads up to the text's first quote, which is taken; false where there is no text.
    fn find_text(&mut self) -> io::Result<bool> {
        let mut depth = 0;
        let mut is_in_data = false;
        let mut key = Vec::new();
        loop {
            let Some(byte) = self.byte()? else {
                return Ok(false);
            };
            match byte {
                b'"' => {
                    key.clear();
                    self.string(|bytes| {
                        key.extend_from_slice(&bytes[..bytes.len().min(KEY_MAX - key.len())])
                    })?;
                }
                b':' if depth == 1 => is_in_data = key == DATA,
                b':' if depth == 2 && is_in_data && key == TEXT => return Ok(self.byte()? == Some(b'"')),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }

    /// Reads a string whose first quote was taken, and gives its bytes as they come.
    fn string(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let buffer = self.0.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let plain = buffer.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let length = plain.unwrap_or(buffer.len());
            take(&buffer[..length]);
            self.0.consume(length);
            if plain.is_some() && !self.escape(&mut take)? {
                return Ok(());
            }
        }
    }

    /// Reads an escape; false for the quote that ends the string.
    fn escape(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        if self.some_byte()? == b'"' {
            return Ok(false);
        }
        match self.some_byte()? {
            b'n' => take(b"\n"),
            b'r' => take(b"\r"),
            b't' => take(b"\t"),
            b'b' => take(b"\x08"),
            b'f' => take(b"\x0c"),
            b'u' => {
                let mut code = self.hex()?;
                if (0xD800..0xDC00).contains(&code) && (self.some_byte()?, self.some_byte()?) == (b'\\', b'u')
                {
                    code = 0x10000 + ((code - 0xD800) << 10) + (self.hex()?.wrapping_sub(0xDC00) & 0x3FF);
                }
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                take(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => take(&[other]),
        }
        Ok(true)
    }

    fn hex(&mut self) -> io::Result<u32> {
        (0..4).try_fold(0, |code, _| {
            let digit = char::from(self.some_byte()?).to_digit(16);
            Ok(code << 4 | digit.ok_or(io::ErrorKind::InvalidData)?)
        })
    }

    fn some_byte(&mut self) -> io::Result<u8> {
        self.byte()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.0.fill_buf()?.first().copied();
        self.0.consume(usize::from(byte.is_some()));
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(output: &serde_json::Value, from: u64, most: usize) -> Page {
        page(output.to_string().as_bytes(), from, most).unwrap()
    }

    #[test]
    fn only_the_text_is_read() {
        let output = json!({
            "status": "ok",
            "text/plain": "not this",
            "data": {"application/json": {"text/plain": ["nor \"this\""], "data": {"text/plain": "nor that"}}, "text/plain": "a\nb"},
        });
        let whole = Page {
            from: 0,
            next: 3,
            total: 3,
            text: "a\nb".to_owned(),
        };
        assert_eq!(read(&output, 0, 100), whole);
        assert_eq!(
            read(&json!({"status": "error", "traceback": ["data"]}), 5, 100).total,
            0
        );
        assert_eq!(
            page(&br#"{"data":{"text/plain":"\ud83d\ude00\u00e9\/"}}"#[..], 0, 100)
                .unwrap()
                .text,
            "😀é/"
        );
        assert!(page(&br#"{"data":{"text/plain":"a"#[..], 0, 100).is_err());
    }

    proptest! {
        #[test]
        fn pages_are_the_text(text in "[a\\\\\"é€😀\n\r\t\u{0}]{0,200}", most in 4..50_usize) {
            let output = json!({"data": {"image/png": "x\"\\", "text/plain": text}});
            let mut all = String::new();
            let mut from = 0;
            loop {
                let page = read(&output, from, most);
                prop_assert_eq!((page.from, page.total), (from, text.len() as u64));
                prop_assert!(page.text.len() <= most && (page.next > from || from == page.total));
                all.push_str(&page.text);
                from = page.next;
                if from == page.total {
                    break;
                }
            }
            prop_assert_eq!(all, text);
        }
    }
}
