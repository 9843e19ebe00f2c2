//! Multipart bodies (RFC 7578): the one part that is a file goes to the disk as it comes; the rest is read and forgotten.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, Charset};
use actix_web::web::{Bytes, Data, Payload};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::{Instant, Sleep};

use super::App;
use super::error::ApiError;
use super::json::BYTES_PER_SECOND;
use crate::policy;
use crate::upload::{Receiving, Upload, UploadError, Uploads};

/// What a body may have beside the file: boundaries, headers, small parts.
const AROUND: u64 = 64 * 1024;

/// For whom a file is received.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    /// Whose it is.
    pub owner: Option<&'a str>,
    /// The session that it is for alone.
    pub session: Option<i64>,
}

/// Receives the file in the part of that name. None: the body has no such part, or is no form.
///
/// # Errors
/// Two such parts, a name that is no file's, a body that is torn, too long or too slow, no room. Nothing is left then.
pub async fn receive(
    app: &Data<App>,
    request: &HttpRequest,
    payload: Payload,
    part: &str,
    whose: For<'_>,
) -> Result<Option<Arc<Upload>>, ApiError> {
    let limit = app.config.upload.max_bytes;
    let headers = request.headers();
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit.bytes() + AROUND) {
        return Err(UploadError::TooLarge(limit).into());
    }
    let body = Body::new(
        payload,
        app.config.server.body_timeout.get(),
        limit.bytes() + AROUND,
    );
    let is_form = header(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.trim_start().as_bytes();
        kind.get(..10)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"))
    });
    let mut received = None;
    let mut read = Ok(());
    if is_form {
        let form = Multipart::new(headers, body.stream());
        read = read_form(&app.uploads, form, part, whose, &mut received).await;
    }
    // What is left of the body would be taken for the next request.
    let mut rest = Box::pin(body.stream());
    while let Some(Ok(_)) = rest.next().await {}
    match body.trouble() {
        Some(Trouble::Late) => read = Err(ApiError::BodyTimeout),
        Some(Trouble::TooLong) => read = Err(UploadError::TooLarge(limit).into()),
        None => {}
    }
    match (read, received) {
        // Whole, and nothing else came that should not have: now it counts.
        (Ok(()), Some(receiving)) => Ok(Some(receiving.finish().await?)),
        (Ok(()), None) => Ok(None),
        (Err(reason), Some(receiving)) => {
            receiving.abandon().await;
            Err(reason)
        }
        (Err(reason), None) => Err(reason),
    }
}

/// Reads a form to its end. What of the file has been received is in `received` then, whatever came of the rest.
async fn read_form(
    uploads: &Uploads,
    mut form: Multipart,
    part: &str,
    whose: For<'_>,
    received: &mut Option<Receiving>,
) -> Result<(), ApiError> {
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|error| unreadable(&error))?;
        if field.name() != Some(part) {
            // Skipped by the next turn.
            continue;
        }
        if received.is_some() {
            return Err(ApiError::BadRequest(format!(
                "There must be one part named {part:?}."
            )));
        }
        let name = file_name(&field, part)?;
        policy::check_file_name(&name).map_err(|reason| ApiError::BadRequest(reason.to_string()))?;
        let receiving = uploads.receive(whose.owner, whose.session, name)?;
        let receiving = received.insert(receiving);
        while let Some(bytes) = field.next().await {
            let bytes = bytes.map_err(|error| unreadable(&error))?;
            receiving.write(bytes).await?;
        }
    }
    Ok(())
}

fn unreadable(error: &MultipartError) -> ApiError {
    let reason = match error {
        MultipartError::ContentDispositionMissing => {
            "a part has no Content-Disposition that is form-data in UTF-8".to_owned()
        }
        error => error.to_string(),
    };
    ApiError::BadRequest(format!(
        "The body can't be read as multipart/form-data: {reason}."
    ))
}

fn file_name(field: &Field, part: &str) -> Result<String, ApiError> {
    let bad = |reason: &str| ApiError::BadRequest(format!("The part {part:?} {reason}."));
    let disposition = field.content_disposition();
    if let Some(name) = disposition.and_then(|found| found.get_filename_ext()) {
        let is_utf8 = matches!(&name.charset, Charset::Ext(charset) if charset.eq_ignore_ascii_case("utf-8"));
        return String::from_utf8(name.value.clone())
            .ok()
            .filter(|_| is_utf8)
            .ok_or_else(|| bad("has a file name that is not UTF-8"));
    }
    let name = disposition.and_then(|found| found.get_filename());
    name.map(str::to_owned).ok_or_else(|| bad("has no file name"))
}

/// Why a body is read no further.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Late,
    TooLong,
}

/// A request's body under its limit and deadline. Its streams share it: what one has left, the next gives.
struct Body {
    shared: Rc<RefCell<Shared>>,
    trouble: Rc<Cell<Option<Trouble>>>,
}

struct Shared {
    payload: Payload,
    begun: Instant,
    base: Duration,
    deadline: Pin<Box<Sleep>>,
    seen: u64,
    limit: u64,
    is_over: bool,
}

