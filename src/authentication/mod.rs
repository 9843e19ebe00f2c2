//! Who calls: the ways in which callers prove it, tried in the order of `access.mode`. A file of users (`basic.rs`, `passwd.rs`), an LDAP
//! directory (`ldap.rs`), Kerberos tickets (`kerberos.rs`), tokens of an identity provider (`jwt/`) and logins there (`oidc/`), a reverse
//! proxy (`proxy.rs`), tokens and browsers' logins that this server gave out (`credentials.rs`, `tokens.rs`, `logins.rs`, `scope.rs`). What was right a short while ago is
//! `remember.rs`; who guesses passwords is slowed (`throttle.rs`).
//!
//! No types of the HTTP server: `api` reads a request into [`Presented`] and turns [`Refusal`] into an answer. May be called by
//! `api`, `serve` and `main`; calls `access` (callers, names), `store` (what was given out), `config` and `sys`.

mod basic;
mod credentials;
mod dn;
mod header;
mod jwt;
mod kerberos;
mod ldap;
mod logins;
mod oidc;
mod passwd;
mod proxy;
mod remember;
mod scope;
mod throttle;
mod tokens;
mod trust;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Semaphore;

use crate::access::Caller;
use crate::background::Background;
use crate::config::{Access, AccessMode};
use crate::peer::Peer;
use crate::store::Store;

pub use basic::{BasicFile, BasicFileError};
pub use credentials::NotMade;
pub use jwt::Wrong;
pub use logins::{LoggedIn, NoLogin};
pub use oidc::{Answer, Begun, NoSignOn};
pub use passwd::set_password;
pub use scope::{BadScope, Scope, Scopes};
pub use tokens::{MadeToken, NoToken, TokenFacts, TokenRequest};

use credentials::Credentials;
use proxy::TrustedProxy;
use throttle::{Guess, Throttle};

/// Passwords that are checked at once; more wait. Each takes a core for tens of milliseconds and argon2's memory.
const PASSWORD_CHECKS: usize = 2;

/// What a request says of who sends it.
#[derive(Debug, Clone, Default)]
pub struct Presented {
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// What a browser's cookie says.
    pub cookie: Option<String>,
    /// The other end of the connection.
    pub peer: Peer,
    /// Where the request comes from: the peer's address, or what a reverse proxy that may be believed says.
    pub address: Option<IpAddr>,
    /// The header `access.proxy.header`, where there is one.
    pub proxied_user: Option<String>,
    /// The header `access.proxy.groups_header`, where there is one.
    pub proxied_groups: Option<String>,
}

/// With what a caller came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Through {
    /// With a proof of its own: all that the caller may do is open to it.
    #[default]
    Proof,
    /// With an API token.
    Token {
        /// What the token may do.
        scopes: Scopes,
        /// When it ends, in epoch milliseconds.
        expires: i64,
        /// How its owner had proved the name.
        way: AccessMode,
    },
    /// With a browser's cookie, which the browser sends along whichever page asks.
    Cookie,
}

/// A caller who has proved who it is.
#[derive(Debug, Clone)]
pub struct Proved {
    /// Who it is.
    pub caller: Caller,
    /// How it was proved; none where nobody is asked.
    pub by: Option<AccessMode>,
    /// With what.
    pub through: Through,
    /// A header `WWW-Authenticate` of the answer, by which the server proves itself in turn (RFC 4559).
    pub answer: Option<String>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was proved: 401 with these `WWW-Authenticate` headers, one for each way that a client can choose.
    Unproved(Vec<String>),
    /// What would have to be asked does not answer: 503 with this sentence.
    Unavailable(String),
    /// Too many wrong passwords came from there: 429, to be tried again after this.
    Throttled(Duration),
}

/// What one way says of a request.
enum Verdict {
    /// Nothing of its kind is in the request, or it does not know that user: the next way is tried.
    NotMine,
    Proved(Proved),
    /// It asks elsewhere, and there is no answer.
    Unavailable(String),
}

/// A name and a password that a request tries. A token in the password's place is none: it can't be guessed.
struct Tried {
    guess: Guess,
    password: String,
    /// Whether the password may be looked at; none until a way asks.
    may_look: Option<bool>,
}

