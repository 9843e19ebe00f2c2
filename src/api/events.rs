//! `/sessions/{id}/events`: what happens in a session, as server-sent events (docs/live.md).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::guard::{OnSession, View};
use crate::session::{Because, Event, EventId, Mark, News, Phase, Piece, Reader, Reset, Run, Session};

/// How often a client hears something, so that proxies keep the connection and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Says to a client that is cut off when to come back, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Resume {
    /// The id of the last event that was read; the header `Last-Event-ID` wins over it.
    #[serde(rename = "lastEventId")]
    pub last_event_id: Option<String>,
}

/// What happens in the session, as it happens. Begins with the event `reset`, which has all there is now, or goes on after the
/// event that the client names. docs/live.md lists the events.
#[utoipa::path(
    operation_id = "followSession",
    tag = "live",
    params(
        ("id" = String, Path, description = "id or name"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that was read"),
        Resume,
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "server-sent events: reset, state, start, statement, progress, output, dropped"),
        (status = 403),
        (status = 404),
        (status = 503, description = "too many clients follow (events.clients), or the server is stopping"),
    )
)]
#[get("/sessions/{id}/events")]
pub async fn follow(
    on: OnSession<View>,
    resume: Query<Resume>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let place = place(&on.app)?;
    let header = request.headers().get("last-event-id");
    let named = header.and_then(|id| id.to_str().ok());
    let named = named.or(resume.last_event_id.as_deref());
    // What is no id is of no server that could be resumed.
    let unknown = EventId { epoch: -1, seq: 0 };
    let after = named
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().unwrap_or(unknown));
    let watch = Watch {
        reader: on.session.feed.follow(after),
        draining: on.app.background.draining().clone(),
        session: on.session,
        has_begun: false,
        is_over: false,
        _place: place,
    };
    Ok(
        followed("text/event-stream").streaming(stream::unfold(watch, |mut watch| async {
            let bytes = watch.next().await?;
            Some((Ok::<_, Infallible>(bytes), watch))
        })),
    )
}

/// The head of an answer that goes on for as long as its client follows.
pub fn followed(content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "no-store"))
        // Some proxies gather what comes, unless they are asked not to.
        .insert_header(("X-Accel-Buffering", "no"));
    response
}

/// A place among those who follow.
///
/// # Errors
/// There is none, or the server is stopping.
pub fn place(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    if app.background.draining().is_cancelled() {
        return Err(ApiError::Unavailable(
            "The server is stopping. Try again later.".to_owned(),
        ));
    }
    app.followers.clone().try_acquire_owned().map_err(|_| {
        ApiError::Unavailable("Too many clients follow events or logs already (events.clients).".to_owned())
    })
}

/// One client's stream.
struct Watch {
    reader: Reader,
    session: Session,
    draining: CancellationToken,
    has_begun: bool,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// The next bytes for the client, once the last ones are on their way; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.has_begun {
            self.has_begun = true;
            return Some(Bytes::from_static(RETRY.as_bytes()));
        }
        tokio::select! {
            news = self.reader.next() => match news {
                News::Reset(id, reset) => Some(told(Some(id), "reset", &reset_view(&reset))),
                News::Events(first, events) => Some(events_text(first, &events)),
                News::Behind => {
                    self.is_over = true;
                    let reason = "The client took too long to read: what follows is no longer kept (events.replay_bytes).";
                    Some(told(None, "dropped", &json!({"reason": reason})))
                }
                News::Ended => None,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => {
                // Who watches is there.
                self.session.heard();
                Some(Bytes::from_static(b":\n\n"))
            }
            () = self.draining.cancelled() => None,
        }
    }
}

fn told(id: Option<EventId>, event: &str, data: &impl Serialize) -> Bytes {
    let mut text = String::new();
    write_event(&mut text, id, event, data);
    text.into()
}

fn write_event(text: &mut String, id: Option<EventId>, event: &str, data: &impl Serialize) {
    let data = serde_json::to_string(data).unwrap_or_default();
    // Writing to a string can't fail.
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {event}\ndata: {data}\n\n");
}

fn events_text(first: EventId, events: &[Event]) -> Bytes {
    let mut text = String::new();
    let mut id = first;
    for event in events {
        let (name, data) = match event {
            Event::State(state) => ("state", json!({"state": state.as_str()})),
            Event::Start(phase) => ("start", phase_view(phase)),
            Event::Statement(mark) => ("statement", mark_view(mark)),
            Event::Progress(mark) => ("progress", json!({"id": mark.id, "progress": mark.progress})),
            Event::Output(piece) => ("output", piece_view(piece)),
        };
        write_event(&mut text, Some(id), name, &data);
        id.seq += 1;
    }
    text.into()
}

fn mark_view(mark: &Mark) -> serde_json::Value {
    json!({"id": mark.id, "state": mark.state.as_str(), "progress": mark.progress})
}

fn phase_view(phase: &Phase) -> serde_json::Value {
    json!({"phase": phase.name, "ms": u64::try_from(phase.took.as_millis()).unwrap_or(u64::MAX)})
}

fn piece_view(piece: &Piece) -> serde_json::Value {
    json!({
        "id": piece.statement,
        "from": piece.from,
        "next": piece.from + piece.bytes.len() as u64,
        "skipped": piece.skipped,
        "text": String::from_utf8_lossy(&piece.bytes),
    })
}

fn reset_view(reset: &Reset) -> serde_json::Value {
    let reason = match reset.because {
        Because::New => "new",
        Because::Restarted => "restarted",
        Because::TooOld => "too_old",
    };
    let statements: Vec<_> = reset.statements.iter().map(mark_view).collect();
    let runs = reset.text.iter().flat_map(|text| {
        let view =
            |run: Run| json!({"id": text.statement, "from": run.from, "next": run.next, "text": run.text});
        text.runs().into_iter().map(view)
    });
    let output: Vec<_> = runs.collect();
    let start: Vec<_> = reset.start.iter().map(phase_view).collect();
    json!({"reason": reason, "state": reset.state.as_str(), "start": start, "statements": statements, "output": output})
}
