//! Answers to a GET with the tag of their body: a client that has that body already is told so and is sent none (RFC 9110, 13.1.2).

use actix_web::body::None as NoBody;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::{IntoParams, IntoResponses};

use super::json::{encode, respond_with};
use crate::ready::Ready;

/// Bytes of the longest answer that has a tag: nobody polls a longer one, and its digest would take its time.
const TAGGED_BYTES: usize = 1024 * 1024;

/// What a client has already.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it only describes a header, which is read as it comes")]
pub struct Tagged {
    /// The `ETag` of an earlier answer, several of them, or `*`: an answer that would be the same is 304 and has no body.
    #[param(rename = "If-None-Match")]
    tag: Option<String>,
}

/// What such a client is told.
#[derive(Debug, IntoResponses)]
#[response(status = 304, description = "the same as If-None-Match says; no body", headers(("ETag" = String)))]
pub struct NotModified;

/// A 200 with a JSON body and its tag.
pub fn tagged(request: &HttpRequest, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => tagged_bytes(request, HttpResponse::Ok(), bytes),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn tagged_bytes(request: &HttpRequest, response: HttpResponseBuilder, bytes: Vec<u8>) -> HttpResponse {
    if bytes.len() > TAGGED_BYTES {
        return respond_with(request, response, bytes.into());
    }
    send(request, response, &Ready::new(bytes))
}

/// An answer with this body, and for a GET its tag.
pub fn send(request: &HttpRequest, mut response: HttpResponseBuilder, ready: &Ready) -> HttpResponse {
    if request.method() != Method::GET {
        return respond_with(request, response, ready.body.clone());
    }
    let compressed = encode(request, &mut response, &ready.body).map(Ready::new);
    // Compressed, it is another body.
    let ready = compressed.as_ref().unwrap_or(ready);
    let is_known = is_known(request.headers(), &ready.tag);
    if let Ok(tag) = HeaderValue::from_maybe_shared(ready.tag.clone()) {
        response.insert_header((ETAG, tag));
    }
    if is_known {
        let none = response
            .status(StatusCode::NOT_MODIFIED)
            .message_body(NoBody::new());
        let mut none = none.map_or_else(HttpResponse::from_error, HttpResponse::map_into_boxed_body);
        none.headers_mut().remove(CONTENT_TYPE);
        none.headers_mut().remove(CONTENT_ENCODING);
        return none;
    }
    response.body(ready.body.clone())
}

/// Whether If-None-Match names this tag. Weak ones, which proxies make of those that they changed the coding of, count as well.
fn is_known(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).any(|value| {
        let mut tags = value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii);
        tags.any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag)
    })
}

/// A value as JSON, with its tag.
pub fn json_of(value: &impl Serialize) -> Ready {
    Ready::new(serde_json::to_vec(value).unwrap_or_default())
}

/// A 200 with a page of bodies: `around` is what has them, its last field, which is empty.
pub fn page(request: &HttpRequest, around: &impl Serialize, rows: &[Ready]) -> HttpResponse {
    let around = serde_json::to_vec(around).unwrap_or_default();
    tagged_bytes(request, HttpResponse::Ok(), join(around, rows))
}

fn join(mut page: Vec<u8>, rows: &[Ready]) -> Vec<u8> {
    // `[]}` is its end.
    page.truncate(page.len().saturating_sub(2));
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            page.push(b',');
        }
        page.extend_from_slice(&row.body);
    }
    page.extend_from_slice(b"]}");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_however_it_is_named() {
        let known = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            is_known(&headers, b"\"one\"")
        };
        for value in ["\"one\"", "W/\"one\"", "\"a\" ,W/\"b\" , \"one\"", "*", " * "] {
            assert!(known(value), "{value}");
        }
        for value in ["", "one", "\"one", "\"ONE\"", "w/\"one\"", "\"one\"\"two\"", "**"] {
            assert!(!known(value), "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), b"\"one\""));
    }

    #[test]
    fn a_page_has_its_rows_as_they_are() {
        let rows = [Ready::new("{\"a\":1}"), Ready::new("{\"b\":2}")];
        let around = || br#"{"from":0,"rows":[]}"#.to_vec();
        assert_eq!(join(around(), &rows), br#"{"from":0,"rows":[{"a":1},{"b":2}]}"#);
        assert_eq!(join(around(), &[]), around());
    }
}
