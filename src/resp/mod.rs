//! Bytes <-> frames of RESP, both versions, both directions.
//!
//! Owns: the vocabulary of the wire. Never knows: a command's name, a socket.

mod body;
mod depth;
pub mod encode;
mod error;
mod inline;
pub mod number;
mod reply;
mod request;
mod request_limits;
mod request_line;
mod request_scanner;
mod value;

pub use error::{ProtocolError, ReplyError, Violation};
pub use reply::{Advance, ReplyScanner};
pub use request::{Request, RequestBuf};
pub use request_limits::RequestLimits;
pub use request_scanner::{Body, RequestScanner, Scan};
pub use value::{Value, ValueError};

/// The version of RESP that one side of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    /// The number that `HELLO` uses for it.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}
