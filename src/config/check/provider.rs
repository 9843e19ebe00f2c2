//! Checks of the identity provider whose word is believed: JWT and OpenID Connect. Called by `access.rs` for each way that `access.mode`
//! lists; calls `logins.rs`.

use std::path::Path;

use super::Fail;
use super::logins::{is_this_host, scheme_and_host};
use crate::config::error::ConfigError;
use crate::config::keys::{Jwt, Oidc, Server};

/// What tokens may be signed with. No `none`, and nothing with a shared secret.
const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

/// The most logins that may be pending, since each is kept in memory.
const MOST_PENDING: usize = 10_000;

/// Where the provider sends browsers back, below `server.base_path`.
const CALLBACK: &str = "/login/oidc/callback";

pub(super) fn check_jwt(jwt: &Jwt, fail: &Fail<'_>) -> Result<(), ConfigError> {
    if jwt.issuer.is_empty() {
        return fail.because(
            "access.jwt.issuer",
            "access.mode = \"jwt\" needs the `iss` of the tokens",
        );
    }
    if jwt.audience.is_empty() || jwt.audience.iter().any(String::is_empty) {
        let reason =
            "access.mode = \"jwt\" needs the `aud` of the tokens, or those for others would be taken";
        return fail.because("access.jwt.audience", reason);
    }
    check_provider(jwt, fail)
}

/// What holds for each way that believes the provider's keys.
fn check_provider(jwt: &Jwt, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Jwt {
        issuer,
        audience: _,
        keys,
        ca_file,
        algorithms,
        user_claim,
        groups_claim: _,
        groups,
        leeway: _,
        refresh,
        fetch_interval,
        stale,
        timeout,
    } = jwt;
    let source = if keys.is_empty() {
        ("access.jwt.issuer", issuer)
    } else {
        ("access.jwt.keys", keys)
    };
    match (source, scheme_and_host(source.1)) {
        ((_, _), Some(("https", _))) => {}
        ((_, _), Some(("http", host))) if is_this_host(host) => {}
        (("access.jwt.keys", path), None) if Path::new(path).is_absolute() => {}
        ((key, _), _) => {
            let reason = "keys come from an https:// address, or http:// of this host, or for access.jwt.keys a file by its \
                          absolute path";
            return fail.because(key, reason);
        }
    }
    if !ca_file.as_os_str().is_empty() {
        fail.absolute("access.jwt.ca_file", std::slice::from_ref(ca_file))?;
    }
    let odd = algorithms
        .iter()
        .find(|name| !ALGORITHMS.contains(&name.as_str()));
    if algorithms.is_empty() || odd.is_some() {
        let reason = format!("must be some of {}", ALGORITHMS.join(", "));
        return fail.because("access.jwt.algorithms", reason);
    }
    if user_claim.is_empty() {
        return fail.because("access.jwt.user_claim", "must not be empty");
    }
    fail.positive(&[
        ("access.jwt.refresh", *refresh),
        ("access.jwt.fetch_interval", *fetch_interval),
        ("access.jwt.stale", *stale),
        ("access.jwt.timeout", *timeout),
    ])?;
    fail.at_least_one(&[("access.jwt.groups", *groups)])
}

