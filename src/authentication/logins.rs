//! Browsers' logins: a name and a password, looked at as in any request, or what the identity provider says, become a cookie for the requests
//! to come.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::credentials::{Kind, New, NotMade};
use super::oidc::{Answer, Begun, NoSignOn, Provider};
use super::{Authentication, Presented, Proved, Refusal, Through, Way};
use crate::access::Caller;
use crate::clock::now_ms;
use crate::config::AccessMode;
use crate::store::StoreError;

/// Somebody who has logged in.
pub struct LoggedIn {
    /// What the cookie says.
    pub cookie: String,
    /// How many seconds the browser keeps it.
    pub seconds: u64,
    /// Who it is.
    pub caller: Caller,
    /// How it was proved.
    pub by: AccessMode,
}

/// Why nobody has logged in.
#[derive(Debug, thiserror::Error)]
pub enum NoLogin {
    /// Name and password prove nothing, or can't be looked at.
    #[error("name and password prove nothing")]
    Refused(Refusal),
    /// No way of `access.mode` takes passwords.
    #[error("This server takes no passwords (access.mode).")]
    Off,
    /// The login can't be made.
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

impl Authentication {
    /// Whether a way of `access.mode` takes a name and a password, so that browsers can log in.
    #[must_use]
    pub fn takes_passwords(&self) -> bool {
        self.ways.iter().any(Way::takes_passwords)
    }

    /// Logs a browser in. What cookie it came with counts no more: nobody can have put it there beforehand.
    ///
    /// # Errors
    /// See [`NoLogin`].
    pub async fn log_in(
        &self,
        presented: Presented,
        name: &str,
        password: &str,
    ) -> Result<LoggedIn, NoLogin> {
        if !self.takes_passwords() {
            return Err(NoLogin::Off);
        }
        let refused = || NoLogin::Refused(Refusal::Unproved(self.challenges()));
        if name.contains(':') {
            return Err(refused());
        }
        let before = presented.cookie.clone();
        let pair = BASE64_STANDARD.encode(format!("{name}:{password}"));
        let tried = Presented {
            authorization: Some(format!("Basic {pair}")),
            cookie: None,
            ..presented
        };
        let proved = self.prove(&tried).await.map_err(NoLogin::Refused)?;
        // Not for a token in the password's place, which is for programs and may less, and not for whom a proxy named.
        let (Some(user), Some(way @ (AccessMode::Basic | AccessMode::Ldap))) =
            (proved.caller.user.clone(), proved.by)
        else {
            return Err(refused());
        };
        let kind = Kind::Login(self.mark(way, &user));
        Ok(self.make_login(kind, user, proved.caller, way, before).await?)
    }

    /// The provider at which browsers can log in.
    fn provider(&self) -> Option<&Arc<Provider>> {
        self.ways.iter().find_map(|way| match way {
            Way::Oidc(provider) => Some(provider),
            _ => None,
        })
    }

    /// What the identity provider is called at which browsers can log in; none where there is none.
    #[must_use]
    pub fn provider_name(&self) -> Option<&str> {
        self.provider().map(|provider| provider.name())
    }

    /// Whether browsers come back from the provider by HTTPS, so that what they keep meanwhile is for HTTPS alone.
    #[must_use]
    pub fn returns_by_https(&self) -> bool {
        self.provider().is_some_and(|provider| provider.is_secure())
    }

    /// Begins a browser's login at the identity provider; `to` is where it wants to go.
    ///
    /// # Errors
    /// See [`NoSignOn`].
    pub async fn begin_sign_on(&self, presented: &Presented, to: String) -> Result<Begun, NoSignOn> {
        let provider = self.provider().ok_or(NoSignOn::Off)?;
        provider.begin(presented.address, to, &self.background).await
    }

    /// Logs a browser in that comes back from the provider; `browser` is the cookie of [`Begun`]. Tells where it wanted to go.
    ///
    /// # Errors
    /// See [`NoSignOn`].
    pub async fn finish_sign_on(
        &self,
        presented: Presented,
        browser: Option<&str>,
        answer: Answer,
    ) -> Result<(LoggedIn, String), NoSignOn> {
        let provider = self.provider().ok_or(NoSignOn::Off)?;
        let (vouched, to) = provider.finish(browser, answer, &self.background).await?;
        let caller = Caller::named(&vouched.user, vouched.groups, &self.access);
        let user = caller.user.clone().unwrap_or_default();
        if !caller.is_welcome() {
            return Err(NoSignOn::Unwelcome(user));
        }
        let way = AccessMode::Oidc;
        let made = self.make_login(Kind::Login(None), user, caller, way, presented.cookie);
        Ok((made.await?, to))
    }

    /// Makes a login, and ends the one that the browser had before.
    async fn make_login(
        &self,
        kind: Kind,
        user: String,
        caller: Caller,
        way: AccessMode,
        before: Option<String>,
    ) -> Result<LoggedIn, NotMade> {
        let bounds = &self.access.login;
        let age = bounds.age.get();
        let new = New {
            kind,
            owner: user,
            groups: caller.groups().to_vec(),
            way,
            label: None,
            expires: i64::try_from(age.as_millis()).map_or(i64::MAX, |age| now_ms().saturating_add(age)),
            most: bounds.per_user,
        };
        let (cookie, _) = self.credentials.make(new).await?;
        if let Some(before) = before {
            self.log_out(&before).await?;
        }
        Ok(LoggedIn {
            cookie,
            seconds: age.as_secs(),
            caller,
            by: way,
        })
    }

    /// Ends the login of a cookie, if it is one.
    ///
    /// # Errors
    /// It can't be stored; then the login goes on.
    pub async fn log_out(&self, cookie: &str) -> Result<(), StoreError> {
        match self.credentials.login(cookie, self.access.login.idle.get()) {
            Some(login) => self.credentials.end(&login.id).await,
            None => Ok(()),
        }
    }

    pub(super) fn by_cookie(&self, presented: &Presented) -> Option<Proved> {
        let idle = self.access.login.idle.get();
        let login = self.credentials.login(presented.cookie.as_deref()?, idle)?;
        self.still_knows(&login).then(|| Proved {
            caller: Caller::named(&login.owner, login.groups.clone(), &self.access),
            by: Some(login.way),
            through: Through::Cookie,
            answer: None,
        })
    }

    /// What tells later that the password is the same, where the way can tell.
    fn mark(&self, by: AccessMode, user: &str) -> Option<String> {
        self.ways.iter().find_map(|way| match way {
            Way::Basic(file) if by == AccessMode::Basic => file.mark(user),
            _ => None,
        })
    }
}
