//! What is told of each request afterwards: its line of the audit log, and that of the access log. Guards note who calls and what the request
//! is about as they find it out; a client that leaves before the answer takes no line along.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage as _, HttpRequest};
use tracing::info;

use super::App;
use super::error::ApiError;
use super::traced::context_of;
use crate::audit::{Audit, Place, Record, Status};
use crate::config::AccessMode;
use crate::store::Subject;
use crate::traces::Context;

/// The header of an answer that names its request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most bytes of a text that the client chose, but for code.
const TEXT_BYTES: usize = 256;
/// Routes that are open to everybody and tell nothing of anybody.
const OPEN: [&str; 5] = [
    "/ping",
    "/healthcheck",
    "/readiness",
    "/metrics/ping",
    "/metrics/healthcheck",
];

/// The one GET that changes something: it makes a login.
const SIGN_ON: &str = "/login/oidc/callback";

/// Requests since the start.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What is noted of a request while it is answered; nothing where nobody asks for it.
#[derive(Clone, Debug, Default)]
pub struct Notes(Option<Rc<RefCell<Noted>>>);

#[derive(Debug, Default)]
struct Noted {
    user: Option<String>,
    acting_as: Option<String>,
    by: Option<AccessMode>,
    subject: Option<Subject>,
    is_refused: bool,
    code: Option<String>,
}

impl Notes {
    /// Those of this request.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    fn with(&self, note: impl FnOnce(&mut Noted)) {
        if let Some(noted) = &self.0 {
            note(&mut noted.borrow_mut());
        }
    }

    /// Who calls.
    pub fn caller(&self, user: Option<&str>, by: Option<AccessMode>) {
        self.with(|noted| {
            noted.user = user.map(str::to_owned);
            noted.by = by;
        });
    }

    /// As whom they act.
    pub fn acting_as(&self, user: Option<&str>) {
        self.with(|noted| noted.acting_as = user.map(str::to_owned));
    }

    /// What the request is about.
    pub fn subject(&self, subject: Subject) {
        self.with(|noted| noted.subject = Some(subject));
    }

    /// The caller may not do that, and is told that there is no such thing.
    pub fn refused(&self) {
        self.with(|noted| noted.is_refused = true);
    }

    /// The code that is to run, where the audit log has it.
    pub fn code(&self, audit: &Audit, code: &str) {
        if let Some(most) = audit.code_bytes() {
            self.with(|noted| noted.code = Some(head(code, most).to_owned()));
        }
    }
}

/// A request whose line has not been written yet. Dropping it writes that its client has left.
pub struct Trail {
    audit: Audit,
    place: Option<Place>,
    has_access_log: bool,
    notes: Notes,
    id: String,
    came: SystemTime,
    begun: Instant,
    from: Option<IpAddr>,
    forwarded_for: Option<String>,
    method: Method,
    is_told: bool,
}

impl Trail {
    /// Begins with a request; none where nobody asks for its line.
    ///
    /// # Errors
    /// The audit log has no room for it, and `audit.strict` is on: nothing may be done.
    pub fn begin(app: &App, request: &ServiceRequest) -> Result<Option<Self>, ApiError> {
        let has_access_log = app.config.log.access;
        if !app.audit.is_on() && !has_access_log {
            return Ok(None);
        }
        let method = request.method().clone();
        let base_path = app.config.server.base_path.as_str();
        let path = request.path().strip_prefix(base_path);
        let is_open = path.is_some_and(|path| OPEN.contains(&path));
        let is_change = !is_read(&method) || path == Some(SIGN_ON);
        let needs_place = !is_open && (app.audit.has_reads() || is_change);
        let place = match needs_place {
            true => app
                .audit
                .place()
                .map_err(|reason| ApiError::Unavailable(reason.to_string()))?,
            false => None,
        };
        let forwarded = request.headers().get("x-forwarded-for");
        let forwarded = forwarded.filter(|_| app.config.server.forwarded);
        let notes = Notes(Some(Rc::default()));
        request.extensions_mut().insert(notes.clone());
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let epoch = app.sessions.store().epoch();
        Ok(Some(Self {
            audit: app.audit.clone(),
            place,
            has_access_log,
            notes,
            id: format!("{epoch}-{number}"),
            came: SystemTime::now(),
            begun: Instant::now(),
            from: request.peer_addr().map(|peer| peer.ip()),
            forwarded_for: forwarded
                .and_then(|value| value.to_str().ok())
                .map(|text| head(text, TEXT_BYTES).to_owned()),
            method,
            is_told: is_open,
        }))
    }

