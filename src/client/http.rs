//! Requests to the server, with their time-outs and retries.
//!
//! Before anything was submitted, a server that can't be reached is told at once. After that it is waited for, `retry_for` at most, so
//! that a restart of the server ends no command. A POST carries an Idempotency-Key: sent again, it makes nothing twice. Livy knows no such
//! keys, so there a POST whose answer was lost is not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::backoff::Backoff;
use super::failure::Failure;
use super::screen::Screen;
use super::settings::{Identity, Settings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another try is put off where a 503 does not say.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// The server's way to say that it cut a SQL result, or a text, which says so itself.
const TRUNCATED: &str = "x-firesteel-truncated";

/// The server, as one caller sees it; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
    screen: Screen,
    /// Something was submitted.
    patient: Arc<AtomicBool>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Value,
    /// Where rows were cut: at which limit.
    pub truncated: Option<String>,
}

/// How often a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// As often as needed: it changes nothing, or the same.
    Always,
    /// As often as needed where the server keeps its key.
    Keyed,
    /// Only where it can't have arrived.
    Unsent,
}

/// Why there is no answer.
struct Trouble {
    reason: String,
    /// The server may have acted on the request.
    may_have_arrived: bool,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn new(settings: Settings, screen: Screen) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("firesteel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // Followed, a POST would become a GET, and the caller's secret would go elsewhere.
            .redirect(Policy::none());
        if is_loopback(&settings.url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|reason| Failure::Failed(format!("can't make HTTP requests: {}", causes(&reason))))?;
        Ok(Self {
            http,
            settings,
            screen,
            patient: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Something was submitted: from now on a server that is away is waited for.
    pub fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.get_answer(path).await?.body)
    }

    /// GET, with what the headers say.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn get_answer(&self, path: &str) -> Result<Answer, Failure> {
        self.exchange(Repeat::Always, || self.request(Method::GET, path))
            .await
    }

    /// GET of a body of any length, of which the caller takes the pieces; it may be long in coming.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn get_stream(&self, path: &str) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path).timeout(Duration::MAX);
        let sent = request
            .send()
            .await
            .map_err(|reason| self.unreachable(&causes(&reason)))?;
        let status = sent.status();
        if status.is_success() {
            return Ok(sent);
        }
        let body = sent.bytes().await.unwrap_or_default();
        Err(self.refusal(status, &serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// POST of something new. It is made once, however often it has to be sent.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let key = Uuid::new_v4().to_string();
        let request = || {
            self.request(Method::POST, path)
                .header("Idempotency-Key", &key)
                .json(body)
        };
        self.exchange(Repeat::Keyed, request).await
    }

    /// POST of something new that no key makes safe to send again: it is sent again only where it can't have arrived.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn post_once(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = || self.request(Method::POST, path).json(body);
        Ok(self.exchange(Repeat::Unsent, request).await?.body)
    }

