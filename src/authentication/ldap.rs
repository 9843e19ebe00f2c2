//! Names and passwords checked against an LDAP directory (RFC 4511, 4513): the user's entry is searched, or its DN made of the name,
//! and the password proves itself by a bind.
//!
//! Each login that is not remembered has a connection of its own, with TLS before anything is said, and ends with it: no bind can be
//! another's. Called by `mod.rs`; calls `access` (names) and `config`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use ldap3::{
    DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry,
    SearchOptions, dn_escape, ldap_escape,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::basic::MOST_PASSWORD_BYTES;
use super::dn::first_value;
use super::remember::Remembered;
use crate::access::valid_user;
use crate::background::Background;
use crate::config;

/// The most bytes of the file with the server's own password.
const MOST_PASSWORD_FILE_BYTES: u64 = 4096;

/// The most bytes of a group's name; longer ones don't count.
const MOST_GROUP_BYTES: usize = 256;

/// What a bind answers where the password is wrong, or where the directory does not let that user in: no such object, an invalid DN,
/// unfit or wrong credentials, no access, an account that is locked or off (RFC 4511, appendix A).
const REFUSALS: [u32; 7] = [19, 32, 34, 48, 49, 50, 53];

/// The result of a search that found more than it may.
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// A user of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The name as the directory spells it.
    pub user: String,
    /// The groups' names.
    pub groups: Vec<String>,
}

/// The directory said nothing that one could go by.
#[derive(Debug, thiserror::Error)]
#[error("the directory that names and passwords are checked against does not answer")]
pub(super) struct Silent;

/// The directory, and which passwords it took a short while ago.
pub(super) struct Directory {
    settings: config::Ldap,
    url: Url,
    connecting: LdapConnSettings,
    places: Arc<Semaphore>,
    remembered: Remembered<Known>,
    /// Whether the log says that it is down.
    is_down: AtomicBool,
}

impl Directory {
    /// Reads what is needed to ask; asks nothing yet.
    ///
    /// # Errors
    /// The address is none, or the certificates can't be read.
    pub(super) fn open(settings: &config::Ldap) -> anyhow::Result<Self> {
        let url = Url::parse(&settings.url).context("access.ldap.url is no address")?;
        let mut connecting = LdapConnSettings::new()
            .set_starttls(settings.starttls && url.scheme() == "ldap")
            .set_conn_timeout(settings.timeout.get());
        if !settings.ca_file.as_os_str().is_empty() {
            let config = super::trust::client(&settings.ca_file)
                .with_context(|| format!("access.ldap.ca_file: {}", settings.ca_file.display()))?;
            connecting = connecting.set_config(Arc::new(config));
        }
        Ok(Self {
            settings: settings.clone(),
            url,
            connecting,
            places: Arc::new(Semaphore::new(settings.connections)),
            remembered: Remembered::new(settings.cache.get())?,
            is_down: AtomicBool::new(false),
        })
    }

    /// The user of this name and password, where the directory took them within `access.ldap.cache`. Quick.
    pub(super) fn remembered(&self, user: &str, password: &str) -> Option<Known> {
        self.remembered
            .get(&self.remembered.fingerprint([user, password, ""]))
    }