    /// Writes the lines of an answer, which gets the request's number.
    pub fn end<B>(mut self, response: &mut ServiceResponse<B>) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let request = response.request();
        let path = request.match_info();
        let named = path.get("id").map(|named| head(named, TEXT_BYTES).to_owned());
        let made = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let about = About {
            route: request.match_pattern(),
            made: made
                .filter(|_| response.status() == StatusCode::CREATED)
                .map(str::to_owned),
            statement: path.get("statement").and_then(|number| number.parse().ok()),
            named,
            trace: context_of(request),
        };
        let status = Status::Answered(response.status().as_u16());
        self.tell(status, &about);
    }

    fn tell(&mut self, status: Status, about: &About) {
        let took = self.begun.elapsed();
        let noted = self.notes.0.take().unwrap_or_default();
        let noted = noted.borrow();
        let (subject, statement) = about.whole(noted.subject);
        let from = self.from.map(|from| from.to_string());
        let allowed = !noted.is_refused && !matches!(status, Status::Answered(401 | 403 | 421));
        let route = about.route.as_deref();
        let id_of = |what: &str| subject.filter(|subject| subject.what() == what).map(Subject::id);
        let (session, batch) = (id_of("session"), id_of("batch"));
        if self.has_access_log {
            let line = Line {
                id: &self.id,
                user: noted.user.as_deref(),
                from: from.as_deref(),
                session,
                batch,
                statement,
                trace: about.trace,
            };
            line.write(&self.method, route, status, took);
        }
        // A read that was refused is there, whether others are or not.
        let is_wanted = self.place.is_some() || (!self.is_told && !allowed);
        self.is_told = true;
        if !is_wanted {
            return;
        }
        let record = Record {
            time: self.came,
            request: &self.id,
            user: noted.user.as_deref(),
            acting_as: noted.acting_as.as_deref(),
            by: noted.by.map(AccessMode::as_str),
            from: from.as_deref(),
            forwarded_for: self.forwarded_for.as_deref(),
            method: self.method.as_str(),
            route,
            session,
            batch,
            statement,
            named: about.named.as_deref().filter(|_| subject.is_none()),
            allowed,
            status,
            ms: took,
            code: noted.code.as_deref(),
        };
        match self.place.take() {
            Some(place) => place.note(&record),
            None => self.audit.note(&record),
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Status::Left, &About::default());
        }
    }
}

/// What an answer tells of its request.
#[derive(Default)]
struct About {
    route: Option<String>,
    /// The path of what was made.
    made: Option<String>,
    statement: Option<i64>,
    /// What the path names, as the client wrote it.
    named: Option<String>,
    trace: Option<Context>,
}

impl About {
    /// The session or batch, and the statement, with what was made.
    fn whole(&self, subject: Option<Subject>) -> (Option<Subject>, Option<i64>) {
        let mut made = self.made.iter().flat_map(|path| path.rsplit('/'));
        let last = made.next().and_then(|number| number.parse().ok());
        match (subject, made.next(), last) {
            (None, Some("sessions"), Some(id)) => (Some(Subject::Session(id)), self.statement),
            (None, Some("batches"), Some(id)) => (Some(Subject::Batch(id)), self.statement),
            (subject, Some("statements"), Some(id)) => (subject, Some(id)),
            _ => (subject, self.statement),
        }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The line of the server's own log: no path, no query, nothing that the client chose but a name that it has proved.
struct Line<'a> {
    id: &'a str,
    user: Option<&'a str>,
    from: Option<&'a str>,
    session: Option<i64>,
    batch: Option<i64>,
    statement: Option<i64>,
    trace: Option<Context>,
}

impl Line<'_> {
    fn write(&self, method: &Method, route: Option<&str>, status: Status, took: Duration) {
        let status = match status {
            Status::Answered(status) => status,
            // As other servers write a client that has left.
            Status::Left => 499,
        };
        info!(
            target: "firesteel::access",
            request = self.id,
            user = self.user.unwrap_or("-"),
            from = self.from.unwrap_or("-"),
            status,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            session.id = self.session,
            batch.id = self.batch,
            statement.id = self.statement,
            trace = self.trace.map(|trace| trace.trace_id()),
            "{method} {}",
            route.unwrap_or("-")
        );
    }
}

/// The beginning of a text, so many bytes at most.
fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_told() {
        let about = |made: &str, statement| About {
            made: Some(made.to_owned()),
            statement,
            ..About::default()
        };
        let session = Some(Subject::Session(3));
        assert_eq!(about("/base/sessions/3", None).whole(None), (session, None));
        assert_eq!(
            about("/batches/4", None).whole(None),
            (Some(Subject::Batch(4)), None)
        );
        assert_eq!(
            about("/sessions/3/statements/7", None).whole(session),
            (session, Some(7))
        );
        assert_eq!(about("/uploads/0-1", None).whole(None), (None, None));
        assert_eq!(About::default().whole(session), (session, None));
        let known = About {
            statement: Some(2),
            ..About::default()
        };
        assert_eq!(known.whole(session), (session, Some(2)));
    }

    #[test]
    fn a_cut_is_between_letters() {
        assert_eq!(head("aä", 2), "a");
        assert_eq!(head("aä", 9), "aä");
    }
}