    /// POST of something that does no harm twice, such as a cancel.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn post_again(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = || self.request(Method::POST, path).json(body);
        Ok(self.exchange(Repeat::Always, request).await?.body)
    }

    /// POST of a form that `form` makes anew for each try; `limit` is for all of it.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn post_form(
        &self,
        path: &str,
        limit: Duration,
        form: impl Fn() -> reqwest::multipart::Form,
    ) -> Result<Value, Failure> {
        let limit = self.settings.timeout + limit;
        let request = || self.request(Method::POST, path).multipart(form()).timeout(limit);
        Ok(self.exchange(Repeat::Unsent, request).await?.body)
    }

    /// DELETE; what is gone already counts as deleted.
    ///
    /// # Errors
    /// As [`Failure`] has them.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = || self.request(Method::DELETE, path);
        match self.exchange(Repeat::Always, request).await {
            Ok(_) | Err(Failure::NotFound(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.settings.url.as_str().trim_end_matches('/')
    }

    /// The user's name, where there is one.
    pub fn user(&self) -> Option<&str> {
        match &self.settings.identity {
            Identity::Basic(user, _) => Some(user),
            Identity::None | Identity::Bearer(_) => None,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url()))
            .timeout(self.settings.timeout)
            // Livy's protection against foreign pages asks for it.
            .header("X-Requested-By", "firesteel");
        match &self.settings.identity {
            Identity::None => request,
            Identity::Basic(user, password) => request.basic_auth(user, Some(password.expose_secret())),
            Identity::Bearer(token) => request.bearer_auth(token.expose_secret()),
        }
    }

    async fn exchange(&self, repeat: Repeat, make: impl Fn() -> RequestBuilder) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.settings.retry_for;
        let mut backoff = Backoff::new();
        let mut waits = self.patient.load(Ordering::Relaxed);
        let mut told = false;
        loop {
            let trouble = match once(make()).await {
                Ok((status, pause, answer)) if status == StatusCode::SERVICE_UNAVAILABLE => {
                    if Instant::now() + pause > deadline {
                        return Err(self.refusal(status, &answer.body));
                    }
                    if !std::mem::replace(&mut told, true) {
                        let sentence = message(status, &answer.body);
                        self.screen.note(&format!("{sentence} Trying again."));
                    }
                    sleep(pause).await;
                    continue;
                }
                Ok((status, _, answer)) if status.is_success() => return Ok(answer),
                Ok((status, _, answer)) => return Err(self.refusal(status, &answer.body)),
                Err(trouble) => trouble,
            };
            if trouble.may_have_arrived {
                let may = match repeat {
                    Repeat::Always => waits,
                    Repeat::Keyed => true,
                    Repeat::Unsent => false,
                };
                if !may {
                    return Err(self.unreachable(&trouble.reason));
                }
                if repeat == Repeat::Keyed && !self.keeps_keys(deadline).await {
                    return Err(Failure::Unreachable(format!(
                        "{} took a request and did not answer ({}); look with `firesteel ls` whether it was acted on",
                        self.url(),
                        trouble.reason
                    )));
                }
                waits = true;
            }
            if !waits || Instant::now() > deadline {
                return Err(self.unreachable(&trouble.reason));
            }
            backoff.pause().await;
        }
    }

    /// Whether the server knows Idempotency-Keys, as soon as it answers.
    async fn keeps_keys(&self, deadline: Instant) -> bool {
        let mut backoff = Backoff::new();
        let told = async {
            loop {
                if let Ok((_, _, answer)) = once(self.request(Method::GET, "/version")).await {
                    return answer.body.to_string().contains("firesteel");
                }
                backoff.pause().await;
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        timeout(left, told).await.unwrap_or(false)
    }

    fn unreachable(&self, reason: &str) -> Failure {
        Failure::Unreachable(format!(
            "can't reach {} ({reason}): check that the server runs, and --url or FIRESTEEL_URL",
            self.url()
        ))
    }

    fn refusal(&self, status: StatusCode, body: &Value) -> Failure {
        let sentence = message(status, body);
        match status {
            StatusCode::UNAUTHORIZED => Failure::Refused(match self.settings.identity {
                Identity::None => {
                    format!("the server asks who calls: {sentence} Give --user, or set FIRESTEEL_TOKEN.")
                }
                _ => format!("the server does not accept the user and password, or the token: {sentence}"),
            }),
            StatusCode::FORBIDDEN => Failure::Refused(format!("the server refuses this to you: {sentence}")),
            StatusCode::NOT_FOUND => Failure::NotFound(sentence),
            StatusCode::SERVICE_UNAVAILABLE => Failure::Unreachable(sentence),
            _ => Failure::Failed(sentence),
        }
    }
}

/// One try: the status, how long to put off another, and the body.
async fn once(request: RequestBuilder) -> Result<(StatusCode, Duration, Answer), Trouble> {
    let trouble = |reason: reqwest::Error| Trouble {
        may_have_arrived: !reason.is_connect() && !reason.is_builder(),
        reason: causes(&reason),
    };
    let response = request.send().await.map_err(trouble)?;
    let status = response.status();
    let header = |response: &Response, name: &str| -> Option<String> {
        Some(response.headers().get(name)?.to_str().ok()?.to_owned())
    };
    let pause = header(&response, RETRY_AFTER.as_str())
        .and_then(|text| text.parse().ok())
        .map_or(RETRY_AFTER_DEFAULT, Duration::from_secs);
    let truncated = header(&response, TRUNCATED).filter(|limit| limit.starts_with("rows="));
    let moved = header(&response, LOCATION.as_str()).filter(|_| status.is_redirection());
    let bytes = response.bytes().await.map_err(trouble)?;
    let body = match moved {
        Some(to) => Value::from(format!("it has moved to {to}: give that as --url")),
        None => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    Ok((status, pause, Answer { body, truncated }))
}

/// The server's words, in whichever of Livy's shapes they come.
fn message(status: StatusCode, body: &Value) -> String {
    let words = match body {
        Value::String(text) => Some(text.as_str()),
        Value::Object(fields) => fields.get("msg").and_then(Value::as_str),
        _ => None,
    };
    match words.map(str::trim).filter(|words| !words.is_empty()) {
        Some(words) => words.to_owned(),
        None => format!("it answered {status}."),
    }
}

/// An error with what caused it, without the URL, which the sentence around it has.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_an_error_is_told() {
        let told = |body: Value| message(StatusCode::BAD_REQUEST, &body);
        assert_eq!(told(json!({"msg": "no file"})), "no file");
        assert_eq!(told(json!("java.lang.X")), "java.lang.X");
        assert_eq!(told(json!({})), "it answered 400 Bad Request.");
        assert_eq!(told(Value::Null), "it answered 400 Bad Request.");
    }

    #[test]
    fn loopback_needs_no_proxy() {
        let is = |text: &str| is_loopback(&Url::parse(text).unwrap());
        assert!(is("http://127.0.0.1:1/x") && is("http://[::1]:1") && is("https://localhost"));
        assert!(!is("http://10.0.0.1") && !is("https://localhost.example"));
    }
}
