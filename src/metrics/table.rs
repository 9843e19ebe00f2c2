//! Every metric, declared once: its name, labels and meaning. The macro makes what modules count in, and the table of docs/metrics.md.

use std::sync::LazyLock;

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::Metric;
use super::series::Series;

/// Of an answer: from half a millisecond to ten seconds.
const ANSWERS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// Of a step of the server's own.
const STEPS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5,
];
/// Of what Spark does.
const WORK: &[f64] = &[
    0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0,
];
/// Of a driver's start.
const STARTS: &[f64] = &[
    0.01, 0.05, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0,
];
/// Of writes that share a commit.
const WRITES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The methods that are counted by name.
pub const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other",
];
const SESSION_STATES: &[&str] = &["starting", "recovering", "idle", "busy", "shutting_down", "dead"];
const SESSION_KINDS: &[&str] = &["spark", "pyspark", "sparkr", "sql", "shared"];
const STATEMENT_STATES: &[&str] = &["waiting", "running", "cancelling"];
const KINDS: &[&str] = &["spark", "pyspark", "sparkr", "sql"];
const BATCH_STATES: &[&str] = &["starting", "running", "success", "dead", "killed"];
const QUEUES: &[&str] = &["sessions", "batches"];
const DIRECTIONS: &[&str] = &["received", "sent"];

