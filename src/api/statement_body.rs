//! Statements in answers, whose outputs are read from their files as the client takes them: a slow one costs a chunk and not
//! the output.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};

use actix_web::http::header::{CONTENT_ENCODING, VARY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use flate2::Compression;
use flate2::read::GzEncoder;
use futures_util::stream;
use tracing::warn;

use super::json::takes_gzip;
use super::wire::{JSON, StatementView, StatementsView};
use crate::background::Background;
use crate::output::OutputFile;
use crate::session::Statement;

/// What is read at once, and waits for the client.
const CHUNK: usize = 64 * 1024;
/// Where a statement's output stands. Within a text the quotes would be escaped.
const NO_OUTPUT: &[u8] = br#","output":null"#;

/// A part of an answer.
enum Piece {
    Text(Vec<u8>),
    /// An output: its file, and what is shown without it.
    Output(OutputFile, Vec<u8>),
}

/// An answer, to be read from its beginning to its end.
pub struct StatementBody {
    left: VecDeque<Piece>,
    now: Box<dyn Read + Send>,
}

impl StatementBody {
    /// One statement; none where its output is at hand, so that the answer can be made at once.
    pub fn of_one(statement: &Statement) -> Option<Self> {
        statement.file.as_ref()?;
        Some(Self::of(pieces(statement)))
    }

    /// A page of statements; none where all outputs are at hand.
    pub fn of_page<'a>(
        total_statements: i64,
        statements: impl Iterator<Item = &'a Statement> + Clone,
    ) -> Option<Self> {
        if !statements.clone().any(|statement| statement.file.is_some()) {
            return None;
        }
        let around = StatementsView {
            total_statements,
            statements: Vec::new(),
        };
        let around = serde_json::to_vec(&around).ok()?;
        // `[]}` is its end.
        let (before, after) = around.split_at(around.len() - 2);
        let mut all = vec![Piece::Text(before.to_vec())];
        for (at, statement) in statements.enumerate() {
            if at > 0 {
                all.push(Piece::Text(b",".to_vec()));
            }
            all.extend(pieces(statement));
        }
        all.push(Piece::Text(after.to_vec()));
        Some(Self::of(all))
    }

    fn of(pieces: Vec<Piece>) -> Self {
        Self {
            left: pieces.into(),
            now: Box::new(io::empty()),
        }
    }

    /// The answer with this body.
    pub fn answer(
        self,
        request: &HttpRequest,
        mut response: HttpResponseBuilder,
        background: Background,
    ) -> HttpResponse {
        response
            .content_type(JSON)
            .insert_header((VARY, "Accept-Encoding"));
        let body: Box<dyn Read + Send> = if takes_gzip(request.headers()) {
            response.insert_header((CONTENT_ENCODING, "gzip"));
            Box::new(GzEncoder::new(self, Compression::fast()))
        } else {
            Box::new(self)
        };
        response.streaming(stream::try_unfold(
            (body, background),
            |(mut body, background)| async {
                let read = background.bulk(move || read_chunk(&mut body).map(|bytes| (bytes, body)));
                match read
                    .await
                    .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
                {
                    Ok((bytes, _)) if bytes.is_empty() => Ok(None),
                    Ok((bytes, body)) => Ok(Some((bytes, (body, background)))),
                    Err(error) => {
                        warn!(%error, "an output's file can't be read: the answer is cut off");
                        Err(error)
                    }
                }
            },
        ))
    }
}

impl Read for StatementBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.now.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.now = match self.left.pop_front() {
                None => return Ok(0),
                Some(Piece::Text(text)) => Box::new(Cursor::new(text)),
                Some(Piece::Output(file, rest)) => match file.open() {
                    Some(output) => Box::new(output),
                    None => Box::new(Cursor::new(rest)),
                },
            };
        }
    }
}

fn pieces(statement: &Statement) -> Vec<Piece> {
    let Some(file) = &statement.file else {
        return vec![Piece::Text(bytes(&StatementView::from(statement)))];
    };
    let view = StatementView {
        output: None,
        ..StatementView::from(statement)
    };
    let whole = bytes(&view);
    let at = whole
        .windows(NO_OUTPUT.len())
        .position(|window| window == NO_OUTPUT);
    let at = at.map_or(whole.len(), |at| at + NO_OUTPUT.len());
    let before = &whole[..at - b"null".len()];
    let rest = statement.output.as_ref().map_or("null", |output| output.get());
    vec![
        Piece::Text(before.to_vec()),
        Piece::Output(file.clone(), rest.as_bytes().to_vec()),
        Piece::Text(whole[at..].to_vec()),
    ]
}

fn bytes(view: &StatementView<'_>) -> Vec<u8> {
    serde_json::to_vec(view).unwrap_or_default()
}

fn read_chunk(body: &mut impl Read) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(CHUNK);
    body.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}
