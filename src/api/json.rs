//! JSON in and out: request bodies under a limit and a deadline, answers in Livy's content type.

use std::io::Read as _;
use std::time::Duration;

use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder, GzEncoder, ZlibDecoder};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::App;
use super::error::ApiError;
use super::wire::JSON;
use crate::idempotency::IdempotencyKey;

/// A body that is slow gets a second more for each of these that have come.
pub const BYTES_PER_SECOND: usize = 256 * 1024;
/// The header that makes a POST safe to send again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_MAX: usize = 255;
/// On an answer that an earlier request made.
pub const REPLAYED: (&str, &str) = ("Idempotent-Replayed", "true");
/// Answers shorter than this are sent as they are: compressing them costs more than it saves.
const COMPRESS_FROM: usize = 16 * 1024;

/// Reads a JSON body, whatever content type it says it has, as Livy takes it. `T` names what it may hold. A handler calls this
/// once its guard has let the caller in: extractors run side by side, and a stranger's body is nobody's business.
///
/// `Content-Encoding: gzip` and `deflate` are inflated up to the body limit; any other, such as the `UTF-8` of Livy's Java
/// client, is no coding and changes nothing (clients.md, W11).
///
/// # Errors
/// Too long, too slow, not JSON, or not a `T`; the text names the field.
pub async fn read<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, ApiError> {
    parse(&take(request, payload).await?)
}

/// Reads a JSON body as [`read`] does, and the request's Idempotency-Key if it has one. `scope` says whose keys these are.
///
/// # Errors
/// Those of [`read`], or the key is not 1 to 255 visible ASCII characters.
pub async fn read_keyed<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    scope: String,
) -> Result<(T, Option<IdempotencyKey>), ApiError> {
    let header = request.headers().get(IDEMPOTENCY_KEY);
    let key = header.map(|value| {
        let key = value.to_str().unwrap_or_default();
        let fits = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let reason = || format!("Idempotency-Key: 1 to {KEY_MAX} visible ASCII characters are needed");
        fits.then(|| key.to_owned())
            .ok_or_else(|| ApiError::BadRequest(reason()))
    });
    let key = key.transpose()?;
    let bytes = take(request, payload).await?;
    let body = parse(&bytes)?;
    let key = key.map(|key| {
        // The query counts: doAs makes it another request.
        let digest = Sha256::new()
            .chain_update(request.query_string())
            .chain_update("\n")
            .chain_update(&bytes)
            .finalize();
        let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        IdempotencyKey {
            scope,
            key,
            fingerprint,
        }
    });
    Ok((body, key))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::BadBody(
            "No content to map due to end-of-input".to_owned(),
        ));
    }
    // serde would take a list for the fields in their order.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(ApiError::BadBody("an object is needed, not a list".to_owned()));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.inner().to_string();
        ApiError::BadBody(if path == "." {
            reason
        } else {
            format!("{path}: {reason}")
        })
    })?;
    reader
        .end()
        .map_err(|error| ApiError::BadBody(error.to_string()))?;
    Ok(value)
}

/// Reads a body under the same limits and ignores it.
///
/// # Errors
/// Too long or too slow.
pub async fn ignore(request: &HttpRequest, payload: Payload) -> Result<(), ApiError> {
    take(request, payload).await.map(drop)
}

