//! Keys of who is let in, how they prove it, and what is written down about it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::{Lists, UserCase};
use super::{Key, Table, tables};
use crate::config::modes::Modes;
use crate::config::values::{KeyType, ListMap, Size, Span};

tables! {
    /// Who may call, and what callers may do.
    Access at "access" {
        /// How callers prove who they are, one way or several, tried in this order. `none`: not at all, which needs a loopback
        /// `server.listen`; `basic`: by name and password of `access.basic_file`; `token`: by a token that one made before; `proxy`: a reverse proxy
        /// says it.
        mode: Modes = Modes::default();
        /// The file of users, `name:hash` lines with argon2id or bcrypt hashes; `firesteel passwd` writes it.
        basic_file: PathBuf = PathBuf::new();
        /// Whether state changes need the header `X-Requested-By`, as Livy's `livy.server.csrf-protection.enabled`. A foreign
        /// `Origin` is refused always.
        csrf: bool = false;
        /// What callers see of others' sessions: `owner`, nothing; `livy`, Livy's shape with conf, log and code emptied.
        lists: Lists = Lists::Owner;
        /// Whether `proxyUser` and `doAs` are honoured; else they are ignored.
        impersonation: bool = false;
        /// Who may act as whom, beside superusers: for a user, or a group as `"@group"`, the users, groups of `access.groups` and `"*"` for all, such as
        /// `hue = ["*"]`. A superuser only where their own name is there.
        impersonate: ListMap = ListMap::default();
        /// Users, and groups as `"@group"`, who may do everything to every session and batch, ask about the server itself, and act as anybody where
        /// impersonation is on.
        superusers: Vec<String> = Vec::new();
        /// Users, groups and `"*"` who may see and change every session and batch, as Livy's `livy.server.access-control.modify-users`.
        modify_users: Vec<String> = Vec::new();
        /// Users, groups and `"*"` who may see every session and batch, its log and its statements, as Livy's
        /// `livy.server.access-control.view-users`.
        view_users: Vec<String> = Vec::new();
        /// Users, groups and `"*"` who may call at all, beside those of the three keys above; others get 403.
        allowed_users: Vec<String> = vec!["*".to_owned()];
        /// Groups of users by name, beside those that a way to authenticate tells, such as `ops = ["ada", "bob"]`.
        groups: ListMap = ListMap::default();
        /// Whether names of users that differ in case only are different users' (`keep`), or one user's, whose name is in lower case (`lower`):
        /// only for directories that don't tell them apart either.
        user_case: UserCase = UserCase::Keep;
        /// How long a checked password is remembered, at most; `0s`: not at all. A changed line in the file counts at once.
        cache: Span = Span::secs(60);
        table ldap: Ldap;
        table kerberos: Kerberos;
        table jwt: Jwt;
        table oidc: Oidc;
        table token: Token;
        table login: Login;
        table proxy: Proxy;
        table throttle: Throttle;
    }

    /// API tokens, of `access.mode = "token"` (docs/tokens-and-tls.md).
    Token at "access.token" {
        /// How long a token lasts whose request does not say.
        age: Span = Span::secs(30 * 24 * 3600);
        /// How long a token lasts at most.
        max_age: Span = Span::secs(365 * 24 * 3600);
        /// The most tokens that one user has at the same time; over it, 409.
        per_user: usize = 50;
    }

    /// Logins of browsers, by name and password of the ways that ask for one or at an identity provider (docs/tokens-and-tls.md).
    Login at "access.login" {
        /// How long a login lasts at most.
        age: Span = Span::secs(12 * 3600);
        /// How long a login lasts without a request; after a restart of the server it begins anew.
        idle: Span = Span::secs(3600);
        /// The most logins that one user has at the same time; over it, the oldest ends.
        per_user: usize = 20;
    }

    /// A reverse proxy that says who calls, of `access.mode = "proxy"` (docs/tokens-and-tls.md). It is believed over `server.unix_socket`, or by its
    /// certificate, and never otherwise.
    Proxy at "access.proxy" {
        /// The header that has the user's name.
        header: String = "X-Forwarded-User".to_owned();
        /// The header that lists the user's groups with commas between. Empty: none does.
        groups_header: String = String::new();
        /// The most groups of one user; a request with more is refused.
        groups: usize = 1000;
        /// Users of this host, by name or number, whose processes are believed over `server.unix_socket`.
        peers: Vec<String> = Vec::new();
        /// DNS names in client certificates (`server.tls.client_ca`) whose holders are believed.
        certificates: Vec<String> = Vec::new();
    }

    /// Wrong passwords, which make the next tries wait (docs/tokens-and-tls.md). Who is remembered to be right does not wait.
    Throttle at "access.throttle" {
        /// Wrong passwords of one user from one address that cost nothing.
        free: u32 = 5;
        /// Wrong passwords from one address, whoever's, that cost nothing. Users who were right from there before don't wait for the others.
        address_free: u32 = 50;
        /// How long the next try has to wait after the first wrong one beyond these: until then it is answered 429. Each further one doubles it.
        first_wait: Span = Span::secs(1);
        /// How long a try has to wait at most.
        longest_wait: Span = Span::secs(60);
        /// Wrong passwords of one user from everywhere that cost nothing.
        user_free: u32 = 100;
        /// How much later every password of that user is looked at beyond these. Nobody is refused by what others try.
        user_delay: Span = Span::secs(1);
        /// How long wrong passwords are remembered after the last one.
        forget: Span = Span::secs(900);
        /// The most users and addresses that are remembered, each; who was wrong least goes first.
        entries: usize = 10_000;
    }

    /// The LDAP directory of `access.mode = "ldap"` (docs/authentication.md).
    Ldap at "access.ldap" {
        /// Where it is: `ldaps://HOST:636`, or `ldap://HOST:389`, which StartTLS turns into TLS before anything else is said.
        url: String = String::new();
        /// Whether `ldap://` is turned into TLS. `false` is for a directory on this host.
        starttls: bool = true;
        /// Whether passwords may go to another host without TLS, where `access.ldap.starttls` is off.
        plaintext: bool = false;
        /// The PEM file of the authorities whose certificates are believed. Empty: the system's.
        ca_file: PathBuf = PathBuf::new();
        /// Whom the server binds as to search. Empty: nobody, it searches anonymously.
        bind_dn: String = String::new();
        /// The file whose first line is the password of `access.ldap.bind_dn`; read for each login that is not remembered.
        bind_password_file: PathBuf = PathBuf::new();
        /// Where users are searched, at any depth.
        user_base: String = String::new();
        /// The filter that finds a user; the name that was typed goes where `{user}` is.
        user_filter: String = "(uid={user})".to_owned();
        /// Instead of a search: the DN of every user, such as `uid={user},ou=people,dc=example,dc=com`.
        user_dn: String = String::new();
        /// The attribute of a user's entry that is the user's name here, in the directory's spelling, whatever spelling was typed.
        user_attribute: String = "uid".to_owned();
        /// An attribute of the user's entry that tells the groups, such as `memberOf`; of a DN, its first value is the group's name. Empty: none does.
        group_attribute: String = String::new();
        /// Where groups are searched, at any depth. Empty: nowhere.
        group_base: String = String::new();
        /// The filter that finds the groups of a user: `{dn}` is the user's entry, `{user}` the user's name.
        group_filter: String = "(member={dn})".to_owned();
        /// The attribute of a group's entry that is the group's name.
        group_name: String = "cn".to_owned();
        /// The most groups of one user; further ones don't count, which the log tells.
        groups: usize = 1000;
        /// How long one login may take, with waiting for a connection; over it, 503.
        timeout: Span = Span::secs(5);
        /// Connections at the same time; further logins wait.
        connections: usize = 8;
        /// How long a right password and the user's groups are remembered; `0s`: not at all. A password that was changed, and a user who was removed, count
        /// for so long.
        cache: Span = Span::secs(60);
    }

    /// Kerberos tickets of `access.mode = "kerberos"` (docs/authentication.md).
    Kerberos at "access.kerberos" {
        /// The file with the key of `access.kerberos.principal`; read for each ticket, so a new key counts at once.
        keytab: PathBuf = PathBuf::new();
        /// The server's own name, such as `HTTP/spark.example.com@EXAMPLE.COM`, with the host name that clients use.
        principal: String = String::new();
        /// Realms whose users are let in. Empty: that of `access.kerberos.principal`.
        realms: Vec<String> = Vec::new();
        /// Whether `alice@EXAMPLE.COM` of the server's own realm is the user `alice`; users of other realms keep theirs.
        strip_realm: bool = true;
        /// Services that are let in, such as `["hue/gateway.example.com", "knox/*"]`, each the user that its first part names; a `*` stands for any host. Other
        /// principals with a second part are nobody.
        services: Vec<String> = Vec::new();
        /// Tickets that are looked at at the same time; more wait.
        at_once: usize = 4;
    }

    /// The identity provider of `access.mode = "jwt"` and `"oidc"`, and its signed tokens (docs/authentication.md).
    Jwt at "access.jwt" {
        /// The provider: the `iss` that tokens must have. For OpenID Connect also where it describes itself.
        issuer: String = String::new();
        /// What tokens of `access.mode = "jwt"` must be meant for: one of their `aud` has to be one of these.
        audience: Vec<String> = Vec::new();
        /// The provider's public keys (JWKS), as a URL or the absolute path of a file. Empty: where the provider's
        /// `.well-known/openid-configuration` says.
        keys: String = String::new();
        /// The PEM file of the authorities that are believed for the provider, beside the system's. Empty: only the system's.
        ca_file: PathBuf = PathBuf::new();
        /// Algorithms that tokens may be signed with: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA.
        algorithms: Vec<String> = ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).to_vec();
        /// The claim that is the user's name.
        user_claim: String = "sub".to_owned();
        /// The claim that lists the user's groups, where there is one. Empty: none does.
        groups_claim: String = "groups".to_owned();
        /// The most groups of one user; further ones don't count.
        groups: usize = 1000;
        /// How far the provider's clock may be from this one.
        leeway: Span = Span::secs(60);
        /// How old keys become before they are fetched again: so long a key that the provider took back goes on counting. A file is looked at once a second.
        refresh: Span = Span::secs(600);
        /// How often keys are fetched at most, for tokens of a key that is not known yet too.
        fetch_interval: Span = Span::secs(10);
        /// How long keys are used while the provider does not answer; then 503.
        stale: Span = Span::secs(24 * 3600);
        /// How long the provider may take to answer.
        timeout: Span = Span::secs(5);
    }

    /// Logins of browsers at the provider of `access.jwt.issuer`, of `access.mode = "oidc"` (docs/authentication.md). Issuer, authorities, algorithms, claims
    /// and times are those of `access.jwt`.
    Oidc at "access.oidc" {
        /// What the provider calls this server; ID tokens must be meant for it.
        client_id: String = String::new();
        /// The file whose first line is the secret that the provider gave this server; read for each login, and sent as `client_secret_basic`. Empty: this
        /// server is a public client, which has none.
        client_secret_file: PathBuf = PathBuf::new();
        /// Where the provider sends browsers back, as it is registered there: this server's address as browsers see it, with its path and
        /// `/login/oidc/callback`, such as `https://spark.example.com/login/oidc/callback`.
        redirect_uri: String = String::new();
        /// What the provider is asked for: `openid`, and what makes it tell `access.jwt.user_claim` and `access.jwt.groups_claim`.
        scopes: Vec<String> = ["openid", "profile"].map(str::to_owned).to_vec();
        /// What the provider is called on the page of the login.
        name: String = "single sign-on".to_owned();
        /// How long a login may take at the provider.
        pending_time: Span = Span::secs(600);
        /// The most logins that are at the provider at the same time; over it, the oldest of the address that has most of them ends.
        pending: usize = 1000;
        /// Logins that are looked at at the provider at the same time; more wait, for `access.jwt.timeout` at most.
        at_once: usize = 8;
    }

    /// The audit log: who did what, from where, and whether it was allowed, a JSON object a line (docs/access.md).
    Audit at "audit" {
        /// The file. Empty: there is none.
        file: PathBuf = PathBuf::new();
        /// The most bytes of the file; then it is renamed to `FILE.1`, and another begun.
        max_bytes: Size = Size::mib(64);
        /// How many such earlier files are kept.
        kept: usize = 8;
        /// Whether requests that change nothing, and are allowed, are there too: each poll of a client is one.
        reads: bool = false;
        /// Whether the code of statements is there.
        code: bool = false;
        /// The most bytes of a statement's code that are there.
        code_bytes: Size = Size::kib(64);
        /// Lines that may wait to be written.
        queue: usize = 10_000;
        /// What happens when too many wait, or the file can't be written: `true`, requests that would be recorded are refused with 503; `false`,
        /// they go on, and a line says how many are missing.
        strict: bool = false;
    }
}