pub(super) fn check_oidc(
    oidc: &Oidc,
    jwt: &Jwt,
    server: &Server,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Oidc {
        client_id,
        client_secret_file,
        redirect_uri,
        scopes,
        name,
        pending_time,
        pending,
        at_once,
    } = oidc;
    match scheme_and_host(&jwt.issuer) {
        Some(("https", _)) => {}
        Some(("http", host)) if is_this_host(host) => {}
        _ => {
            let reason =
                "access.mode = \"oidc\" needs the provider's address, https://, or http:// of this host";
            return fail.because("access.jwt.issuer", reason);
        }
    }
    check_provider(jwt, fail)?;
    if client_id.is_empty() {
        let reason = "access.mode = \"oidc\" needs what the provider calls this server";
        return fail.because("access.oidc.client_id", reason);
    }
    if name.is_empty() {
        return fail.because("access.oidc.name", "must not be empty");
    }
    fail.plain(&[("access.oidc.client_id", client_id), ("access.oidc.name", name)])?;
    if !client_secret_file.as_os_str().is_empty() {
        fail.absolute(
            "access.oidc.client_secret_file",
            std::slice::from_ref(client_secret_file),
        )?;
    }
    let callback = format!("{}{CALLBACK}", server.base_path);
    match scheme_and_host(redirect_uri) {
        _ if !redirect_uri.ends_with(&callback) || redirect_uri.contains(['?', '#']) => {
            let reason = format!(
                "must be this server's address as browsers see it and as the provider knows it, ending with {callback}, such as \
                 https://spark.example.com{callback}"
            );
            return fail.because("access.oidc.redirect_uri", reason);
        }
        Some(("https", _)) => {}
        Some(("http", host)) if server.plain_http || is_this_host(host) => {}
        _ => {
            let reason = "must be https://, or everybody on the way could take a login over; http:// is for this host, and where \
                          server.plain_http = true";
            return fail.because("access.oidc.redirect_uri", reason);
        }
    }
    // RFC 6749, 3.3.
    let is_scope = |scope: &String| {
        !scope.is_empty()
            && scope
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    if !scopes.iter().any(|scope| scope == "openid") || !scopes.iter().all(is_scope) {
        let reason = "must have `openid`, and words without blanks and quotes";
        return fail.because("access.oidc.scopes", reason);
    }
    fail.positive(&[("access.oidc.pending_time", *pending_time)])?;
    if !(1..=MOST_PENDING).contains(pending) {
        let reason = format!("must be from 1 to {MOST_PENDING}");
        return fail.because("access.oidc.pending", reason);
    }
    fail.at_least_one(&[("access.oidc.at_once", *at_once)])
}

#[cfg(test)]
mod tests {
    use crate::config::check::logins::tests::said;

    #[test]
    fn what_is_wrong_with_a_providers_login_is_said() {
        let well = [
            "mode oidc",
            "jwt.issuer https://id.example.com",
            "oidc.client_id firesteel",
            "oidc.redirect_uri https://spark.example.com/hub/login/oidc/callback",
        ];
        assert_eq!(said(&well), "");
        for (change, expected) in [
            ("jwt.issuer ", "needs the provider's address"),
            ("jwt.issuer http://id.example.com", "needs the provider's address"),
            ("jwt.keys keys.json", "keys come from an https://"),
            ("jwt.algorithms HS256", "must be some of"),
            ("oidc.client_id ", "needs what the provider calls"),
            ("oidc.client_id a\nb", "control characters"),
            ("oidc.client_secret_file secret", "not an absolute path"),
            ("oidc.redirect_uri ", "ending with /login/oidc/callback"),
            (
                "oidc.redirect_uri https://spark.example.com/",
                "ending with /login/oidc/callback",
            ),
            (
                "oidc.redirect_uri https://spark.example.com/?/login/oidc/callback",
                "ending with /login/oidc/callback",
            ),
            (
                "oidc.redirect_uri http://spark.example.com/login/oidc/callback",
                "must be https://",
            ),
            (
                "oidc.redirect_uri https://a@spark.example.com/login/oidc/callback",
                "must be https://",
            ),
            ("oidc.redirect_uri /login/oidc/callback", "must be https://"),
            ("oidc.scopes profile", "must have `openid`"),
            ("oidc.scopes [\"openid\", \"a b\"]", "must have `openid`"),
            ("oidc.name ", "must not be empty"),
            ("oidc.pending_time 0s", "longer than 0s"),
            ("oidc.pending 0", "from 1 to 10000"),
            ("oidc.at_once 0", "at least 1"),
        ] {
            let told = said(&[&well[..], &[change]].concat());
            assert!(told.contains(expected), "{change}: {told}");
        }
        for here in ["http://127.0.0.1:8998", "http://[::1]", "http://localhost:1"] {
            let uri = format!("oidc.redirect_uri {here}/login/oidc/callback");
            assert_eq!(said(&[&well[..], &[&uri]].concat()), "");
        }
    }
}