impl Tried {
    fn new(address: Option<IpAddr>, user: &str, password: &str) -> Self {
        let (user, password) = (user.to_owned(), password.to_owned());
        Self {
            guess: Guess { address, user },
            password,
            may_look: None,
        }
    }
}

/// The ways that `access.mode` lists.
#[derive(Debug)]
pub struct Authentication {
    access: Access,
    background: Background,
    ways: Vec<Way>,
    password_checks: Semaphore,
    credentials: Credentials,
    throttle: Throttle,
}

#[derive(Debug)]
enum Way {
    Basic(Arc<BasicFile>),
    Ldap(Arc<ldap::Directory>),
    Kerberos(Box<kerberos::Tickets>),
    Jwt(Arc<jwt::Issuer>),
    Oidc(Arc<oidc::Provider>),
    Token,
    Proxy(TrustedProxy),
}

impl Way {
    /// Whether it asks for a name and a password.
    fn takes_passwords(&self) -> bool {
        match self {
            Self::Basic(_) | Self::Ldap(_) => true,
            Self::Kerberos(_) | Self::Jwt(_) | Self::Oidc(_) | Self::Token | Self::Proxy(_) => false,
        }
    }
}

impl Authentication {
    /// Opens each way, and reads what an earlier server gave out.
    ///
    /// # Errors
    /// One can't be used; the sentence says why.
    pub async fn open(access: &Access, store: &Store, background: &Background) -> anyhow::Result<Self> {
        let mut ways = Vec::new();
        // One for both ways that believe the provider's keys.
        let mut issuer: Option<Arc<jwt::Issuer>> = None;
        let mut open_issuer = || match &issuer {
            Some(opened) => anyhow::Ok(Arc::clone(opened)),
            None => Ok(Arc::clone(
                issuer.insert(Arc::new(jwt::Issuer::open(&access.jwt)?)),
            )),
        };
        for mode in access.mode.iter() {
            match mode {
                AccessMode::Basic => {
                    let file = BasicFile::open(&access.basic_file, access.cache.get())?;
                    ways.push(Way::Basic(Arc::new(file)));
                }
                AccessMode::Token => ways.push(Way::Token),
                AccessMode::Proxy => ways.push(Way::Proxy(TrustedProxy::open(&access.proxy)?)),
                AccessMode::Ldap => {
                    ways.push(Way::Ldap(Arc::new(ldap::Directory::open(&access.ldap)?)));
                }
                AccessMode::Kerberos => {
                    ways.push(Way::Kerberos(Box::new(kerberos::Tickets::open(
                        &access.kerberos,
                    )?)));
                }
                AccessMode::Jwt => ways.push(Way::Jwt(open_issuer()?)),
                AccessMode::Oidc => {
                    let provider = oidc::Provider::open(&access.oidc, &access.jwt, open_issuer()?)?;
                    ways.push(Way::Oidc(Arc::new(provider)));
                }
            }
        }
        let credentials = Credentials::open(store)
            .await
            .context("can't read the tokens and logins")?;
        Ok(Self {
            credentials,
            throttle: Throttle::new(access.throttle.clone()),
            access: access.clone(),
            background: background.clone(),
            ways,
            password_checks: Semaphore::new(PASSWORD_CHECKS),
        })
    }