macro_rules! metrics {
    ($( $(#[doc = $doc:literal])+ $name:ident: $ty:ty = $text:literal $({ $($label:ident: $values:expr),+ })? $(in $buckets:expr)?; )+) => {
        $(
            $(#[doc = $doc])+
            pub static $name: LazyLock<$ty> = LazyLock::new(|| {
                let buckets: &[&[f64]] = &[$($buckets)?];
                <$ty>::make($text, concat!($($doc),+).trim(), &[$($(stringify!($label)),+)?], buckets.first().unwrap_or(&ANSWERS))
                    .expect("a sound metric")
            });
        )+

        /// Every metric, in the order of the documentation.
        pub static ALL: &[Metric] = &[$( Metric {
            name: $text,
            kind: <$ty as Series>::KIND,
            labels: &[$($((stringify!($label), $values)),+)?],
            help: concat!($($doc),+).trim_ascii(),
            collector: || Box::new($name.clone()),
            prepare: |values| $name.prepare(values),
        } ),+];
    };
}

metrics! {
    /// HTTP requests that were answered; the route is its pattern, `unmatched` for a path that has none.
    HTTP_REQUESTS: IntCounterVec = "firesteel_http_requests_total" { method: METHODS, route: &[], status: &["1xx", "2xx", "3xx", "4xx", "5xx"] };
    /// Time from a request to the head of its answer; a POST or GET of a statement may be held for statement.answer_within.
    HTTP_DURATION: HistogramVec = "firesteel_http_request_duration_seconds" { method: METHODS, route: &[] } in ANSWERS;
    /// Connections of clients that are open.
    HTTP_CONNECTIONS: IntGauge = "firesteel_http_connections";
    /// Connections that were closed because there are as many as may be (server.connections, server.connections_per_address).
    HTTP_CONNECTIONS_REFUSED: IntCounter = "firesteel_http_connections_refused_total";
    /// Clients that follow events or logs (events.clients is the most).
    FOLLOWERS: IntGauge = "firesteel_followers";

    /// Sessions that are in memory, those that ended lately included.
    SESSIONS: IntGaugeVec = "firesteel_sessions" { state: SESSION_STATES, kind: SESSION_KINDS };
    /// Sessions that were accepted.
    SESSIONS_CREATED: IntCounter = "firesteel_sessions_created_total";
    /// Sessions that ended: as asked or by a time limit, before they were ready, or because their driver ended by itself.
    SESSIONS_ENDED: IntCounterVec = "firesteel_sessions_ended_total" { outcome: &["stopped", "not_started", "died"] };
    /// Phases of drivers' starts. Of sessions: queue (until it may start), spawn (the keeper, or the claim of a warm driver), total (from the request until it is idle). Of all drivers with an agent: jvm (from the keeper to the agent's call), context (until the SparkContext and the interpreter are there).
    START: HistogramVec = "firesteel_start_seconds" { phase: &["queue", "spawn", "jvm", "context", "total"] } in STARTS;

    /// Statements and jobs without an end.
    STATEMENTS: IntGaugeVec = "firesteel_statements" { state: STATEMENT_STATES, kind: KINDS };
    /// Statements and jobs that ended; `lost` are those whose driver died or whose outcome nobody knows.
    STATEMENTS_ENDED: IntCounterVec = "firesteel_statements_ended_total" { outcome: &["ok", "error", "cancelled", "lost"], kind: KINDS };
    /// Time that statements and jobs took in their driver, by the driver's clock.
    STATEMENT_DURATION: HistogramVec = "firesteel_statement_duration_seconds" { kind: KINDS } in WORK;
    /// Time that statements and jobs waited for the driver: for those before them, or for its start.
    STATEMENT_WAIT: Histogram = "firesteel_statement_wait_seconds" in WORK;
    /// What the server and the link add to a statement, by the server's clock: accept (its row is stored), send (from the hand-over until the driver tells that it has begun), store (its result is stored).
    STATEMENT_OVERHEAD: HistogramVec = "firesteel_statement_overhead_seconds" { part: &["accept", "send", "store"] } in STEPS;
    /// Results that met a limit: output.max_bytes (text, structured), sql.max_rows (rows), link.outbox_bytes (outbox).
    RESULTS_CUT: IntCounterVec = "firesteel_results_cut_total" { limit: &["text", "structured", "rows", "outbox"] };

    /// Batches that are in memory, those that ended lately included.
    BATCHES: IntGaugeVec = "firesteel_batches" { state: BATCH_STATES };
    /// Batches that were accepted.
    BATCHES_CREATED: IntCounter = "firesteel_batches_created_total";
    /// Batches that ended, by their last state.
    BATCHES_ENDED: IntCounterVec = "firesteel_batches_ended_total" { state: &["success", "dead", "killed"] };

    /// How many wait: sessions and batches for their turn, drivers for their start (limits.starting), both for GPUs.
    QUEUE_LENGTH: IntGaugeVec = "firesteel_queue_length" { queue: &["sessions", "batches", "starting", "gpus"] };
    /// How many have their turn: sessions and batches that run, drivers that start.
    QUEUE_RUNNING: IntGaugeVec = "firesteel_queue_running" { queue: &["sessions", "batches", "starting"] };
    /// Sessions and batches that were refused because too many wait (limits.sessions_queued, limits.batches_queued, a quota).
    QUEUE_REFUSED: IntCounterVec = "firesteel_queue_refused_total" { queue: QUEUES };

    /// Connections of agents that are open.
    LINK_CONNECTIONS: IntGauge = "firesteel_link_connections";
    /// Agents' calls, by what came of them: welcome, refused, or no complete hello in time.
    LINK_CALLS: IntCounterVec = "firesteel_link_calls_total" { outcome: &["welcome", "refused", "timeout"] };
    /// Calls that took the place of an earlier connection of the same driver.
    LINK_RECONNECTS: IntCounter = "firesteel_link_reconnects_total";
    /// Frames between the server and agents.
    LINK_FRAMES: IntCounterVec = "firesteel_link_frames_total" { direction: DIRECTIONS };
    /// Bytes of those frames.
    LINK_BYTES: IntCounterVec = "firesteel_link_bytes_total" { direction: DIRECTIONS };

    /// Spans of traces: sent to the collector, or left out because too many wait or the collector does not take them. Of a build with `otel`.
    SPANS: IntCounterVec = "firesteel_spans_total" { outcome: &["sent", "left_out"] };

    /// Time of a commit.
    STORE_COMMIT: Histogram = "firesteel_store_commit_seconds" in STEPS;
    /// Writes that shared a commit.
    STORE_WRITES: Histogram = "firesteel_store_commit_writes" in WRITES;
    /// Writes that were answered with a failure.
    STORE_FAILED: IntCounter = "firesteel_store_failed_writes_total";
    /// Writes that wait for the writer.
    STORE_QUEUE: IntGauge = "firesteel_store_queue_length";
    /// Whether the store can be written: 1 or 0.
    STORE_WRITABLE: IntGauge = "firesteel_store_writable";
    /// Size of the store's files: the database and its write-ahead log.
    STORE_FILE: IntGaugeVec = "firesteel_store_file_bytes" { file: &["database", "log"] };

    /// Warm drivers; the profile is empty for sessions without one.
    POOL_DRIVERS: IntGaugeVec = "firesteel_pool_drivers" { profile: &[], state: &["ready", "starting"] };
    /// What became of warm drivers: started, claimed by a session, missed (a session would have taken one), failed, retired.
    POOL_EVENTS: IntCounterVec = "firesteel_pool_events_total" { event: &["started", "claimed", "missed", "failed", "retired"] };

    /// GPUs and slices of this host, those that are not well included.
    GPUS: IntGauge = "firesteel_gpus";
    /// Those of which somebody holds all or a part.
    GPUS_LEASED: IntGauge = "firesteel_gpus_leased";
    /// Share of the last moments in which something ran on it, 0 to 1, where the driver tells.
    GPU_UTILIZATION: GaugeVec = "firesteel_gpu_utilization_ratio" { gpu: &[] };
    /// Memory in use, by whomever.
    GPU_MEMORY_USED: IntGaugeVec = "firesteel_gpu_memory_used_bytes" { gpu: &[] };
    /// Memory that it has.
    GPU_MEMORY: IntGaugeVec = "firesteel_gpu_memory_bytes" { gpu: &[] };

    /// Always 1; the version of the server.
    BUILD: IntGaugeVec = "firesteel_build_info" { version: &[env!("CARGO_PKG_VERSION")] };
    /// CPU time of the server's process, without drivers.
    PROCESS_CPU: Counter = "process_cpu_seconds_total";
    /// Memory that it has resident.
    PROCESS_RESIDENT: IntGauge = "process_resident_memory_bytes";
    /// Address space that it has.
    PROCESS_VIRTUAL: IntGauge = "process_virtual_memory_bytes";
    /// Threads that it has.
    PROCESS_THREADS: IntGauge = "process_threads";
    /// Descriptors that it has open.
    PROCESS_FDS: IntGauge = "process_open_fds";
    /// Descriptors that it may have open.
    PROCESS_MAX_FDS: IntGauge = "process_max_fds";
    /// When the server began, in seconds since 1970.
    PROCESS_START: Gauge = "process_start_time_seconds";
}
