//! Keys that hold one of a few words.

use serde::{Deserialize, Serialize};

use super::choices;
use crate::config::values::{KeyType, Kind};

choices! {
    /// What stored data survives.
    Durability {
        /// `kill -9` of the server at any instant.
        Process = "process",
        /// Loss of power too.
        Power = "power",
    }

    /// Where the driver runs.
    DeployMode {
        /// Not given to spark-submit.
        Unset = "",
        /// On the server's host.
        Client = "client",
        /// In the cluster.
        Cluster = "cluster",
    }

    /// How the server writes its log.
    LogFormat {
        /// A line for a reader.
        Text = "text",
        /// One JSON object for each line.
        Json = "json",
    }

    /// What happens to a session whose GPUs do nothing.
    IdleGpus {
        /// It ends.
        End = "end",
        /// It goes on without them; one whose processes are still on a GPU ends.
        GiveBack = "give_back",
    }

    /// What a request's Spark conf may hold.
    ConfMode {
        /// All but the keys on the deny list.
        Deny = "deny",
        /// The keys on the allow list only.
        Allow = "allow",
    }

    /// A way in which callers prove who they are.
    AccessMode {
        /// By name and password (HTTP Basic), against a file.
        Basic = "basic",
        /// By name and password (HTTP Basic), against an LDAP directory.
        Ldap = "ldap",
        /// By a Kerberos ticket (SPNEGO).
        Kerberos = "kerberos",
        /// By a signed token of an identity provider (JWT, OpenID Connect).
        Jwt = "jwt",
        /// By a browser's login at an identity provider (OpenID Connect).
        Oidc = "oidc",
        /// By a token that this server has made.
        Token = "token",
        /// By a header of a reverse proxy that has proved itself.
        Proxy = "proxy",
    }

    /// Whether names of users that differ in case only are one user's.
    UserCase {
        /// They are different users'.
        Keep = "keep",
        /// They are one user's, whose name is in lower case.
        Lower = "lower",
    }

    /// How much callers see of others' sessions.
    Lists {
        /// Nothing: another's session is not found.
        Owner = "owner",
        /// Livy's way: listed, with conf, log and code emptied.
        Livy = "livy",
    }

    /// As which Unix user drivers run.
    RunAsMode {
        /// All as the server's own.
        Server = "server",
        /// Each as its session's user.
        Owner = "owner",
    }

    /// Who may ask for the metrics.
    MetricsAccess {
        /// Administrators, and their tokens.
        Admin = "admin",
        /// Everybody who can reach the server.
        Open = "open",
    }

    /// What happens to sessions when the server is shut down.
    AtShutdown {
        /// They run on and wait for the next server.
        Keep = "keep",
        /// They end.
        End = "end",
    }
}
