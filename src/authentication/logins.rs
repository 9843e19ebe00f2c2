//! Browsers' logins: a name and a password, looked at as in any request, become a cookie for the requests to come.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::credentials::{Kind, New, NotMade};
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
        let bounds = &self.access.login;
        let age = bounds.age.get();
        let new = New {
            kind: Kind::Login(self.mark(way, &user)),
            owner: user,
            groups: proved.caller.groups().to_vec(),
            way,
            label: None,
            expires: i64::try_from(age.as_millis()).map_or(i64::MAX, |age| now_ms().saturating_add(age)),
            most: bounds.per_user,
        };
        let (cookie, _) = self.credentials.make(new).await?;
        if let Some(before) = before {
            self.log_out(&before).await.map_err(NotMade::Store)?;
        }
        Ok(LoggedIn {
            cookie,
            seconds: age.as_secs(),
            caller: proved.caller,
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
