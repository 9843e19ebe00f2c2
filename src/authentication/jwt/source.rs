//! Where the provider's keys come from: a file, a URL, or what the provider's own description names (OpenID Connect Discovery 1.0).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use crate::config;

/// The most bytes of a JWK set, and of a description.
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
        let client = builder
            .build()
            .context("access.jwt: the HTTP client can't be made")?;
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
                let address = format!("{}/{DESCRIPTION}", issuer.trim_end_matches('/'));
                let url = address
                    .parse()
                    .map_err(|_| format!("{address:?} is no address"))?;
                let description = get(client, url).await?;
                get(client, keys_address(&description, issuer)?).await
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

/// What a description says of the keys. It must be the issuer's own (OpenID Connect Discovery 1.0, 4.3), and keys are not fetched less
/// safely than it was itself.
fn keys_address(description: &str, issuer: &str) -> Result<Url, String> {
    #[derive(Deserialize)]
    struct Description {
        issuer: String,
        jwks_uri: String,
    }
    let found: Description =
        serde_json::from_str(description).map_err(|error| format!("its description: {error}"))?;
    if found.issuer != issuer {
        return Err(format!(
            "its description is that of another issuer, {:?}",
            found.issuer
        ));
    }
    let url: Url = found
        .jwks_uri
        .parse()
        .map_err(|_| "the jwks_uri of its description is no address".to_owned())?;
    if url.scheme() != "https" && !issuer.starts_with("http://") {
        return Err("the jwks_uri of its description is not https".to_owned());
    }
    Ok(url)
}

async fn read(path: &PathBuf) -> std::io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MOST_BYTES as u64).read_to_string(&mut text).await?;
    Ok(text)
}

async fn get(client: &Client, url: Url) -> Result<String, String> {
    let told = |error: reqwest::Error| {
        // The error itself hardly says why.
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        text
    };
    let mut answer = client.get(url.clone()).send().await.map_err(told)?;
    if !answer.status().is_success() {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(format!("{url} answers with more than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| format!("{url} answers with no text"))
}

#[cfg(test)]
mod tests {
    use super::keys_address;

    #[test]
    fn a_description_is_the_issuers_own_and_as_safe() {
        let description = |issuer: &str, keys: &str| {
            format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "more": 1}}"#)
        };
        let ask =
            |issuer: &str, keys: &str| keys_address(&description(issuer, keys), "https://id.example.com");
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
        assert!(keys_address("{}", "https://id.example.com").is_err());
        let on_loopback = description("http://127.0.0.1:1", "http://127.0.0.1:1/jwks");
        assert!(keys_address(&on_loopback, "http://127.0.0.1:1").is_ok());
    }
}
