//! Keys of what requests may ask for, and how much of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::ConfMode;
use super::{Key, Table, tables};
use crate::config::values::{KeyType, ListMap, Size, Span, TextMap};

tables! {
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
}
