//! What is asked of the provider, and how: its keys, from a file, a URL, or where its own description says (OpenID Connect Discovery 1.0);
//! and that description, which `oidc` reads too.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;

use crate::config;

/// The most bytes of an answer: a JWK set, a description, a token.
const MOST_BYTES: usize = 1 << 20;

/// Where an issuer's description is, below its address.
const DESCRIPTION: &str = ".well-known/openid-configuration";

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file with a JWK set.
    File(PathBuf),
    /// The address of one.
    Address(Client, Url),
    /// The provider itself, which says where.
    Discovery(Client, Box<str>),
}

impl Source {
    pub(super) fn open(settings: &config::Jwt) -> anyhow::Result<Self> {
        if settings.keys.starts_with('/') {
            return Ok(Self::File(settings.keys.clone().into()));
        }
        let client = client(settings)?;
        if settings.keys.is_empty() {
            return Ok(Self::Discovery(client, settings.issuer.as_str().into()));
        }
        let url = settings.keys.parse().context("access.jwt.keys is no address")?;
        Ok(Self::Address(client, url))
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The JWK set, as text.
    ///
    /// # Errors
    /// It can't be had; the sentence says why.
    pub(super) async fn fetch(&self) -> Result<String, String> {
        match self {
            Self::File(path) => read(path).await.map_err(|error| error.to_string()),
            Self::Address(client, url) => get(client, url.clone()).await,
            Self::Discovery(client, issuer) => {
                let description = describe(client, issuer).await?;
                get(client, description.address("jwks_uri")?).await
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Address(_, url) => f.write_str(url.as_str()),
            Self::Discovery(_, issuer) => f.write_str(issuer),
        }
    }
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Debug)]
pub(in crate::authentication) struct Description(Map<String, Value>);

impl Description {
    /// Reads the description of this issuer, which must be its own (4.3).
    fn read(text: &str, issuer: &str) -> Result<Self, String> {
        let found: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("its description: {error}"))?;
        match found.get("issuer").and_then(Value::as_str) {
            Some(named) if named == issuer => Ok(Self(found)),
            Some(named) => Err(format!("its description is that of another issuer, {named:?}")),
            None => Err("its description names no issuer".to_owned()),
        }
    }

    /// The address that it names so. Nothing is sent there less safely than the description itself came.
    pub(in crate::authentication) fn address(&self, name: &str) -> Result<Url, String> {
        let text = self.0.get(name).and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("its description has no {name}"))?;
        let url: Url = text
            .parse()
            .map_err(|_| format!("the {name} of its description is no address"))?;
        let issuer = self.0.get("issuer").and_then(Value::as_str);
        let is_plain = issuer.is_some_and(|issuer| issuer.starts_with("http://"));
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_plain => Ok(url),
            _ => Err(format!("the {name} of its description is not https")),
        }
    }

    /// Whether it says that it can or does this.
    pub(in crate::authentication) fn says(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }
}

/// A client of the provider: it follows no redirects, and believes the authorities of the configuration.
///
/// # Errors
/// The certificates can't be read.
pub(in crate::authentication) fn client(settings: &config::Jwt) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .timeout(settings.timeout.get())
        .pool_idle_timeout(Duration::from_secs(30));
    if !settings.ca_file.as_os_str().is_empty() {
        let path = settings.ca_file.display();
        let file = std::fs::read(&settings.ca_file);
        let file = file.with_context(|| format!("access.jwt.ca_file: {path}"))?;
        let certificates = Certificate::from_pem_bundle(&file);
        let certificates = certificates.with_context(|| format!("access.jwt.ca_file: {path}"))?;
        anyhow::ensure!(
            !certificates.is_empty(),
            "access.jwt.ca_file: {path}: there is no certificate in it"
        );
        builder = builder.tls_certs_merge(certificates);
    }
    builder
        .build()
        .context("access.jwt: the HTTP client can't be made")
}

/// Asks the provider what it says of itself.
///
/// # Errors
/// It can't be had, or is another's; the sentence says why.
pub(in crate::authentication) async fn describe(
    client: &Client,
    issuer: &str,
) -> Result<Description, String> {
    let address = format!("{}/{DESCRIPTION}", issuer.trim_end_matches('/'));
    let url = address
        .parse()
        .map_err(|_| format!("{address:?} is no address"))?;
    Description::read(&get(client, url).await?, issuer)
}

async fn read(path: &PathBuf) -> std::io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MOST_BYTES as u64).read_to_string(&mut text).await?;
    Ok(text)
}

async fn get(client: &Client, url: Url) -> Result<String, String> {
    let answer = client.get(url.clone()).send().await;
    let answer = answer.map_err(|error| told(&error))?;
    if !answer.status().is_success() {
        return Err(format!("{url} answers {}", answer.status()));
    }
    body(answer).await
}

/// The body of an answer, of which there is so much at most.
///
/// # Errors
/// It does not come, or is too long, or no text; the sentence says so.
pub(in crate::authentication) async fn body(mut answer: Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| told(&error))? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(format!("{} answers with more than 1 MiB", answer.url()));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| format!("{} answers with no text", answer.url()))
}

/// An error with its causes: by itself it hardly says why.
pub(in crate::authentication) fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Description;

    #[test]
    fn a_description_is_the_issuers_own_and_as_safe() {
        let description = |issuer: &str, keys: &str| {
            format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "more": 1}}"#)
        };
        let address = |text: &str, issuer: &str| Description::read(text, issuer)?.address("jwks_uri");
        let ask = |issuer: &str, keys: &str| address(&description(issuer, keys), "https://id.example.com");
        assert!(ask("https://id.example.com", "https://keys.example.com/jwks").is_ok());
        for (issuer, keys) in [
            ("https://id.example.com/", "https://id.example.com/jwks"),
            ("https://evil.example.com", "https://id.example.com/jwks"),
            ("https://id.example.com", "http://id.example.com/jwks"),
            ("https://id.example.com", "file:///etc/passwd"),
            ("https://id.example.com", "jwks"),
        ] {
            assert!(ask(issuer, keys).is_err(), "{issuer} {keys}");
        }
        assert!(address("{}", "https://id.example.com").is_err());
        assert!(
            address(
                r#"{"issuer": "https://id.example.com"}"#,
                "https://id.example.com"
            )
            .is_err()
        );
        let here = "http://127.0.0.1:1";
        assert!(address(&description(here, "http://127.0.0.1:1/jwks"), here).is_ok());
        for elsewhere in ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x"] {
            assert!(
                address(&description(here, elsewhere), here).is_err(),
                "{elsewhere}"
            );
        }
    }
}
