//! What becomes of keys of Livy's that depend on others, or become several.

use std::net::IpAddr;

use toml::Value;

use super::keys::Row;
use super::read::Entry;
use super::values::{duration, flag, list, number};

/// A key's value, beside all that is set.
pub(super) struct Given<'a> {
    pub value: &'a str,
    pub all: &'a [(&'static Row, Entry)],
}

impl Given<'_> {
    /// What a key holds, unless it is empty.
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.all.iter().find(|(row, _)| row.key == key);
        let value = found.map(|(_, entry)| entry.value.as_str());
        value.filter(|value| !value.is_empty())
    }

    fn is_on(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn auth(&self) -> &str {
        self.get("livy.server.auth.type").unwrap_or_default()
    }
}

/// What a key becomes: keys with their values, none where it sets nothing, and what there is to say.
pub(super) struct Made {
    pub set: Vec<(&'static str, Value)>,
    pub note: String,
    /// Whether somebody has to do what the note says.
    pub is_todo: bool,
}

pub(super) type Rule = fn(&Given<'_>) -> Result<Made, String>;

impl Made {
    pub(super) fn of(key: &'static str, value: impl Into<Value>) -> Self {
        Self {
            set: vec![(key, value.into())],
            note: String::new(),
            is_todo: false,
        }
    }

    pub(super) fn nothing(why: impl Into<String>) -> Self {
        Self {
            set: Vec::new(),
            note: why.into(),
            is_todo: false,
        }
    }

    fn and(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.set.push((key, value.into()));
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn todo(mut self, note: impl Into<String>) -> Self {
        self.is_todo = true;
        self.note(note)
    }
}

/// `livy.server.host` and `livy.server.port`. An address that others reach wants authentication and TLS here.
pub(super) fn listen(host: &str, port: &str, given: &Given<'_>) -> Result<Made, String> {
    let port: u16 = port.parse().map_err(|_| "must be a port, from 0 to 65535")?;
    let bare = host.trim_matches(['[', ']']);
    let address: Option<IpAddr> = match bare {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        _ => bare.parse().ok(),
    };
    let is_safe = !given.auth().is_empty() && given.get("livy.keystore").is_some();
    let at = |ip: IpAddr| Made::of("server.listen", std::net::SocketAddr::new(ip, port).to_string());
    let everywhere = IpAddr::from([0, 0, 0, 0]);
    Ok(match address {
        Some(ip) if ip.to_canonical().is_loopback() || is_safe => at(ip),
        None if is_safe => at(everywhere).note("a name is no address: it listens on all of this host's"),
        _ => at(IpAddr::from([127, 0, 0, 1])).todo(format!(
            "only this host reaches 127.0.0.1: to listen on {}, set access.mode (docs/authentication.md), and \
             server.tls.cert with server.tls.key, or server.plain_http = true where the network is private",
            address.unwrap_or(everywhere)
        )),
    })
}

pub(super) fn host(given: &Given<'_>) -> Result<Made, String> {
    // A wrong port is told of at its own key.
    let port = given
        .get("livy.server.port")
        .filter(|port| port.parse::<u16>().is_ok());
    listen(given.value, port.unwrap_or(PORT), given)
}

pub(super) fn port(given: &Given<'_>) -> Result<Made, String> {
    let host = given.get("livy.server.host");
    let made = listen(host.unwrap_or(HOST), given.value, given)?;
    // What there is to say is said at the host.
    Ok(match host {
        Some(_) => Made {
            note: String::new(),
            is_todo: false,
            ..made
        },
        None => made,
    })
}

/// Livy's own defaults.
pub(super) const HOST: &str = "0.0.0.0";
const PORT: &str = "8998";

pub(super) fn keystore(given: &Given<'_>) -> Result<Made, String> {
    let beside = |end: &str| Value::String(format!("{}.{end}.pem", given.value));
    let made = Made::of("server.tls.cert", beside("crt")).and("server.tls.key", beside("key"));
    Ok(
        made.todo(
            "export both from the keystore to these files, in PEM, the key without a password and 0600",
        ),
    )
}

/// What sessions in cluster mode need that Livy has no key for.
const LINK: &str =
    "sessions in cluster mode need link.listen and link.advertise (docs/clusters.md); batches do not";

pub(super) fn master(given: &Given<'_>) -> Result<Made, String> {
    Ok(match given.value {
        "yarn-cluster" => Made::of("spark.master", "yarn")
            .and("spark.deploy_mode", "cluster")
            .todo(LINK),
        "yarn-client" => Made::of("spark.master", "yarn").and("spark.deploy_mode", "client"),
        master => Made::of("spark.master", master),
    })
}

pub(super) fn deploy_mode(given: &Given<'_>) -> Result<Made, String> {
    let made = Made::of("spark.deploy_mode", given.value);
    Ok(if given.value == "cluster" {
        made.todo(LINK)
    } else {
        made
    })
}

pub(super) fn timeout_check(given: &Given<'_>) -> Result<Made, String> {
    Ok(match flag(given.value)? {
        true => Made::nothing("on, as here"),
        false => Made::of("session.idle_timeout", "0s").note("never"),
    })
}

pub(super) fn timeout(given: &Given<'_>) -> Result<Made, String> {
    let span = duration(given.value)?;
    let check = given.get("livy.server.session.timeout-check");
    Ok(match check.map(flag) {
        Some(Ok(false)) => Made::nothing("livy.server.session.timeout-check is off"),
        _ => Made::of("session.idle_timeout", span).note("a busy session is never idle"),
    })
}

pub(super) fn ttl_check(given: &Given<'_>) -> Result<Made, String> {
    let ttl = given.get("livy.server.session.ttl");
    Ok(match flag(given.value)? {
        false => Made::nothing("off, as here"),
        true if ttl.is_none() => Made::of("session.ttl", "8h").note("Livy's default"),
        true => Made::nothing("livy.server.session.ttl says how long"),
    })
}

pub(super) fn ttl(given: &Given<'_>) -> Result<Made, String> {
    let span = duration(given.value)?;
    Ok(match given.is_on("livy.server.session.ttl-check") {
        true => Made::of("session.ttl", span),
        false => Made::nothing("livy.server.session.ttl-check is off"),
    })
}

/// Livy counts processes of `spark-submit`, which live as long as their drivers but in cluster mode.
pub(super) fn max_creation(given: &Given<'_>) -> Result<Made, String> {
    let most = number(given.value)?;
    let master = given.get("livy.spark.master").unwrap_or_default();
    let mode = given.get("livy.spark.deploy-mode").unwrap_or_default();
    Ok(match mode == "cluster" || master == "yarn-cluster" {
        true => Made::of("limits.starting", most)
            .note("over it, drivers wait to start; limits.sessions is for those that run"),
        false => {
            Made::of("limits.sessions", most).note("over it, sessions wait; limits.batches is for batches")
        }
    })
}

pub(super) fn sql_rows(given: &Given<'_>) -> Result<Made, String> {
    let rows = number(given.value)?;
    let made = Made::of("sql.max_rows", rows);
    Ok(if rows > 100_000 {
        made.and("sql.max_rows_ceiling", rows)
    } else {
        made
    })
}

pub(super) fn impersonation(given: &Given<'_>) -> Result<Made, String> {
    let is_on = flag(given.value)?;
    Ok(Made::of("access.impersonation", is_on).and("hadoop.proxy_user", is_on))
}

fn users(key: &'static str, given: &Given<'_>) -> Result<Made, String> {
    Ok(match given.is_on("livy.server.access-control.enabled") {
        true => Made::of(key, list(given.value)),
        false => Made::nothing("livy.server.access-control.enabled is off"),
    })
}

pub(super) fn allowed_users(given: &Given<'_>) -> Result<Made, String> {
    users("access.allowed_users", given)
}

pub(super) fn modify_users(given: &Given<'_>) -> Result<Made, String> {
    users("access.modify_users", given)
}

pub(super) fn view_users(given: &Given<'_>) -> Result<Made, String> {
    users("access.view_users", given)
}

/// A way that there is not here must not leave the door open: a file of users stands in.
pub(super) fn auth_type(given: &Given<'_>) -> Result<Made, String> {
    let mode = |word: &str| Made::of("access.mode", list(word));
    Ok(match given.value {
        known @ ("kerberos" | "ldap") => mode(known),
        _ => mode("basic").and("access.basic_file", "/etc/firesteel/users").todo(
            "what was written for Livy does not run here: choose a way of docs/authentication.md, or make this file \
             (`firesteel passwd`); until then the server does not start",
        ),
    })
}

const NOT_LDAP: &str = "livy.server.auth.type is not ldap";
const NOT_KERBEROS: &str = "livy.server.auth.type is not kerberos";

pub(super) fn ldap_url(given: &Given<'_>) -> Result<Made, String> {
    if given.auth() != "ldap" {
        return Ok(Made::nothing(NOT_LDAP));
    }
    let made = Made::of("access.ldap.url", given.value);
    let host = given
        .value
        .strip_prefix("ldap://")
        .and_then(|rest| rest.split([':', '/']).next());
    Ok(match host {
        Some("localhost" | "127.0.0.1") if !given.is_on("livy.server.auth.ldap.enable-start-tls") => {
            made.and("access.ldap.starttls", false)
        }
        Some(_) => made.note("StartTLS comes before any password: access.ldap.starttls, access.ldap.ca_file"),
        None => made,
    })
}

pub(super) fn ldap_base_dn(given: &Given<'_>) -> Result<Made, String> {
    let at = given.get("livy.server.auth.ldap.username-domain");
    let at = at.map(|domain| format!("@{domain}")).unwrap_or_default();
    Ok(match given.auth() {
        "ldap" => Made::of("access.ldap.user_dn", format!("uid={{user}}{at},{}", given.value)),
        _ => Made::nothing(NOT_LDAP),
    })
}

/// Without a base DN Livy binds as `user@domain`, which only Active Directory takes, and as no DN leads to no entry.
pub(super) fn ldap_domain(given: &Given<'_>) -> Result<Made, String> {
    if given.auth() != "ldap" {
        return Ok(Made::nothing(NOT_LDAP));
    }
    if given.get("livy.server.auth.ldap.base-dn").is_some() {
        return Ok(Made::nothing(
            "part of access.ldap.user_dn, with livy.server.auth.ldap.base-dn",
        ));
    }
    let domain = given.value;
    let base: Vec<_> = domain.split('.').map(|part| format!("dc={part}")).collect();
    let made = Made::of("access.ldap.user_base", base.join(","))
        .and(
            "access.ldap.user_filter",
            format!("(userPrincipalName={{user}}@{domain})"),
        )
        .and("access.ldap.user_attribute", "sAMAccountName");
    Ok(made.todo(
        "Active Directory is searched for the user: set access.ldap.bind_dn and access.ldap.bind_password_file, as whom, \
         and see that access.ldap.user_base is right",
    ))
}

/// A principal, in which Hadoop puts the host's name for `_HOST`.
fn principal(key: &'static str, given: &Given<'_>) -> Made {
    if !given.value.contains("_HOST") {
        return Made::of(key, given.value);
    }
    let host = given.get("livy.server.host").unwrap_or_default();
    let is_name = host.contains('.') && host.parse::<IpAddr>().is_err();
    match is_name {
        true => Made::of(key, given.value.replace("_HOST", host)),
        false => Made::of(key, given.value).todo("write this host's full name in the place of _HOST"),
    }
}

pub(super) fn kerberos_principal(given: &Given<'_>) -> Result<Made, String> {
    Ok(match given.auth() {
        "kerberos" => principal("access.kerberos.principal", given),
        _ => Made::nothing(NOT_KERBEROS),
    })
}

pub(super) fn kerberos_keytab(given: &Given<'_>) -> Result<Made, String> {
    Ok(match given.auth() {
        "kerberos" => Made::of("access.kerberos.keytab", given.value),
        _ => Made::nothing(NOT_KERBEROS),
    })
}

pub(super) fn launch_principal(given: &Given<'_>) -> Result<Made, String> {
    Ok(principal("hadoop.principal", given))
}

pub(super) fn launch_keytab(given: &Given<'_>) -> Result<Made, String> {
    let made = Made::of("hadoop.keytab", given.value);
    Ok(match given.is_on("livy.impersonation.enabled") || given.auth().is_empty() {
        true => made,
        false => made.todo(
            "with it drivers act for their users (--proxy-user), which livy.impersonation.enabled = false did not ask for: the \
             cluster must let the principal do so (docs/hadoop-security.md)",
        ),
    })
}

/// A duration of one cluster manager's, for `livy.spark.master` says which is asked.
fn of_manager(key: &'static str, is_kubernetes: bool, given: &Given<'_>) -> Result<Made, String> {
    let span = duration(given.value)?;
    let master = given.get("livy.spark.master").unwrap_or_default();
    let applies = match is_kubernetes {
        true => master.starts_with("k8s://"),
        false => master.starts_with("yarn"),
    };
    Ok(match applies {
        true => Made::of(key, span),
        false => Made::nothing("livy.spark.master has another cluster manager, or none"),
    })
}

pub(super) fn yarn_poll(given: &Given<'_>) -> Result<Made, String> {
    of_manager("cluster.poll_interval", false, given)
}

pub(super) fn yarn_lookup(given: &Given<'_>) -> Result<Made, String> {
    of_manager("cluster.lookup_timeout", false, given)
}

pub(super) fn kubernetes_poll(given: &Given<'_>) -> Result<Made, String> {
    of_manager("cluster.poll_interval", true, given)
}

pub(super) fn kubernetes_lookup(given: &Given<'_>) -> Result<Made, String> {
    of_manager("cluster.lookup_timeout", true, given)
}
