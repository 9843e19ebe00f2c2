//! A code becomes an ID token, at the provider's token endpoint (OpenID Connect Core 1.0, 3.1.3; RFC 6749, 4.1.3).

use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::authentication::jwt::source::{body, told};
use crate::config;

/// The most bytes of the file with the secret that are read.
const MOST_SECRET_FILE_BYTES: u64 = 64 << 10;

/// Why there is no ID token. The sentences are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoToken {
    /// The code is not taken: it was used, or is too old, or another's.
    #[error("it does not take the code (invalid_grant)")]
    Code,
    /// The provider does not take this server's word.
    #[error("it refuses this server: {0} (access.oidc.client_id, access.oidc.client_secret_file)")]
    Refused(String),
    /// The own secret can't be had.
    #[error("access.oidc.client_secret_file: {0}")]
    Secret(String),
    /// It can't be asked, or answers what nobody can read.
    #[error("{0}")]
    Silent(String),
}

#[derive(Deserialize)]
struct Answered {
    id_token: Option<String>,
    error: Option<String>,
}

/// Gives the code, and what proves that it is this server's, for an ID token.
pub(super) async fn exchange(
    client: &Client,
    endpoint: Url,
    settings: &config::Oidc,
    code: &str,
    verifier: &str,
) -> Result<String, NoToken> {
    let is_public = settings.client_secret_file.as_os_str().is_empty();
    let form = Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", &settings.redirect_uri)
        .append_pair("code_verifier", verifier)
        .extend_pairs(is_public.then_some(("client_id", &settings.client_id)))
        .finish();
    let mut request = client
        .post(endpoint)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if !is_public {
        let secret = secret(&settings.client_secret_file).await;
        let secret = secret.map_err(|error| NoToken::Secret(format!("{error:#}")))?;
        request = request.header(AUTHORIZATION, basic(&settings.client_id, &secret)?);
    }
    let answer = request.body(form).send().await;
    let answer = answer.map_err(|error| NoToken::Silent(told(&error.without_url())))?;
    let status = answer.status();
    let text = body(answer).await.map_err(NoToken::Silent)?;
    let answered: Answered = serde_json::from_str(&text)
        .map_err(|_| NoToken::Silent(format!("its token endpoint answers {status} without JSON")))?;
    match (answered.id_token, answered.error) {
        (Some(token), None) if status.is_success() => Ok(token),
        (_, Some(error)) if error == "invalid_grant" => Err(NoToken::Code),
        (_, Some(error)) => {
            // A word of the protocol's; nothing else that a provider may put there is told.
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let word = error.chars().take_while(|c| is_word(*c)).take(64).collect();
            Err(NoToken::Refused(word))
        }
        _ => Err(NoToken::Silent(format!(
            "its token endpoint answers {status} without an ID token"
        ))),
    }
}

/// `client_secret_basic`: both are form-encoded first (RFC 6749, 2.3.1).
fn basic(client: &str, secret: &str) -> Result<HeaderValue, NoToken> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = BASE64_STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret)));
    let value = HeaderValue::from_str(&format!("Basic {pair}"));
    let mut value = value.map_err(|_| NoToken::Secret("it can't be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first line of the file.
pub(super) async fn secret(path: &Path) -> anyhow::Result<String> {
    let path_shown = path.display().to_string();
    let file = tokio::fs::File::open(path).await.context(path_shown.clone())?;
    let mut text = String::new();
    let read = file.take(MOST_SECRET_FILE_BYTES).read_to_string(&mut text).await;
    read.context(path_shown.clone())?;
    first_line(&text).with_context(|| format!("{path_shown}: the first line is empty"))
}

/// The first line of what is in the file, which must not be empty.
pub(super) fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_encoded_before_they_are_joined() {
        let header = basic("a:b", "s p+ä%").unwrap();
        assert!(header.is_sensitive());
        let sent = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let sent = BASE64_STANDARD.decode(sent).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), "a%3Ab:s+p%2B%C3%A4%25");
    }

    #[test]
    fn a_secret_is_a_line() {
        assert_eq!(first_line("s3cret\nmore"), Some("s3cret".to_owned()));
        assert_eq!(first_line("s3cret\r\n"), Some("s3cret".to_owned()));
        assert_eq!(first_line(""), None);
        assert_eq!(first_line("\nx"), None);
    }
}
