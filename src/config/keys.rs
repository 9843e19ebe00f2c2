//! Every configuration key, declared once: its meaning, type and default. The macro makes the struct that the server
//! reads, serde's defaults, and the table that the reference page and the unknown-key check use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::modes::Modes;
use super::values::{KeyType, Kind, ListMap, Listen, Size, Span, TextMap};

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

        /// Every table with its keys.
        pub static TABLES: &[Table] = &[$( Table {
            path: $path,
            about: &[$($about),+],
            keys: &[$( Key { name: stringify!($key), kind: <$ty as KeyType>::KIND, about: &[$($doc),+] } ),+],
            defaults: || toml::Table::try_from($name::default()).unwrap_or_default(),
        } ),+];
    };
}

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

    /// What happens to sessions when the server is shut down.
    AtShutdown {
        /// They run on and wait for the next server.
        Keep = "keep",
        /// They end.
        End = "end",
    }
}

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

    /// The Spark that sessions run on.
    Spark at "spark" {
        /// SPARK_HOME. Empty: the environment's SPARK_HOME, else the pyspark package of `spark.python`.
        home: PathBuf = PathBuf::new();
        /// The Python of drivers. Empty: the one beside the pyspark that was chosen, else `python3`.
        python: String = String::new();
        /// The master of every session; requests can't change it.
        master: String = "local[*]".to_owned();
        /// The deploy mode. Empty: Spark's own default.
        deploy_mode: DeployMode = DeployMode::Unset;
        /// Whether sessions use the Hive catalog (`spark.sql.catalogImplementation`).
        hive: bool = false;
        /// SPARK_LOCAL_IP of drivers with a local master. Empty: not set.
        local_ip: String = "127.0.0.1".to_owned();
        /// Spark conf that each session starts from; a request's conf goes over it.
        conf: TextMap = TextMap::default();
    }

    /// A secured Hadoop, and as whom drivers act on it (docs/hadoop-security.md).
    Hadoop at "hadoop" {
        /// The keytab of `hadoop.principal`, with which the server gets the Kerberos ticket that drivers are started with, by `kinit`. Empty: no ticket.
        keytab: PathBuf = PathBuf::new();
        /// The server's own name on the cluster, such as `firesteel/host.example.com@EXAMPLE.COM`, which must be allowed to act for users there (Hadoop's
        /// `hadoop.proxyuser.*`).
        principal: String = String::new();
        /// Whether `spark-submit` gets each session's user as `--proxy-user`. With `hadoop.keytab` it always does.
        proxy_user: bool = false;
        /// How often a new ticket is got, at least: it is got once three quarters of the old one's life are over in any case.
        renew_interval: Span = Span::secs(3600);
        /// How long after one that failed the next attempt to get a ticket is made.
        retry_interval: Span = Span::secs(30);
        /// How long `kinit` may take.
        kinit_timeout: Span = Span::secs(10);
    }

    /// Directories of configuration for the drivers of some users, in place of the server's own (docs/hadoop-security.md); NAME is yours.
    ConfDir at "conf_dir.NAME" {
        /// The users whose drivers they are for, before any entry for a group of theirs.
        users: Vec<String> = Vec::new();
        /// The groups whose members' drivers they are for.
        groups: Vec<String> = Vec::new();
        /// SPARK_CONF_DIR, an absolute path, with a `spark-defaults.conf` of its own. Empty: the server's.
        spark: PathBuf = PathBuf::new();
        /// HADOOP_CONF_DIR, an absolute path; YARN_CONF_DIR is not set then. Empty: the server's.
        hadoop: PathBuf = PathBuf::new();
    }

    /// The processes of a session.
    Driver at "driver" {
        /// How long an idle driver waits for a server that is gone, then ends itself.
        orphan_grace: Span = Span::secs(600);
        /// From asking a driver to stop to SIGTERM.
        stop_grace: Span = Span::secs(5);
        /// From SIGTERM to SIGKILL.
        kill_grace: Span = Span::secs(3);
        /// `oom_score_adj` of drivers, -1000 to 1000, so that the kernel takes a driver before the server when memory runs out.
        oom_score_adj: i32 = 500;
        /// How far drivers that are nobody's yet stand back: warm ones until a session takes them, and the one that makes the class-data archive. A nice
        /// value, from `0`, as others, to `19`, hardly ever while others want the processor; without effect where the kernel has no autogroup.
        background_nice: u32 = 10;
        /// The most that a session's driver may collect (`spark.driver.maxResultSize`, `spark.sql.maxBroadcastTableSize`), in percent of
        /// `spark.driver.memory`, which is 1 GiB where nothing is said; what asks for more gets this. `0`: as it is asked.
        max_result_percent: u32 = 25;
        /// Whether drivers share a class-data archive of their Java and Spark, which one of nobody's makes in the background; it takes a third off a
        /// driver's start.
        class_archive: bool = true;
        /// How long after the server's start it is made, where there is none yet.
        class_archive_delay: Span = Span::secs(30);
        /// The most bytes of all archives, those of other Javas and Sparks too; the oldest go first.
        class_archive_bytes: Size = Size::mib(1024);
        /// Whether sessions' JVMs compile quickly instead of well and collect on one thread: they start sooner, and what computes for long in the driver, with
        /// a local master all of it, is slower. A collector that the conf names leaves it out.
        quick_jvm: bool = false;
        /// Whether an idle session's JVM plans and compiles a query before its first statement comes, which takes a second or two of a core: the first
        /// Spark job then is quicker. It runs no job.
        warm_up: bool = false;
        /// The most memory of one driver, all its processes together: the JVM, Python, R, and what they start. A driver that is over it is ended. `0B`: no
        /// limit.
        memory_max: Size = Size::kib(0);
        /// How much of the processors one driver may use, in percent of one: `250` is two and a half. `0`: no limit. Needs a cgroup.
        cpu_percent: u32 = 0;
        /// The most processes and threads of one driver; one that wants more is ended. `0`: no limit.
        pids_max: u64 = 8192;
        /// The most bytes that one driver's directory takes on the disk: temporary files, Spark's blocks, what is written to the working directory. A driver
        /// that is over it is ended. `0B`: no limit.
        disk_max: Size = Size::kib(0);
        /// How often a driver's limits are looked at, where the kernel does not tell of them.
        watch_interval: Span = Span::secs(1);
        /// Whether each driver gets a cgroup, where the server can make one (docs/isolation.md).
        cgroups: bool = true;
        /// Variables set in each driver's environment.
        env: TextMap = TextMap::default();
        /// Names of variables that drivers get from the server's environment, beside the built-in list.
        env_pass: Vec<String> = Vec::new();
    }

    /// As which Unix user of the host drivers run (docs/isolation.md).
    RunAs at "run_as" {
        /// `server`: all as the server's own user; `owner`: each as its session's user, with that one's groups and home, which needs a server that is started
        /// as root.
        mode: RunAsMode = RunAsMode::Server;
        /// The least uid that a driver runs with. Never as root.
        min_uid: u32 = 1000;
        /// Users who have another name on the host, such as `"ada@EXAMPLE.COM" = "ada"`.
        users: TextMap = TextMap::default();
        /// Where users' own keytabs are, such as `/etc/firesteel/keytabs/%u.keytab` with the Unix user's name for `%u`: each driver has a ticket got with its
        /// user's, which that user must be able to read (docs/hadoop-security.md). Empty: drivers get no tickets.
        keytabs: String = String::new();
        /// The Kerberos principal that a user's keytab is for, with the Unix user's name for `%u`; without a realm, it is of the default one.
        principal: String = "%u".to_owned();
    }

    /// Interactive sessions.
    Session at "session" {
        /// A session without activity for so long is ended; `0s`: never. A busy session is never idle.
        idle_timeout: Span = Span::secs(3600);
        /// A session that isn't ready after so long is ended.
        start_timeout: Span = Span::secs(300);
        /// A session that an earlier server had, and whose driver does not call within this time, is ended.
        recover_timeout: Span = Span::secs(120);
        /// The longest life of a session; `0s`: no limit.
        ttl: Span = Span::secs(0);
        /// How long ended sessions stay in `GET /sessions`.
        ended_shown: Span = Span::secs(600);
        /// How long a jar or file may take to be added to a live session, with what is left of the session's start.
        add_timeout: Span = Span::secs(60);
        /// How often timeouts are looked at.
        watch_interval: Span = Span::secs(1);
    }

    /// Batches.
    Batch at "batch" {
        /// How long batches that have ended stay, with their logs.
        ended_shown: Span = Span::secs(24 * 3600);
        /// How many batches that have ended stay at most; the oldest go first.
        ended_kept: usize = 1000;
    }

    /// The cluster manager that drivers and executors run with (docs/clusters.md).
    Cluster at "cluster" {
        /// How often the cluster manager is asked what has become of applications, at most: one request for all of them.
        poll_interval: Span = Span::secs(1);
        /// How long it may take to answer.
        timeout: Span = Span::secs(10);
        /// How long after it did not answer it is asked again, at most: each time twice as long as before.
        longest_wait: Span = Span::secs(30);
        /// How long after its submit has ended an application may be unknown to the cluster manager, or one that was known before; then its batch is dead.
        lookup_timeout: Span = Span::secs(60);
        /// The most bytes of an answer.
        max_answer: Size = Size::mib(64);
        table yarn: Yarn;
    }

    /// YARN, of `spark.master = "yarn"` (docs/clusters.md).
    Yarn at "cluster.yarn" {
        /// Where its ResourceManagers are, such as `["http://rm1:8088", "http://rm2:8088"]`; the active one is found. Empty: as `yarn-site.xml` in the
        /// environment's YARN_CONF_DIR or HADOOP_CONF_DIR says.
        resource_manager: Vec<String> = Vec::new();
        /// As whom it is asked (`user.name`): one who may kill applications. Empty: HADOOP_USER_NAME, else the server's own user.
        user: String = String::new();
    }

    /// Uploads: files that clients send for their sessions and batches.
    Upload at "upload" {
        /// The most bytes of one upload; over it, 413.
        max_bytes: Size = Size::mib(100);
        /// The most bytes that the uploads of one owner have together, each counted as 64 KiB at least; over it, 413.
        owner_bytes: Size = Size::mib(1024);
        /// The most bytes that all uploads have together, counted so; over it, 503.
        total_bytes: Size = Size::mib(10 * 1024);
        /// Uploads received at the same time; over it, 503.
        at_once: usize = 8;
        /// How long an upload is kept to which no live session or batch refers: since it came, since the last one referred to it, or
        /// since the server's start.
        kept: Span = Span::secs(3600);
    }

    /// Statements.
    Statement at "statement" {
        /// How long the answer to a POST is held for a quick result, and that of a session that takes a warm driver until it is idle; `0s`: answered at once.
        answer_within: Span = Span::millis(100);
        /// From the first interrupt of a cancelled statement to the second.
        interrupt_again: Span = Span::secs(1);
        /// From cancelling a statement to replacing its interpreter.
        cancel_grace: Span = Span::secs(2);
        /// Statements kept of each session, 500 at least.
        kept: usize = 1000;
    }

    /// Programmatic jobs.
    Job at "job" {
        /// Jobs kept of each session after their end, 1 at least.
        kept: usize = 100;
        /// The most bytes kept of a session's jobs' results, as they are sent; the oldest go first, the last one stays.
        kept_bytes: Size = Size::mib(64);
    }

    /// Statements' results.
    Output at "output" {
        /// The most bytes kept of one statement's output; over it, head and tail are kept and the cut is marked. A job whose result is
        /// larger fails.
        max_bytes: Size = Size::mib(16);
        /// The largest output that the store keeps in its row; a larger one is a compressed file of its own.
        inline_bytes: Size = Size::kib(16);
        /// The most bytes that the files of one session's outputs take; over it, the oldest go and leave their first lines.
        session_bytes: Size = Size::mib(1024);
        /// The most bytes that the files of all outputs take; over it, the oldest of all go.
        total_bytes: Size = Size::mib(10 * 1024);
        /// How often the server is told what a running statement prints, at most; `0s`: not before it has ended.
        live_interval: Span = Span::millis(100);
        /// The most bytes kept of what the running statement of a session has printed, and as many of the one before it.
        live_bytes: Size = Size::kib(64);
        /// Whether the value of a Python cell's last line is shown as HTML, an image or the like beside its text, where it can be.
        rich: bool = true;
    }

    /// Events of sessions, and logs that are followed.
    Events at "events" {
        /// The most bytes of a session's latest events that are kept for clients that come back, each event counted as 256 bytes
        /// at least.
        replay_bytes: Size = Size::kib(256);
        /// Clients that follow events or logs at the same time; over it, 503.
        clients: usize = 1000;
    }

    /// Whole results, which are fetched as streams (docs/results.md).
    ResultStreams at "result" {
        /// The SQL statements of each session whose whole results can be fetched: the last ones.
        kept: usize = 20;
        /// Results of one session that are fetched at the same time; over it, 503.
        at_once: usize = 2;
        /// Results that are fetched at the same time in all; over it, 503.
        total_at_once: usize = 64;
        /// The most rows of a result that is fetched; `0`: no limit.
        max_rows: usize = 0;
        /// The most bytes of a result that is fetched, as Arrow; `0B`: no limit.
        max_bytes: Size = Size::kib(0);
        /// How long a client may take none of the result; then the connection is cut.
        stall_timeout: Span = Span::secs(600);
    }

    /// GPUs, and who gets them (docs/gpus.md).
    Gpu at "gpu" {
        /// Restricts the GPUs to these UUIDs, or declares them, such as `"GPU-1 80GiB NVIDIA H100"`; all that NVML shows where it is empty.
        devices: Vec<String> = Vec::new();
        /// Whether a part of a GPU may be asked for, with others on the rest of it.
        sharing: bool = false;
        /// The most GPUs that one user holds at the same time; `0`: no limit.
        owner_limit: u32 = 0;
        /// The most GPUs that are held at the same time in all; `0`: no limit.
        limit: u32 = 0;
        /// How long a session or batch waits for its GPUs; then it ends.
        wait: Span = Span::secs(3600);
        /// How often the GPUs are looked at.
        look_interval: Span = Span::secs(10);
        /// After how long without a statement and without work on its GPUs a session loses them; `0s`: never.
        idle_timeout: Span = Span::secs(0);
        /// How long before that its log warns.
        idle_warning: Span = Span::secs(600);
        /// What then happens to it.
        idle_action: IdleGpus = IdleGpus::End;
        /// NVIDIA's RAPIDS Accelerator, as the path of its jar or its Maven coordinate: with it there is a profile `rapids` (docs/gpus.md).
        rapids: String = String::new();
    }

    /// A profile, which a request chooses by the conf key `firesteel.profile`; NAME is yours: letters, digits, `-` and `_`.
    Profile at "profile.NAME" {
        /// What it is for, in a line.
        about: String = String::new();
        /// Conf of those that choose it, below the request's own; lists such as `spark.jars` are joined. The policy does not look at it.
        conf: TextMap = TextMap::default();
        /// How many warm drivers are kept for those that choose it (docs/pool.md).
        pool: usize = 0;
    }

    /// Warm drivers, which are ready before a session asks for one (docs/pool.md).
    Pool at "pool" {
        /// How many are kept for sessions without a profile; `profile.NAME.pool` is for those with one. With `run_as.mode = "owner"`: for each user who
        /// has some.
        size: usize = 0;
        /// With `run_as.mode = "owner"`, how many users have warm drivers, at most: those who had a session last.
        owners: usize = 8;
        /// With `run_as.mode = "owner"`, how long after a user's last new session theirs are kept.
        owner_idle: Span = Span::secs(4 * 3600);
        /// Modules that their Python has imported, such as `["pandas", "torch"]`.
        imports: Vec<String> = Vec::new();
        /// Whether each has run a small Spark job, so that its session's first does not wait for classes to load.
        first_job: bool = true;
        /// How long after one was taken the next is started: its session's first statement comes first.
        refill_delay: Span = Span::secs(2);
        /// How old one becomes; then another takes its place. `0s`: as old as the server.
        max_age: Span = Span::secs(4 * 3600);
        /// The host's memory that must be available when one is started.
        memory_available: Size = Size::mib(2048);
    }

    /// SQL results.
    Sql at "sql" {
        /// The most rows of a SQL result, unless the session's conf has `livy.rsc.sql.num-rows`.
        max_rows: usize = 1000;
        /// The most rows that `livy.rsc.sql.num-rows` can ask for.
        max_rows_ceiling: usize = 100_000;
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

    /// Limits of requests and of the server.
    Limits at "limits" {
        /// The most bytes of a request body, compressed and not.
        request_body: Size = Size::mib(32);
        /// Sessions at the same time; further ones wait in state `starting`.
        sessions: usize = 100;
        /// Sessions that may wait; over it, 503.
        sessions_queued: usize = 1000;
        /// Batches that run at the same time; further ones wait in state `starting`.
        batches: usize = 20;
        /// Batches that may wait; over it, 503.
        batches_queued: usize = 10_000;
        /// Drivers that start at the same time, of sessions, batches and the pool; further ones wait in state `starting`. `0`: twice as many as the
        /// server may use processors.
        starting: usize = 0;
        /// How long a session's or a warm driver counts as one that starts, at most: it does until it is ready or has ended.
        starting_session: Span = Span::secs(30);
        /// How long a batch's does, which does not tell when it has started, unless it has ended before.
        starting_batch: Span = Span::secs(10);
        /// Statements of one session that may wait; over it, 503.
        statements_waiting: usize = 1000;
        /// The most bytes of a session's name.
        name_bytes: usize = 256;
        /// The most bytes of a statement's code; over it, 413.
        code_bytes: Size = Size::mib(32);
        /// The most bytes of a request's query; over it, 400.
        query_bytes: Size = Size::kib(16);
        /// The most keys of a request's conf.
        conf_keys: usize = 1000;
        /// The most bytes of one value of a request's conf, of a field that stands for one (driverMemory, queue), and of an entry of jars, pyFiles, files
        /// and archives. A key of the conf has 1 KiB at most.
        conf_value_bytes: Size = Size::kib(64);
        /// The most entries of a request's list (jars, pyFiles, files, archives, args).
        list_entries: usize = 1000;
        /// The most bytes of a batch's file, className and args together; 1 MiB at most, since they share what Linux gives arguments and environment.
        /// Each has 131,071 bytes at most, Linux's own limit.
        args_bytes: Size = Size::kib(512);
        /// The most rows of one list answer.
        page: usize = 10_000;
        /// The most users and groups with whom one session or batch is shared.
        shares: usize = 100;
    }

    /// The connection between server and driver.
    Link at "link" {
        /// The most bytes of one frame; below 4 GiB, and more than twice `output.max_bytes`.
        max_frame: Size = Size::mib(64);
        /// The most bytes that a driver's agent keeps in memory of what the server has not stored yet; the rest waits in a file of
        /// the driver's directory, and so does everything while there is no server.
        keep_bytes: Size = Size::mib(32);
        /// The most bytes of that file; beyond it, results are replaced by an error that says so.
        outbox_bytes: Size = Size::mib(1024);
        /// How long a driver may take to prove itself after it connected.
        hello_timeout: Span = Span::secs(5);
    }

    /// The server's files that requests may name.
    Files at "files" {
        /// Directories whose files requests may name in jars, files, archives and the like. Empty: no local file.
        allow: Vec<PathBuf> = Vec::new();
    }

    /// What a request's Spark conf may hold.
    PolicyConf at "policy.conf" {
        /// `deny`: all keys but those on the deny list; `allow`: the keys of `policy.conf.allow` only.
        mode: ConfMode = ConfMode::Deny;
        /// Keys refused beside the built-in list. A `*` at the end stands for any ending.
        deny: Vec<String> = Vec::new();
        /// In mode `allow`, the only keys that a request may set; in mode `deny`, keys that load code and that callers may set
        /// all the same though authentication is on. A `*` at the end stands for any ending.
        allow: Vec<String> = Vec::new();
    }

    /// A rule for the Spark conf of some users or of all (docs/policy.md); NAME is yours. A `*` at a key's end stands for any ending.
    PolicyRule at "policy.rule.NAME" {
        /// The users whose requests it is for. Without users and groups it is for everybody's.
        users: Vec<String> = Vec::new();
        /// The groups whose members' requests it is for.
        groups: Vec<String> = Vec::new();
        /// Keys that they may not set.
        deny: Vec<String> = Vec::new();
        /// For a key the only values that they may give it.
        values: ListMap = ListMap::default();
        /// What a key holds where neither the request nor its profile sets it.
        default: TextMap = TextMap::default();
        /// What a key holds, whatever was asked for.
        force: TextMap = TextMap::default();
        /// The most that a key may hold: a size such as `8g`, a number, a duration such as `30min`. What is over it becomes this.
        cap: TextMap = TextMap::default();
    }

    /// What each of some users may use, or each user (docs/quotas.md); NAME is yours. `0`: no limit.
    Quota at "quota.NAME" {
        /// The users it is for. Without users and groups it is for everybody who has no other.
        users: Vec<String> = Vec::new();
        /// The groups whose members it is for.
        groups: Vec<String> = Vec::new();
        /// Whether it is for all of them together; else for each.
        together: bool = false;
        /// Sessions that run at the same time; further ones wait in state `starting`.
        sessions: usize = 0;
        /// Batches that run at the same time; further ones wait in state `starting`.
        batches: usize = 0;
        /// Sessions and batches that may wait, each counted apart; over it, 503.
        queued: usize = 0;
        /// Cores of all drivers and executors that run at the same time.
        cores: u32 = 0;
        /// Memory of all drivers and executors that run at the same time; `0B`: no limit.
        memory: Size = Size::kib(0);
        /// GPUs that are held at the same time; a part by memory counts as a whole one.
        gpus: u32 = 0;
        /// Bytes of uploads, within `upload.owner_bytes`; over it, 413. `0B`: no limit but that.
        uploads: Size = Size::kib(0);
        /// Statements and jobs a minute; over it, 429.
        statements_per_minute: u32 = 0;
    }

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

    /// The end of the server.
    Shutdown at "shutdown" {
        /// What happens to sessions: `keep`, they run on and wait for the next server; `end`, they end.
        sessions: AtShutdown = AtShutdown::Keep;
    }
}
