//! Every configuration key, declared once: its meaning, type and default. The macro makes the struct that the server
//! reads, serde's defaults, and the table that the reference page and the unknown-key check use.

mod access;
mod clusters;
mod driver;
mod output;
mod policy;
mod server;
mod session;
mod spark;
mod words;

use super::values::Kind;

pub use access::{Access, Audit, Jwt, Kerberos, Ldap, Login, Oidc, Proxy, Throttle, Token};
pub use clusters::NamedCluster;
pub use driver::{Driver, Gpu, Link, Pool, Profile, RunAs};
pub use output::{Events, Output, ResultStreams};
pub use policy::{Files, Limits, PolicyConf, PolicyRule, Quota};
pub use server::{Log, Metrics, Retention, Server, Shutdown, Store, Tls, Traces};
pub use session::{Batch, Job, Session, Sql, Statement, Upload};
pub use spark::{Cluster, ConfDir, Hadoop, Kubernetes, Spark, Yarn};
pub use words::{
    AccessMode, AtShutdown, ConfMode, DeployMode, Durability, IdleGpus, Lists, LogFormat, MetricsAccess,
    RunAsMode, UserCase,
};

/// What stands in a table's path for a name that is the administrator's.
pub const NAME: &str = "NAME";

/// One table of the configuration.
#[derive(Debug)]
pub struct Table {
    /// Its dotted name, such as `policy.conf`.
    pub path: &'static str,
    /// What it is about, a line each.
    pub about: &'static [&'static str],
    /// Its keys, in the order of the reference page.
    pub keys: &'static [Key],
    /// What they hold where nothing is said.
    pub defaults: fn() -> toml::Table,
}

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name within the table.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, a line each.
    pub about: &'static [&'static str],
}

macro_rules! choices {
    ($( $(#[doc = $about:literal])+ $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ } )+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+ }

        impl $name {
            /// The word in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl KeyType for $name { const KIND: Kind = Kind::Choice(&[$($word),+]); }
    )+ };
}

macro_rules! tables {
    ($( $(#[doc = $about:literal])+ $name:ident at $path:literal {
        $( $(#[doc = $doc:literal])+ $key:ident: $ty:ty = $default:expr; )+
        $( table $inner:ident: $inner_ty:ty; )*
    } )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name {
                $( $(#[doc = $doc])+ pub $key: $ty, )+
                $( #[doc = "A table below this one."] pub $inner: $inner_ty, )*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $( $key: $default, )+ $( $inner: <$inner_ty>::default(), )* }
                }
            }
        )+

        /// The tables of this file with their keys.
        pub(super) static TABLES: &[Table] = &[$( Table {
            path: $path,
            about: &[$($about),+],
            keys: &[$( Key { name: stringify!($key), kind: <$ty as KeyType>::KIND, about: &[$($doc),+] } ),+],
            defaults: || toml::Table::try_from($name::default()).unwrap_or_default(),
        } ),+];
    };
}

use {choices, tables};

/// Every table with its keys, in the order of the reference page.
pub fn all() -> impl Iterator<Item = &'static Table> + Clone {
    [
        server::TABLES,
        spark::TABLES,
        clusters::TABLES,
        session::TABLES,
        driver::TABLES,
        output::TABLES,
        policy::TABLES,
        access::TABLES,
    ]
    .into_iter()
    .flatten()
}
