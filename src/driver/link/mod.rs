//! The link between server and agent, as `docs/link.md` has it: frames, the hello that proves a secret both ways, and the socket
//! on which agents call, also to send a whole result on a connection of its own. What the frames mean for a driver is `supervise`'s business.
//!
//! Called by `driver`; calls `process` and `background`.

mod connection;
mod frame;
mod hello;
mod listener;
mod results;
mod secret;

pub use connection::Connection;
pub use frame::{Frame, FrameCodec};
pub use listener::{Call, Listener, Slot};
pub use results::{ResultPiece, ResultStream, Tickets};
pub use secret::{LinkKey, Secret};