impl Body {
    fn new(payload: Payload, base: Duration, limit: u64) -> Self {
        let begun = Instant::now();
        let shared = Shared {
            payload,
            begun,
            base,
            deadline: Box::pin(tokio::time::sleep_until(begun + base)),
            seen: 0,
            limit,
            is_over: false,
        };
        Self {
            shared: Rc::new(RefCell::new(shared)),
            trouble: Rc::default(),
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    fn stream(&self) -> impl Stream<Item = Result<Bytes, PayloadError>> + 'static {
        let (shared, trouble) = (Rc::clone(&self.shared), Rc::clone(&self.trouble));
        stream::poll_fn(move |context| {
            let mut shared = shared.borrow_mut();
            let polled = shared.poll(context);
            if let Poll::Ready(Err(found)) = polled {
                trouble.set(Some(found));
                shared.is_over = true;
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
            polled.map(|read| read.unwrap_or(None))
        })
    }
}

impl Shared {
    /// The next bytes, or how the client's side ended.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Result<Bytes, PayloadError>>, Trouble>> {
        if self.is_over {
            return Poll::Ready(Ok(None));
        }
        let bytes = match self.payload.poll_next_unpin(context) {
            Poll::Pending => {
                return self.deadline.as_mut().poll(context).map(|()| Err(Trouble::Late));
            }
            Poll::Ready(Some(Ok(bytes))) => bytes,
            Poll::Ready(other) => {
                self.is_over = true;
                return Poll::Ready(Ok(other));
            }
        };
        self.seen += bytes.len() as u64;
        if self.seen > self.limit {
            return Poll::Ready(Err(Trouble::TooLong));
        }
        let earned = Duration::from_secs(self.seen / BYTES_PER_SECOND as u64);
        let deadline = self.begun + self.base + earned;
        if deadline > self.deadline.deadline() {
            self.deadline.as_mut().reset(deadline);
        }
        Poll::Ready(Ok(Some(Ok(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use actix_web::FromRequest as _;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::background::Background;
    use crate::config::Config;
    use crate::quota::Quotas;
    use crate::upload::InUse;

    /// Pieces of a form, some of which are what they should be.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let part = r#"(--b(--)?|\r\n|--|b|:|;|Content-(Disposition|Type|Length|Transfer-Encoding): (form-data; )?(name="(file|x)"; )?)"#;
        let named = "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"(; filename[*]?=(UTF-8'')?\"?[a-z%/.\"]{0,6}\"?)?\r\n\r\n";
        prop_oneof![
            part.prop_map(String::into_bytes),
            named.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ]
    }

    /// Reads a form with the part `file`, of which nothing is kept: whether it has one, and how many bytes were read.
    async fn read(
        uploads: &Uploads,
        kind: &str,
        bytes: Vec<u8>,
        limit: u64,
    ) -> (Result<bool, ApiError>, u64) {
        let request = TestRequest::post()
            .insert_header((CONTENT_TYPE, kind))
            .set_payload(bytes);
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        let body = Body::new(payload, Duration::from_secs(60), limit);
        let form = Multipart::new(request.headers(), body.stream());
        let nobodys = For {
            owner: None,
            session: None,
        };
        let mut received = None;
        let read = read_form(uploads, form, "file", nobodys, &mut received).await;
        let has_file = received.is_some();
        if let Some(receiving) = received {
            receiving.abandon().await;
        }
        let mut rest = Box::pin(body.stream());
        while let Some(Ok(_)) = rest.next().await {}
        let seen = body.shared.borrow().seen;
        (read.map(|()| has_file), seen)
    }

    fn uploads(dir: &tempfile::TempDir) -> Uploads {
        let mut config = Config::default();
        config.server.state_dir = dir.path().to_owned();
        let quotas = Quotas::new(&BTreeMap::new(), BTreeMap::new());
        Uploads::open(Arc::new(config), Background::new(), quotas, InUse::default).unwrap()
    }

    /// Any bytes of any kind are a form or none, are read to their end or their limit, and leave nothing.
    #[test]
    fn any_form_is_read() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let uploads = runtime.block_on(async { uploads(&dir) });
        let kind = prop_oneof![
            3 => Just("multipart/form-data; boundary=b".to_owned()),
            1 => "multipart/[a-z-]{0,9}(; ?boundary=\"?[ -~]{0,9})?",
        ];
        let pieces = prop::collection::vec(piece(), 0..12);
        let any = (pieces, any::<bool>(), 0_u64..600, kind);
        let tried = TestRunner::default().run(&any, |(pieces, is_whole, limit, kind)| {
            let mut bytes = pieces.concat();
            if is_whole {
                bytes.extend_from_slice(b"\r\n--b--\r\n");
            }
            let length = bytes.len() as u64;
            let (found, seen) = runtime.block_on(read(&uploads, &kind, bytes, limit));
            prop_assert!(
                seen <= length && (seen == length || seen > limit),
                "{seen} of {length}"
            );
            prop_assert!(found.is_err() || length <= limit);
            Ok(())
        });
        tried.unwrap();
        assert_eq!(uploads.taken(None), 0);
        assert_eq!(std::fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_whole_form_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = uploads(&dir);
        let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.py\"\r\n\r\nx\r\n";
        let kind = "multipart/form-data; boundary=b";
        for (form, limit, has_file) in [
            (format!("{part}--b--\r\n"), 1000, Some(true)),
            ("--b--\r\n".to_owned(), 1000, Some(false)),
            (format!("{part}{part}--b--\r\n"), 1000, None),
            (format!("{part}--b--\r\n"), 20, None),
        ] {
            let (found, _) = read(&uploads, kind, form.clone().into_bytes(), limit).await;
            assert_eq!(found.ok(), has_file, "{form} {limit}");
        }
    }
}
