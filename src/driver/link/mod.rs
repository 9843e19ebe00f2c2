//! The link between server and agent, as `docs/link.md` has it: frames, the hello that proves a secret both ways, and the socket
//! and the port on which agents call, also to send a whole result on a connection of its own. What the frames mean for a driver is `supervise`'s business.
//!
//! Called by `driver`; calls `process` and `background`.

mod certificate;
mod connection;
mod frame;
mod greeter;
mod hello;
mod listener;
mod results;
mod secret;
mod socket;
mod stream;
mod tls;

pub use connection::Connection;
pub use frame::{Frame, FrameCodec};
pub use listener::{Call, Listener, Peer, Slot};
pub use results::{ResultPiece, ResultStream, Tickets};
pub use secret::{LinkKey, Secret};