    /// The user of this name and password; none where the directory knows no such user, or says that the password is wrong.
    /// An empty password is never asked about: for a directory that would be a bind of nobody's, which succeeds (RFC 4513, 5.1.2).
    /// Cancel safe: what was begun ends within `access.ldap.timeout`.
    ///
    /// # Errors
    /// The directory does not answer, or not so that one could go by it; the log says why.
    pub(super) async fn verify(
        self: &Arc<Self>,
        user: &str,
        password: &str,
        background: &Background,
    ) -> Result<Option<Known>, Silent> {
        if password.is_empty() || password.len() > MOST_PASSWORD_BYTES || !valid_user(user) {
            return Ok(None);
        }
        if let Some(known) = self.remembered(user, password) {
            return Ok(Some(known));
        }
        let fingerprint = self.remembered.fingerprint([user, password, ""]);
        let until = Instant::now() + self.settings.timeout.get();
        let Ok(Ok(place)) = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await else {
            return self.silent("all connections are taken (access.ldap.connections)");
        };
        let (directory, user, password) = (Arc::clone(self), user.to_owned(), password.to_owned());
        // On the main runtime: the connection's own tasks would go with a worker's.
        let asking = background.spawn(async move { directory.ask(&user, &password, until, place).await });
        let answer = match asking.await {
            Ok(answer) => answer,
            Err(_) => Err("it answers what is no LDAP".to_owned()),
        };
        match answer {
            Ok(known) => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!("access.ldap: {} answers again", self.url);
                }
                if let Some(known) = &known {
                    self.remembered.put(fingerprint, known.clone());
                }
                Ok(known)
            }
            Err(why) => self.silent(&why),
        }
    }

    fn silent(&self, why: &str) -> Result<Option<Known>, Silent> {
        if !self.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "access.ldap: {}: {why}; until it answers, logins get 503",
                self.url
            );
        }
        Err(Silent)
    }

    async fn ask(
        &self,
        user: &str,
        password: &str,
        until: Instant,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<Known>, String> {
        let asked = timeout_at(until, Box::pin(self.converse(user, password))).await;
        drop(place);
        match asked {
            Ok(Ok(known)) => Ok(Some(known)),
            Ok(Err(Trouble::Refused)) => Ok(None),
            Ok(Err(Trouble::Silent(why))) => Err(why),
            Err(_) => Err(format!("no answer within {}", self.settings.timeout)),
        }
    }

    async fn converse(&self, user: &str, password: &str) -> Result<Known, Trouble> {
        let connected = LdapConnAsync::from_url_with_settings(self.connecting.clone(), &self.url).await;
        let (connection, mut ldap) = connected.map_err(|error| said(&error))?;
        tokio::select! {
            known = self.log_in(&mut ldap, user, password) => known,
            ended = connection.drive() => match ended {
                Ok(()) => Err(Trouble::Silent("it closed the connection".to_owned())),
                Err(error) => Err(said(&error)),
            },
        }
    }

    async fn log_in(&self, ldap: &mut Ldap, user: &str, password: &str) -> Result<Known, Trouble> {
        let by_search = self.settings.user_dn.is_empty();
        let mut entry = None;
        if by_search {
            self.bind_as_server(ldap).await?;
            let filter = self.settings.user_filter.replace("{user}", &ldap_escape(user));
            entry = Some(
                self.entry(ldap, &self.settings.user_base, Scope::Subtree, &filter)
                    .await?,
            );
        }
        let dn = match &entry {
            Some(entry) => entry.dn.clone(),
            None => self.settings.user_dn.replace("{user}", &dn_escape(user)),
        };
        if dn.is_empty() {
            return Err(Trouble::Refused);
        }
        let bound = ldap
            .simple_bind(&dn, password)
            .await
            .map_err(|error| said(&error))?;
        match bound.rc {
            0 => {}
            refused if REFUSALS.contains(&refused) => return Err(Trouble::Refused),
            _ => return Err(Trouble::Silent(format!("a user's bind: {}", result(&bound)))),
        }
        let entry = match entry {
            Some(entry) => entry,
            // As the user, who may read the own entry.
            None => self.entry(ldap, &dn, Scope::Base, "(objectClass=*)").await?,
        };
        let name = own_name(&entry, &self.settings.user_attribute, user).ok_or_else(|| {
            tracing::warn!(
                "access.ldap: {dn} has no {} that a user's name can be; it is not let in",
                self.settings.user_attribute
            );
            Trouble::Refused
        })?;
        let mut groups: Vec<String> = values(&entry, &self.settings.group_attribute)
            .map(first_value)
            .collect();
        if !self.settings.group_base.is_empty() {
            self.bind_as_server(ldap).await?;
            groups.extend(self.searched_groups(ldap, &entry.dn, &name).await?);
        }
        let groups = self.bounded(groups, &name);
        tracing::debug!("access.ldap: {name} is in {groups:?}");
        Ok(Known { user: name, groups })
    }

    /// As whom the server searches: `bind_dn`, or whoever the connection is already.
    async fn bind_as_server(&self, ldap: &mut Ldap) -> Result<(), Trouble> {
        if self.settings.bind_dn.is_empty() {
            return Ok(());
        }
        let password = self.own_password().await.map_err(|error| {
            let file = self.settings.bind_password_file.display();
            Trouble::Silent(format!("access.ldap.bind_password_file: {file}: {error}"))
        })?;
        let bound = ldap.simple_bind(&self.settings.bind_dn, &password).await;
        let bound = bound.map_err(|error| said(&error))?;
        if bound.rc == 0 {
            return Ok(());
        }
        let why = format!("the bind as access.ldap.bind_dn: {}", result(&bound));
        Err(Trouble::Silent(why))
    }

    async fn own_password(&self) -> std::io::Result<String> {
        let file = tokio::fs::File::open(&self.settings.bind_password_file).await?;
        let mut text = String::new();
        file.take(MOST_PASSWORD_FILE_BYTES)
            .read_to_string(&mut text)
            .await?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(password.to_owned()),
            _ => Err(std::io::Error::other("the first line is empty")),
        }
    }

    /// The one entry that is found; where there are several, none is anybody's.
    async fn entry(
        &self,
        ldap: &mut Ldap,
        base: &str,
        scope: Scope,
        filter: &str,
    ) -> Result<SearchEntry, Trouble> {
        let wanted = [&self.settings.user_attribute, &self.settings.group_attribute];
        let wanted = wanted.into_iter().filter(|name| !name.is_empty()).collect();
        let (mut entries, is_cut) = search(ldap, base, scope, filter, wanted, 2).await?;
        match (entries.pop(), entries.is_empty(), is_cut) {
            (Some(entry), true, false) => Ok(entry),
            (None, _, false) => Err(Trouble::Refused),
            _ => {
                tracing::warn!(
                    "access.ldap: more than one entry below {base} has {filter}: none of them is let in"
                );
                Err(Trouble::Refused)
            }
        }
    }

    async fn searched_groups(&self, ldap: &mut Ldap, dn: &str, user: &str) -> Result<Vec<String>, Trouble> {
        // One after the other, so that a brace in a DN is no place for the name.
        let parts = self.settings.group_filter.split("{dn}");
        let user = ldap_escape(user);
        let parts: Vec<String> = parts.map(|part| part.replace("{user}", &user)).collect();
        let filter = parts.join(&*ldap_escape(dn));
        let most = i32::try_from(self.settings.groups).unwrap_or(i32::MAX);
        let wanted = vec![&self.settings.group_name];
        let base = &self.settings.group_base;
        let (entries, is_cut) = search(ldap, base, Scope::Subtree, &filter, wanted, most).await?;
        if is_cut {
            tracing::warn!("access.ldap: {dn} has more than {most} groups; the further ones don't count");
        }
        let names = entries
            .iter()
            .flat_map(|entry| values(entry, &self.settings.group_name));
        Ok(names.map(str::to_owned).collect())
    }

    fn bounded(&self, mut groups: Vec<String>, user: &str) -> Vec<String> {
        let is_fit = |name: &String| {
            !name.is_empty() && name.len() <= MOST_GROUP_BYTES && !name.contains(char::is_control)
        };
        groups.retain(is_fit);
        groups.sort();
        groups.dedup();
        if groups.len() > self.settings.groups {
            let most = self.settings.groups;
            tracing::warn!("access.ldap: {user} has more than {most} groups; the further ones don't count");
            groups.truncate(most);
        }
        groups
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// Why a login ended without a user.
enum Trouble {
    /// The directory does not let that user in.
    Refused,
    /// It is not known whether it would.
    Silent(String),
}

fn said(error: &LdapError) -> Trouble {
    Trouble::Silent(error.to_string())
}

/// What the directory answered, without what it quotes.
fn result(result: &LdapResult) -> String {
    format!("result {} ({})", result.rc, result.text)
}

/// The entries that are found, and whether there are more. Referrals are not followed, aliases neither.
async fn search(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    wanted: Vec<&String>,
    most: i32,
) -> Result<(Vec<SearchEntry>, bool), Trouble> {
    let options = SearchOptions::new().deref(DerefAliases::Never).sizelimit(most);
    let ldap = ldap.with_search_options(options);
    let found = ldap.search(base, scope, filter, wanted).await;
    let found = found.map_err(|error| said(&error))?;
    let is_cut = match found.1.rc {
        0 => false,
        SIZE_LIMIT_EXCEEDED => true,
        _ => {
            let why = format!("the search below {base:?}: {}", result(&found.1));
            return Err(Trouble::Silent(why));
        }
    };
    let entries = found.0.into_iter().filter(|entry| !entry.is_ref());
    Ok((entries.map(SearchEntry::construct).collect(), is_cut))
}

/// The values of an attribute, whose name has no case.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> impl Iterator<Item = &'a str> {
    let found = entry
        .attrs
        .iter()
        .find(|(name, _)| !attribute.is_empty() && name.eq_ignore_ascii_case(attribute));
    found
        .into_iter()
        .flat_map(|(_, values)| values.iter().map(String::as_str))
}

/// The user's name as the entry spells it: of several, the one that was typed but for its case, else the first.
fn own_name(entry: &SearchEntry, attribute: &str, typed: &str) -> Option<String> {
    let names: Vec<&str> = values(entry, attribute).collect();
    let typed = typed.to_lowercase();
    let same = names.iter().find(|name| name.to_lowercase() == typed);
    let name = same.or(names.first())?;
    valid_user(name).then(|| (*name).to_owned())
}

#[cfg(test)]
#[path = "ldap_tests.rs"]
mod tests;
