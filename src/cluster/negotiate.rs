//! Kerberos towards YARN's web servers (SPNEGO, RFC 4559): a server that answers 401 is shown the ticket once, and the cookie that it gives for that
//! from then on.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use reqwest::{Client, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use crate::background::Background;
use crate::sys::gssapi::{GssError, Gssapi};

/// The cookie of Hadoop's servers.
const SIGNED: &str = "hadoop.auth=";
/// Servers whose cookies are kept; with more all are forgotten.
const SERVERS: usize = 4096;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server can't be reached, or breaks off.
    Unreached(reqwest::Error),
    /// It wants a ticket, and there is none, or it does not take it: a sentence without a subject.
    Refused(String),
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreached(error)
    }
}

/// The ticket, and what servers gave for it.
#[derive(Debug)]
pub(super) struct Negotiate {
    /// The cache with the ticket; none: the process's own.
    cache: Option<CString>,
    library: OnceLock<Result<Arc<Gssapi>, String>>,
    cookies: Mutex<HashMap<String, HeaderValue>>,
    /// One token at a time: the KDC is asked for it.
    turn: Arc<Semaphore>,
    limit: Duration,
    background: Background,
}

impl Negotiate {
    /// With the ticket in this file, or the process's own. Nothing is read before a server asks. A token may take `limit`.
    ///
    /// # Errors
    /// The path can't be one.
    pub(super) fn new(
        cache: Option<&Path>,
        limit: Duration,
        background: &Background,
    ) -> anyhow::Result<Self> {
        let named = |path: &Path| CString::new([b"FILE:", path.as_os_str().as_bytes()].concat());
        Ok(Self {
            cache: cache.map(named).transpose().context("the ticket's path")?,
            library: OnceLock::new(),
            cookies: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            limit,
            background: background.clone(),
        })
    }

    /// Sends a request whose body is no stream, a second time where the server asks for a ticket.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(super) async fn send(&self, http: &Client, mut request: Request) -> Result<Response, Failed> {
        let server = request.url().origin().ascii_serialization();
        let host = request.url().host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let again = request.try_clone();
        if let Some(cookie) = self.lock().get(&server) {
            request.headers_mut().insert(COOKIE, cookie.clone());
        }
        let answer = http.execute(request).await?;
        let Some(mut again) = again.filter(|_| asks(&answer)) else {
            return Ok(answer);
        };
        // It has expired.
        self.lock().remove(&server);
        let token = self.token(&host).await.map_err(Failed::Refused)?;
        let token = format!("Negotiate {}", BASE64_STANDARD.encode(token));
        let mut token = HeaderValue::from_str(&token).map_err(|error| Failed::Refused(error.to_string()))?;
        token.set_sensitive(true);
        again.headers_mut().insert(AUTHORIZATION, token);
        let answer = http.execute(again).await?;
        let cookie = cookie(&answer);
        if cookie.is_none() && matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let status = answer.status();
            return Err(Failed::Refused(format!(
                "does not take the Kerberos ticket: {status}"
            )));
        }
        if let Some(cookie) = cookie {
            let mut cookies = self.lock();
            if cookies.len() >= SERVERS {
                cookies.clear();
            }
            cookies.insert(server, cookie);
        }
        Ok(answer)
    }

    /// A token for the web server of this host.
    async fn token(&self, host: &str) -> Result<Vec<u8>, String> {
        let library = self.library.get_or_init(|| {
            Gssapi::load().map(Arc::new).map_err(|error| {
                format!("MIT's Kerberos library can't be loaded (Debian: libgssapi-krb5-2, Red Hat: krb5-libs): {error}")
            })
        });
        let library = library
            .as_ref()
            .map_err(|why| format!("asks for Kerberos, and {why}"))?;
        let (library, cache) = (Arc::clone(library), self.cache.clone());
        let turn = Arc::clone(&self.turn);
        let of = host.to_owned();
        let made = async {
            let turn = turn.acquire_owned().await;
            let making = move || {
                // Held until the library has ended, whether somebody waits or not.
                let _turn = turn;
                library.initiate(cache.as_deref(), &of)
            };
            self.background.blocking(making).await
        };
        match tokio::time::timeout(self.limit, made).await {
            Ok(Ok(Ok(token))) => Ok(token),
            Ok(Ok(Err(GssError::OwnKey(why)))) => Err(format!(
                "asks for Kerberos, and there is no ticket (hadoop.keytab, else KRB5CCNAME): {why}"
            )),
            Ok(Ok(Err(GssError::Token(why)))) => Err(format!(
                "asks for Kerberos, and no ticket for HTTP/{host} can be got: {why}"
            )),
            Ok(Err(panicked)) => Err(format!("asks for Kerberos: {panicked}")),
            Err(_) => Err("asks for Kerberos, and the KDC does not answer".to_owned()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, HeaderValue>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server asks for a ticket.
fn asks(answer: &Response) -> bool {
    let schemes = answer.headers().get_all(WWW_AUTHENTICATE);
    let mut schemes = schemes.iter().filter_map(|scheme| scheme.to_str().ok());
    answer.status() == StatusCode::UNAUTHORIZED
        && schemes.any(|scheme| {
            scheme
                .get(..9)
                .is_some_and(|name| name.eq_ignore_ascii_case("negotiate"))
        })
}

/// The cookie that stands for the ticket, as it goes back.
fn cookie(answer: &Response) -> Option<HeaderValue> {
    let set = answer.headers().get_all(SET_COOKIE).iter();
    let mut pairs = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::trim));
    let pair = pairs.find(|pair| pair.len() > SIGNED.len() + 2 && pair.starts_with(SIGNED))?;
    let mut cookie = HeaderValue::from_str(pair).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}
