//! Checks of what is run and of its sizes. Called by `mod.rs`.

use super::Fail;
use crate::config::error::ConfigError;
use crate::config::keys::{Limits, Link, Log, Output, ResultStreams, Session, Sql, Statement, Upload};
use crate::config::values::Size;

const KEPT_LEAST: usize = 500;

const FRAME_OVERHEAD: u64 = 2 << 20;

pub(super) fn check_session(
    session: &Session,
    statement: &Statement,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Session {
        idle_timeout: _,
        start_timeout,
        recover_timeout,
        ttl: _,
        ended_shown,
        add_timeout,
        watch_interval,
    } = session;
    fail.positive(&[
        ("session.start_timeout", *start_timeout),
        ("session.recover_timeout", *recover_timeout),
        ("session.ended_shown", *ended_shown),
        ("session.add_timeout", *add_timeout),
        ("session.watch_interval", *watch_interval),
    ])?;
    let Statement {
        answer_within: _,
        interrupt_again,
        cancel_grace,
        kept,
    } = statement;
    fail.positive(&[
        ("statement.interrupt_again", *interrupt_again),
        ("statement.cancel_grace", *cancel_grace),
    ])?;
    if *kept < KEPT_LEAST {
        return fail.because(
            "statement.kept",
            format!("must be at least {KEPT_LEAST}, which clients page back through"),
        );
    }
    Ok(())
}

pub(super) fn check_upload(upload: &Upload, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Upload {
        max_bytes: _,
        owner_bytes,
        total_bytes,
        at_once,
        kept: _,
    } = upload;
    if owner_bytes > total_bytes {
        return fail.because(
            "upload.owner_bytes",
            format!("is over upload.total_bytes = {total_bytes}"),
        );
    }
    fail.at_least_one(&[("upload.at_once", *at_once)])
}

pub(super) fn check_sizes(
    output: &Output,
    log: &Log,
    link: &Link,
    limits: &Limits,
    fail: &Fail<'_>,
) -> Result<(), ConfigError> {
    let Output {
        max_bytes,
        inline_bytes: _,
        session_bytes,
        total_bytes,
        live_interval: _,
        live_bytes,
        rich: _,
    } = output;
    let Link {
        max_frame,
        keep_bytes: _,
        outbox_bytes: _,
        hello_timeout,
        listen: _,
        advertise: _,
        calls: _,
    } = link;
    check_link(link, fail)?;
    let Log {
        max_bytes: log_bytes,
        level,
        format: _,
        access: _,
    } = log;
    fail.at_least("output.max_bytes", *max_bytes, Size::kib(4))?;
    fail.at_least("output.live_bytes", *live_bytes, Size::kib(4))?;
    if session_bytes > total_bytes {
        return fail.because(
            "output.session_bytes",
            format!("is over output.total_bytes = {total_bytes}"),
        );
    }
    fail.at_least("log.max_bytes", *log_bytes, Size::kib(64))?;
    fail.positive(&[("link.hello_timeout", *hello_timeout)])?;
    if level.trim().is_empty() {
        return fail.because("log.level", "must not be empty");
    }
    fail.plain(&[("log.level", level)])?;
    if max_frame.bytes() > u64::from(u32::MAX) {
        return fail.because(
            "link.max_frame",
            "must be below 4GiB: a frame's length is a 32-bit number",
        );
    }
    let needed = max_bytes.bytes() * 2 + FRAME_OVERHEAD;
    if max_frame.bytes() < needed {
        let least = Size::mib(needed.div_ceil(1 << 20));
        let reason = format!(
            "a result of {max_bytes} does not fit link.max_frame = {max_frame}: as JSON it may be twice as long, so \
             link.max_frame must be at least {least}"
        );
        return fail.because("output.max_bytes", reason);
    }
    let request_body = limits.request_body;
    if max_frame.bytes() < request_body.bytes() + FRAME_OVERHEAD {
        let reason = format!("a statement of {request_body} does not fit link.max_frame = {max_frame}");
        return fail.because("limits.request_body", reason);
    }
    Ok(())
}

/// Where drivers in a cluster call.
fn check_link(link: &Link, fail: &Fail<'_>) -> Result<(), ConfigError> {
    fail.at_least_one(&[("link.calls", link.calls)])?;
    if link.listen.is_empty() {
        return match link.advertise.is_empty() {
            true => Ok(()),
            false => fail.because("link.advertise", "is of no use without link.listen"),
        };
    }
    let Some(address) = link.address() else {
        let reason = format!(
            "{:?} is no address with a port, such as \"0.0.0.0:8999\"",
            link.listen
        );
        return fail.because("link.listen", reason);
    };
    if link.advertise.is_empty() && (address.ip().is_unspecified() || address.port() == 0) {
        return fail.because(
            "link.advertise",
            format!("is empty, and nobody can call link.listen = {:?}: name what drivers in the cluster can reach", link.listen),
        );
    }
    let is_place = |place: &&String| {
        let parts = place.rsplit_once(':');
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        parts.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(odd) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    match link.advertise.iter().find(|place| !is_place(place)) {
        Some(place) => fail.because(
            "link.advertise",
            format!("{place:?} is no HOST:PORT, such as \"gateway.example.org:8999\""),
        ),
        None => Ok(()),
    }
}

pub(super) fn check_result(result: &ResultStreams, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let ResultStreams {
        kept: _,
        at_once,
        total_at_once,
        max_rows: _,
        max_bytes: _,
        stall_timeout,
    } = result;
    fail.at_least_one(&[
        ("result.at_once", *at_once),
        ("result.total_at_once", *total_at_once),
    ])?;
    fail.positive(&[("result.stall_timeout", *stall_timeout)])
}

pub(super) fn check_limits(sql: &Sql, limits: &Limits, fail: &Fail<'_>) -> Result<(), ConfigError> {
    let Sql {
        max_rows,
        max_rows_ceiling,
    } = sql;
    let Limits {
        request_body,
        sessions,
        sessions_queued: _,
        batches,
        batches_queued: _,
        starting: _,
        starting_session,
        starting_batch,
        statements_waiting,
        name_bytes,
        code_bytes,
        query_bytes,
        conf_keys,
        conf_value_bytes,
        list_entries,
        args_bytes,
        page,
        shares,
    } = limits;
    fail.at_least_one(&[
        ("sql.max_rows", *max_rows),
        ("limits.sessions", *sessions),
        ("limits.batches", *batches),
        ("limits.statements_waiting", *statements_waiting),
        ("limits.name_bytes", *name_bytes),
        ("limits.conf_keys", *conf_keys),
        ("limits.list_entries", *list_entries),
        ("limits.page", *page),
        ("limits.shares", *shares),
    ])?;
    fail.positive(&[
        ("limits.starting_session", *starting_session),
        ("limits.starting_batch", *starting_batch),
    ])?;
    if max_rows > max_rows_ceiling {
        return fail.because(
            "sql.max_rows",
            format!("is over sql.max_rows_ceiling = {max_rows_ceiling}"),
        );
    }
    fail.at_least("limits.code_bytes", *code_bytes, Size::kib(1))?;
    fail.at_least("limits.query_bytes", *query_bytes, Size::kib(1))?;
    fail.at_least("limits.conf_value_bytes", *conf_value_bytes, Size::kib(1))?;
    fail.at_least("limits.args_bytes", *args_bytes, Size::kib(1))?;
    if *args_bytes > Size::mib(1) {
        let reason = "must be at most 1MiB: Linux gives a program's arguments and environment 2 MiB together";
        return fail.because("limits.args_bytes", reason);
    }
    fail.at_least("limits.request_body", *request_body, Size::kib(1))
}