    /// Who sends a request. Without a way everybody is let in, and is nobody in particular. Cancel safe.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn prove(&self, presented: &Presented) -> Result<Proved, Refusal> {
        if self.access.mode.is_open() {
            return Ok(Proved {
                caller: Caller::anonymous(),
                by: None,
                through: Through::Proof,
                answer: None,
            });
        }
        let pair = presented.authorization.as_deref().and_then(header::basic);
        let token = self.token_text(presented, pair.as_ref());
        let mut tried = pair
            .as_ref()
            .filter(|_| token.is_none() && self.takes_passwords())
            .map(|(user, password)| Tried::new(presented.address, user, password));
        for way in &self.ways {
            let verdict = match (way, &mut tried) {
                (Way::Basic(file), Some(tried)) => self.basic(file, tried).await,
                (Way::Ldap(directory), Some(tried)) => self.ldap(directory, tried).await,
                (Way::Basic(_) | Way::Ldap(_), None) => Verdict::NotMine,
                (Way::Token, _) => self.by_token(token),
                (Way::Proxy(proxy), _) => self.by_proxy(proxy, presented),
                (Way::Kerberos(tickets), _) => self.kerberos(tickets, presented).await,
                (Way::Jwt(issuer), _) => self.jwt(issuer, presented).await,
                // What it proves comes as a cookie.
                (Way::Oidc(_), _) => Verdict::NotMine,
            };
            match verdict {
                Verdict::NotMine => {}
                Verdict::Proved(proved) => {
                    if let Some(tried) = tried.filter(|_| way.takes_passwords()) {
                        self.throttle.right(&tried.guess, Instant::now());
                    }
                    return Ok(proved);
                }
                Verdict::Unavailable(why) => return Err(Refusal::Unavailable(why)),
            }
        }
        // A header says more than a cookie, which comes along by itself.
        if presented.authorization.is_none()
            && let Some(proved) = self.by_cookie(presented)
        {
            return Ok(proved);
        }
        match tried {
            Some(tried) if tried.may_look == Some(false) => {
                let left = self.throttle.held(&tried.guess, Instant::now());
                Err(Refusal::Throttled(left.unwrap_or(Duration::ZERO)))
            }
            tried => {
                if let Some(tried) = tried {
                    self.throttle.wrong(&tried.guess, Instant::now());
                }
                Err(Refusal::Unproved(self.challenges()))
            }
        }
    }

    /// Whether that connection is the reverse proxy's which is believed (`access.proxy`).
    #[must_use]
    pub fn trusts(&self, peer: &Peer) -> bool {
        self.ways
            .iter()
            .any(|way| matches!(way, Way::Proxy(proxy) if proxy.is(peer)))
    }

    /// Whether a password that is not remembered to be right may be looked at, which each way that takes passwords asks before it does: the
    /// first finds out for all. Waits where that user is tried by everybody.
    async fn may_look(&self, tried: &mut Tried) -> bool {
        if tried.may_look.is_none() {
            let delay = self.throttle.delay(&tried.guess, Instant::now());
            if let Some(delay) = delay.filter(|_| !self.is_held(&tried.guess)) {
                tokio::time::sleep(delay).await;
            }
        }
        self.may_look_still(tried)
    }

    /// The same after a wait, in which others may have tried.
    fn may_look_still(&self, tried: &mut Tried) -> bool {
        *tried.may_look.get_or_insert(true) &= !self.is_held(&tried.guess);
        tried.may_look == Some(true)
    }

    fn is_held(&self, guess: &Guess) -> bool {
        self.throttle.held(guess, Instant::now()).is_some()
    }

    /// What a client may try: `WWW-Authenticate` headers, each scheme once.
    #[must_use]
    pub fn challenges(&self) -> Vec<String> {
        let mut challenges: Vec<String> = Vec::new();
        for way in &self.ways {
            let challenge = match way {
                Way::Basic(_) | Way::Ldap(_) => "Basic realm=\"firesteel\", charset=\"UTF-8\"",
                Way::Kerberos(_) => "Negotiate",
                Way::Jwt(_) | Way::Token => "Bearer realm=\"firesteel\"",
                // The proxy and the provider ask their callers themselves.
                Way::Proxy(_) | Way::Oidc(_) => continue,
            };
            if !challenges.iter().any(|known| known == challenge) {
                challenges.push(challenge.to_owned());
            }
        }
        challenges
    }

    /// A caller that this server knows by name, with these groups of the way that proved it.
    fn proved(&self, user: &str, groups: Vec<String>, by: AccessMode) -> Verdict {
        Verdict::Proved(Proved {
            caller: Caller::named(user, groups, &self.access),
            by: Some(by),
            through: Through::Proof,
            answer: None,
        })
    }

    fn by_proxy(&self, proxy: &TrustedProxy, presented: &Presented) -> Verdict {
        match proxy.caller(presented) {
            Some((user, groups)) => self.proved(&user, groups, AccessMode::Proxy),
            None => Verdict::NotMine,
        }
    }

    async fn basic(&self, file: &Arc<BasicFile>, tried: &mut Tried) -> Verdict {
        let user = tried.guess.user.clone();
        let is_right = match file.verify_cached(&user, &tried.password) {
            Some(known) => known,
            None if !self.may_look(tried).await => false,
            None => {
                // A hash takes tens of milliseconds of a core on purpose: only so many at once, off the workers.
                let Ok(permit) = self.password_checks.acquire().await else {
                    return Verdict::NotMine;
                };
                // Another request may have tried the same while this one waited for its turn.
                match file.verify_cached(&user, &tried.password) {
                    Some(known) => known,
                    None if !self.may_look_still(tried) => false,
                    None => {
                        let (file, name, password) = (Arc::clone(file), user.clone(), tried.password.clone());
                        let verified = self
                            .background
                            .blocking(move || file.verify(&name, &password))
                            .await;
                        drop(permit);
                        verified.unwrap_or(false)
                    }
                }
            }
        };
        if is_right {
            self.proved(&user, Vec::new(), AccessMode::Basic)
        } else {
            Verdict::NotMine
        }
    }

    async fn ldap(&self, directory: &Arc<ldap::Directory>, tried: &mut Tried) -> Verdict {
        let user = tried.guess.user.clone();
        if directory.remembered(&user, &tried.password).is_none() && !self.may_look(tried).await {
            return Verdict::NotMine;
        }
        match directory.verify(&user, &tried.password, &self.background).await {
            Ok(Some(known)) => self.proved(&known.user, known.groups, AccessMode::Ldap),
            Ok(None) => Verdict::NotMine,
            Err(silent) => unavailable(&silent),
        }
    }

    async fn kerberos(&self, tickets: &kerberos::Tickets, presented: &Presented) -> Verdict {
        let token = |header| header::negotiate(header, kerberos::MOST_TOKEN_BYTES);
        let Some(token) = presented.authorization.as_deref().and_then(token) else {
            return Verdict::NotMine;
        };
        match tickets.verify(token, &self.background).await {
            Ok(Some(shown)) => Verdict::Proved(Proved {
                caller: Caller::named(&shown.user, Vec::new(), &self.access),
                by: Some(AccessMode::Kerberos),
                through: Through::Proof,
                answer: shown.answer,
            }),
            Ok(None) => Verdict::NotMine,
            Err(keyless) => unavailable(&keyless),
        }
    }

    async fn jwt(&self, issuer: &jwt::Issuer, presented: &Presented) -> Verdict {
        let Some(token) = presented.authorization.as_deref().and_then(header::bearer) else {
            return Verdict::NotMine;
        };
        match issuer.verify(token, &self.background).await {
            Ok(Some(vouched)) => self.proved(&vouched.user, vouched.groups, AccessMode::Jwt),
            Ok(None) => Verdict::NotMine,
            Err(silent) => unavailable(&silent),
        }
    }
}