/// Reads a body under the limits, inflated where it came so.
///
/// # Errors
/// Too long or too slow, or not of the coding that it says.
pub async fn take(request: &HttpRequest, mut payload: Payload) -> Result<Bytes, ApiError> {
    let app = request.app_data::<web::Data<App>>().map(|app| app.config.clone());
    let app = app.ok_or_else(|| ApiError::Unavailable("The server is not set up.".to_owned()))?;
    let (limit, base) = (app.limits.request_body.len(), app.server.body_timeout.get());
    let start = tokio::time::Instant::now();
    let mut body = BytesMut::new();
    loop {
        let earned = Duration::from_secs((body.len() / BYTES_PER_SECOND) as u64);
        let chunk = match tokio::time::timeout_at(start + base + earned, payload.next()).await {
            Err(_) => return Err(ApiError::BodyTimeout),
            Ok(None) => break,
            Ok(Some(chunk)) => chunk.map_err(|error| ApiError::BadBody(error.to_string()))?,
        };
        if body.len() + chunk.len() > limit {
            return Err(ApiError::BodyTooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    inflate(request.headers(), body.freeze(), limit)
}

fn inflate(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let coding = headers
        .get(CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let inflated = match coding.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => expand(GzDecoder::new(&body[..]), limit),
        // Some clients send the zlib format that the standard means, some the bare one.
        "deflate" if body.first().is_some_and(|byte| byte & 0x0f == 8) => {
            expand(ZlibDecoder::new(&body[..]), limit)
        }
        "deflate" => expand(DeflateDecoder::new(&body[..]), limit),
        _ => return Ok(body),
    };
    let inflated =
        inflated.map_err(|error| ApiError::BadBody(format!("the body is no {coding}: {error}")))?;
    if inflated.len() > limit {
        Err(ApiError::BodyTooLarge(limit))
    } else {
        Ok(inflated.into())
    }
}

fn expand(reader: impl std::io::Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut inflated)
        .map(|_| inflated)
}

/// An answer with a JSON body. Long ones are compressed for a client that takes gzip.
pub fn respond(request: &HttpRequest, response: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => respond_with(request, response, bytes.into()),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// An answer with a body that is JSON already.
pub fn respond_with(request: &HttpRequest, mut response: HttpResponseBuilder, body: Bytes) -> HttpResponse {
    match encode(request, &mut response, &body) {
        Some(compressed) => response.body(compressed),
        None => response.body(body),
    }
}

/// Says in the headers how a JSON body is sent; gives it compressed where it is sent so.
pub fn encode(request: &HttpRequest, response: &mut HttpResponseBuilder, body: &[u8]) -> Option<Vec<u8>> {
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    if body.len() < COMPRESS_FROM {
        return None;
    }
    response.insert_header((VARY, "Accept-Encoding"));
    if !takes_gzip(request.headers()) {
        return None;
    }
    let mut small = Vec::with_capacity(body.len() / 4);
    GzEncoder::new(body, Compression::fast())
        .read_to_end(&mut small)
        .ok()?;
    response.insert_header((CONTENT_ENCODING, "gzip"));
    Some(small)
}

/// A 200 with a JSON body.
pub fn ok(request: &HttpRequest, body: &impl Serialize) -> HttpResponse {
    respond(request, HttpResponse::Ok(), body)
}

/// Whether a client takes an answer in gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT_ENCODING)
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && !parts.any(|part| part == "q=0")
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::wire::{
        AddRequest, CompletionRequest, CreateBatch, CreateSession, JobRequest, StatementRequest,
    };
    use super::*;

    /// Each body there is, read from these bytes.
    fn all_of(bytes: &[u8]) -> [Result<(), ApiError>; 6] {
        [
            parse::<CreateSession>(bytes).map(drop),
            parse::<CreateBatch>(bytes).map(drop),
            parse::<StatementRequest>(bytes).map(drop),
            parse::<CompletionRequest>(bytes).map(drop),
            parse::<JobRequest>(bytes).map(drop),
            parse::<AddRequest>(bytes).map(drop),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "-?[0-9]{0,12}|.{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(".{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            for read in all_of(&bytes) {
                prop_assert!(read.is_ok() || matches!(read, Err(ApiError::BadBody(_))));
            }
        }

        /// Each field holds what it may or is named in a short sentence.
        #[test]
        fn any_fields_are_read(
            fields in prop::collection::hash_map(
                "kind|conf|jars|pyFiles|files|archives|name|ttl|idleTimeout|driverMemory|driverCores|executorCores|numExecutors|\
                 heartbeatTimeoutInSecond|file|className|args|queue|proxyUser|code|cursor|job|jobType|uri|.{0,6}",
                value(),
                0..5,
            ),
            cut: prop::sample::Index,
        ) {
            let whole = Value::Object(fields.into_iter().collect::<Map<_, _>>()).to_string();
            for bytes in [whole.as_bytes(), &whole.as_bytes()[..cut.index(whole.len())]] {
                for read in all_of(bytes) {
                    if let Err(refused) = read {
                        prop_assert!(matches!(refused, ApiError::BadBody(_)));
                        prop_assert!(refused.to_string().len() < 400, "{refused}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            for field in ["x", "conf", "jars", "name", "code", "kind", "job"] {
                let deep = format!(
                    "{{\"{field}\":{}1{}}}",
                    open.repeat(200_000),
                    close.repeat(200_000)
                );
                let [session, batch, ..] = all_of(deep.as_bytes());
                assert!(matches!(session, Err(ApiError::BadBody(_))), "{field}");
                assert!(matches!(batch, Err(ApiError::BadBody(_))), "{field}");
            }
        }
    }

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn a_bomb_is_inflated_to_the_limit_and_no_further() {
        let mut bomb = Vec::new();
        GzEncoder::new(&vec![b' '; 1 << 20][..], Compression::best())
            .read_to_end(&mut bomb)
            .unwrap();
        let gzip = headers(CONTENT_ENCODING, "gzip");
        assert!(matches!(
            inflate(&gzip, bomb.clone().into(), 1000),
            Err(ApiError::BodyTooLarge(1000))
        ));
        assert_eq!(inflate(&gzip, bomb.into(), 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(
            inflate(&gzip, "{}".into(), 1000),
            Err(ApiError::BadBody(_))
        ));
    }

    #[test]
    fn utf_8_is_no_coding() {
        let body = inflate(&headers(CONTENT_ENCODING, "UTF-8"), "{}".into(), 10).unwrap();
        assert_eq!(&body[..], b"{}");
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        assert!(takes_gzip(&headers(ACCEPT_ENCODING, "gzip, deflate")));
        assert!(!takes_gzip(&headers(ACCEPT_ENCODING, "gzip;q=0, br")));
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
