//! Keys of drivers: as whom they run, what they may take, the link to them, and those that wait.

use serde::{Deserialize, Serialize};

use super::words::{IdleGpus, RunAsMode};
use super::{Key, Table, tables};
use crate::config::values::{KeyType, Size, Span, TextMap};

tables! {
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

    /// The connection between server and driver.
    Link at "link" {
        /// The address and the port on which drivers call that run in a cluster, over TLS, such as `0.0.0.0:8999`. Empty: sessions can't run there.
        listen: String = String::new();
        /// What those drivers are told to call, as `HOST:PORT` each: they are tried in turn. Empty: `link.listen`, which must name one address then.
        advertise: Vec<String> = Vec::new();
        /// Calls at the same time that have not proved themselves yet, on that port; more wait.
        calls: usize = 128;
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
        /// The cluster of those that choose it, one of `clusters.NAME`, unless the request names another. Empty: that of `spark.*`.
        cluster: String = String::new();
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
}