/// What one of the ways that ask elsewhere finds on this host before anybody calls, for `firesteel check`. Nobody is asked yet.
///
/// # Errors
/// It can't be used; the sentence says why.
pub fn look_elsewhere(mode: AccessMode, access: &Access) -> anyhow::Result<String> {
    Ok(match mode {
        AccessMode::Ldap => {
            ldap::Directory::open(&access.ldap)?;
            format!("ldap, the directory {}", access.ldap.url)
        }
        AccessMode::Kerberos => {
            kerberos::Tickets::open(&access.kerberos)?;
            let keytab = access.kerberos.keytab.display();
            format!("kerberos, the key of {} in {keytab}", access.kerberos.principal)
        }
        AccessMode::Jwt => {
            jwt::Issuer::open(&access.jwt)?;
            format!("jwt, tokens of {}", access.jwt.issuer)
        }
        AccessMode::Oidc => {
            let tokens = Arc::new(jwt::Issuer::open(&access.jwt)?);
            oidc::Provider::open(&access.oidc, &access.jwt, tokens)?;
            oidc::look_at_secret(&access.oidc)?;
            let client = &access.oidc.client_id;
            format!(
                "oidc, browsers' logins as the client {client} of {}",
                access.jwt.issuer
            )
        }
        other => other.as_str().to_owned(),
    })
}

/// What could not be asked, as a sentence for the client.
fn unavailable(why: &impl std::fmt::Display) -> Verdict {
    let why = why.to_string();
    let mut letters = why.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    Verdict::Unavailable(first.into_iter().chain(letters).chain(['.']).collect())
}
