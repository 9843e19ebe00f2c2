//! Keys of the server itself: where it listens, what it keeps, what it logs, how it stops.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::{AtShutdown, Durability, LogFormat, MetricsAccess};
use super::{Key, Table, tables};
use crate::config::values::{KeyType, Listen, Size, Span};

tables! {
    /// The HTTP server.
    Server at "server" {
        /// The address and port to listen on. Without authentication it must be a loopback address.
        listen: Listen = Listen(std::net::SocketAddr::from(([127, 0, 0, 1], 8998)));
        /// Further names that a request's `Host` may have, without port, such as `["spark.example.com"]`. With `access.mode =
        /// "none"`, localhost and the listen address are accepted as well and nothing else; with authentication, an empty list
        /// accepts every name.
        hosts: Vec<String> = Vec::new();
        /// The path below which a reverse proxy serves Firesteel, such as `/firesteel`: starts with `/`, doesn't end with it.
        base_path: String = String::new();
        /// Whether `X-Forwarded-Prefix` and `X-Forwarded-Proto` of a reverse proxy are believed, and the last address of its `X-Forwarded-For`, which
        /// `access.throttle` goes by.
        forwarded: bool = false;
        /// Origins whose pages may read answers and send requests (CORS), each as browsers write it, such as
        /// `["https://lab.example.org"]`; compared as a whole. Cookies are never asked for. Empty: none.
        cors: Vec<String> = Vec::new();
        /// Whether names, passwords and results may go over the network for everybody on the way to read: plain HTTP on an address that other hosts
        /// reach. For a network that is private, or where a reverse proxy on another host does TLS.
        plain_http: bool = false;
        /// A Unix socket to listen on as well, as an absolute path: of mode 0660, so its user and group may connect. Callers are asked who they are there
        /// as anywhere. Empty: none.
        unix_socket: PathBuf = PathBuf::new();
        /// Where the store and the drivers' run directories are. Empty: `$XDG_STATE_HOME/firesteel`, else
        /// `~/.local/state/firesteel`.
        state_dir: PathBuf = PathBuf::new();
        /// Threads that answer HTTP requests.
        workers: usize = 2;
        /// How long a client may take to send a request's headers.
        header_timeout: Span = Span::secs(5);
        /// How long a client may take to send a request's body; extended by 1 s for each 256 KiB that arrived.
        body_timeout: Span = Span::secs(10);
        /// How long a connection is kept for its next request, whose headers must have come by then, with `server.header_timeout` beside it.
        keep_alive: Span = Span::secs(75);
        /// How long a client may take nothing of an answer; then the connection is cut. Never shorter than `result.stall_timeout`.
        write_timeout: Span = Span::secs(600);
        /// Clients' connections at the same time; further ones are closed at once. Fewer where the process may not have so many files open.
        connections: usize = 8192;
        /// Those of one address, or of one IPv6 network of 64 bits; `0`: no limit of its own. Behind a reverse proxy all have the proxy's.
        connections_per_address: usize = 4096;
        /// How long requests under way may go on when the server is shut down.
        shutdown_grace: Span = Span::secs(5);
        table tls: Tls;
    }

    /// TLS of `server.listen` (docs/tokens-and-tls.md). The files are read again when they change.
    Tls at "server.tls" {
        /// The PEM file of the server's certificate and those between it and the authority. With it and `server.tls.key`, `server.listen` speaks HTTPS
        /// and nothing else.
        cert: PathBuf = PathBuf::new();
        /// The PEM file of the certificate's private key.
        key: PathBuf = PathBuf::new();
        /// The PEM file of the authorities whose certificates clients may show. Empty: clients are not asked for one.
        client_ca: PathBuf = PathBuf::new();
        /// Whether a client without such a certificate is refused.
        client_required: bool = false;
        /// How often it is looked whether a file has changed.
        look_interval: Span = Span::secs(5);
        /// How long a client may take to agree on TLS.
        handshake_timeout: Span = Span::secs(5);
        /// How long browsers come back over HTTPS only (`Strict-Transport-Security`); `0s`: the header is not sent.
        hsts: Span = Span::secs(365 * 24 * 3600);
    }

    /// The store of sessions and statements.
    Store at "store" {
        /// What an answered request survives: `process`, a killed server; `power`, loss of power too (each write waits for
        /// the disk).
        durability: Durability = Durability::Process;
        /// How long a write waits for another process that holds the database, or for its turn, before it fails.
        busy_timeout: Span = Span::secs(5);
    }

    /// What is kept of sessions that have ended: `GET /history` shows it.
    Retention at "retention" {
        /// How many are kept, with their statements and logs.
        sessions: usize = 1000;
        /// How long; `0s`: as long as they are not too many.
        age: Span = Span::secs(30 * 24 * 3600);
        /// How long the answer to a request with an `Idempotency-Key` is known.
        idempotency: Span = Span::secs(24 * 3600);
        /// How often is looked for what need not be kept.
        interval: Span = Span::secs(60);
    }

    /// Logs.
    Log at "log" {
        /// The most bytes kept of each of a driver's streams (stdout, stderr).
        max_bytes: Size = Size::mib(16);
        /// What the server logs: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,firesteel::driver=debug`.
        level: String = "info".to_owned();
        /// How the server writes its log.
        format: LogFormat = LogFormat::Text;
        /// Whether it has a line for each request that was answered (docs/access.md).
        access: bool = false;
    }

    /// What Prometheus is told (docs/metrics.md).
    Metrics at "metrics" {
        /// Who may ask for /metrics where callers are authenticated.
        access: MetricsAccess = MetricsAccess::Admin;
    }

    /// Traces by OpenTelemetry, of a build with the feature `otel` (docs/traces.md).
    Traces at "traces" {
        /// The collector that takes them, by OTLP over HTTP, such as `http://127.0.0.1:4318`; without a path, `/v1/traces` is asked for. Empty: none are
        /// recorded.
        endpoint: String = String::new();
        /// Whether they may go to another host over http, for everybody on the way to read.
        plaintext: bool = false;
        /// The share that is recorded of the traces that begin here, `0.0` to `1.0`. A client's own `traceparent` says itself whether it is recorded.
        sample: f64 = 1.0;
        /// The most spans that wait to be sent; more are left out, and counted.
        queue: usize = 4096;
        /// How long a span waits for others to be sent with.
        interval: Span = Span::secs(5);
        /// How long the collector may take for an answer.
        timeout: Span = Span::secs(10);
    }

    /// The end of the server.
    Shutdown at "shutdown" {
        /// What happens to sessions: `keep`, they run on and wait for the next server; `end`, they end.
        sessions: AtShutdown = AtShutdown::Keep;
    }
}
