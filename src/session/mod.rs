//! Sessions: states, order and time-outs.
//!
//! Owns: the state machine, one actor for each session with its queue of statements, the snapshots that readers see, the registry,
//! and the queue in front of drivers. Called by `api`; calls `driver`, `store`, `config` and `background`. It knows nothing of
//! HTTP or of SQL tables.
//!
//! Read in this order: `state` (what may follow what), `actor` (what happens when), `command` and `handle` (what others
//! may ask), `feed` (what those who watch are told), `registry`.

mod actor;
mod command;
mod download;
mod feed;
mod handle;
mod kind;
mod recovery;
mod registry;
mod request;
mod retention;
mod shared;
mod shares;
mod snapshot;
mod state;
mod statement;
mod stored;
mod text;
mod times;

pub use crate::driver::{
    Addition, ConfDirs, DriverMark, DriverSpec, LogFollower, LogNow, NoUser, Resources, ResultPiece,
};
pub use crate::sharing::SharingError;
pub use command::{AddError, SubmitError};
pub use download::{Download, FetchError};
pub use feed::{Because, Event, EventId, Feed, Mark, News, Phase, Reader, Reset};
pub use handle::Session;
pub use kind::{BadKind, Kind};
pub use registry::{CreateError, Sessions};
pub use request::{Echo, NewSession};
pub use snapshot::Snapshot;
pub use state::{SessionEvent, SessionState, StatementState};
pub use statement::Statement;
pub use text::{Piece, Run, Text};
