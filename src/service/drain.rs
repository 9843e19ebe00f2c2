//! The end of the HTTP server: no connection that it has accepted is left without its answer, and none that it has not accepted is
//! refused where the socket was handed in, because those wait in it for the next server.
//!
//! actix-server's own graceful stop is the last of four steps, since it drops connections that no worker has taken up yet and closes
//! those whose first request has not been read yet.

use std::fs;
use std::os::fd::RawFd;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::traffic::Traffic;
use super::workers::Workers;

/// How long the acceptor may take to leave the socket alone, and workers to take up what it gave them.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(2);
/// How long clients that send one request after another have to send the next, whose answer tells them to take another connection.
const LINGER: Duration = Duration::from_millis(50);
/// How long a connection that has sent nothing is waited for.
const SILENT: Duration = Duration::from_secs(1);

/// Ends the HTTP server within `grace`: open requests are answered, then all connections are closed. What is open after that is
/// cut when the server is dropped.
pub async fn drain(
    server: &ServerHandle,
    listeners: &[RawFd],
    workers: &Workers,
    traffic: &Traffic,
    grace: Duration,
) {
    let begun = Instant::now();
    let end = begun + grace;
    // 1. Nothing more is accepted, and workers have all that was.
    server.pause().await;
    let handed_over = timeout(PAUSE, async {
        while listeners.iter().any(|listener| is_watched(*listener)) {
            sleep(LOOK).await;
        }
        // The acceptor may have been on its way with one more when it was paused: asking twice takes longer than that.
        workers.answer().await;
        sleep(LOOK).await;
        workers.answer().await;
    });
    if handed_over.await.is_err() {
        warn!("the HTTP workers did not answer; connections may be lost");
    }
    // 2. A connection without a request has one on its way; one that is used again and again is told to be the last.
    let quiet = (begun + SILENT).min(end);
    let (_, _) = tokio::join!(
        timeout_at(quiet, traffic.spoken()),
        timeout_at(quiet, sleep(LINGER))
    );
    // 3. Idle connections are closed, the others once they are answered. The call's own end is looked for once a second only.
    let _stopping = server.stop(true);
    // 4. Until none is left.
    let left = match timeout_at(end, traffic.ended()).await {
        Ok(()) => 0,
        Err(_) => traffic.open(),
    };
    if left > 0 {
        warn!(
            http.connections = left,
            "the connections that are left are cut (server.shutdown_grace)"
        );
    }
    info!(
        drain.duration_ms = begun.elapsed().as_millis(),
        "requests are answered; no more are accepted"
    );
}

/// Whether an epoll instance of this process waits for connections on the socket: actix says that it has paused before it has.
fn is_watched(listener: RawFd) -> bool {
    let Ok(descriptors) = fs::read_dir("/proc/self/fdinfo") else {
        return false;
    };
    let watched = listener.to_string();
    descriptors.filter_map(Result::ok).any(|entry| {
        let is_epoll = fs::read_link(format!("/proc/self/fd/{}", entry.file_name().display()))
            .is_ok_and(|kind| kind.as_os_str() == "anon_inode:[eventpoll]");
        let targets = || fs::read_to_string(entry.path()).unwrap_or_default();
        is_epoll
            && targets().lines().any(|line| {
                line.strip_prefix("tfd:")
                    .and_then(|rest| rest.split_whitespace().next())
                    == Some(&watched)
            })
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[tokio::test]
    async fn a_watched_socket_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(!is_watched(listener.as_raw_fd()));
        let watched = tokio::net::TcpListener::from_std(listener).unwrap();
        assert!(is_watched(watched.as_raw_fd()));
        let listener = watched.into_std().unwrap();
        assert!(!is_watched(listener.as_raw_fd()));
    }
}
