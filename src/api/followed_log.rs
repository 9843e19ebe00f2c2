//! `/sessions/{id}/log?follow=true`, and of batches: a log's lines as they come, read from its files as the client takes them.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::events::{followed, place};
use crate::background::Background;
use crate::session::{LogFollower, LogNow};

/// How often is looked for new lines.
const LOOK: Duration = Duration::from_millis(250);

/// Whether to follow.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Follow {
    /// `true`: lines as they come, as plain text, until the driver has ended: from the line `from` on, or from now on.
    pub follow: Option<bool>,
}

/// The log from a line on, or from its end, to the end of what writes it. `look` shows the log as it is now.
///
/// # Errors
/// Too many follow already.
pub fn follow(
    app: &App,
    from: Option<i64>,
    look: impl Fn() -> LogNow + 'static,
) -> Result<HttpResponse, ApiError> {
    let state = Following {
        _place: place(app)?,
        from: from.and_then(|from| usize::try_from(from).ok()),
        max_bytes: app.config.log.max_bytes.bytes(),
        background: app.background.clone(),
        draining: app.background.draining().clone(),
        look: Box::new(look),
        follower: None,
        is_over: false,
    };
    Ok(
        followed("text/plain; charset=utf-8").streaming(stream::unfold(state, |mut state| async {
            let bytes = state.next().await?;
            Some((Ok::<_, Infallible>(bytes), state))
        })),
    )
}

struct Following {
    from: Option<usize>,
    max_bytes: u64,
    background: Background,
    draining: CancellationToken,
    look: Box<dyn Fn() -> LogNow>,
    follower: Option<LogFollower>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// The next lines; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            let now = (self.look)();
            let is_last = now.has_ended;
            let (from, max_bytes, follower) = (self.from, self.max_bytes, self.follower.take());
            let read = move || {
                let mut follower = follower.unwrap_or_else(|| LogFollower::new(&now, from, max_bytes));
                let lines = follower.read(&now);
                (follower, lines)
            };
            let (mut follower, mut lines) = self.background.blocking(read).await.ok()?;
            if lines.is_empty() && is_last {
                self.is_over = true;
                lines = follower.rest();
            }
            self.follower = Some(follower);
            if !lines.is_empty() {
                return Some(lines.into());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.draining.cancelled() => return None,
            }
        }
        None
    }
}
