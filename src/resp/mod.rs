//! Bytes <-> frames of RESP, both versions, both directions.
//!
//! Owns: the vocabulary of the wire. Never knows: a command's name, a socket.

mod body;
mod cross_protocol;
mod depth;
pub(crate) mod encode;
mod error;
mod inline;
pub(crate) mod number;
mod ready_arguments;
mod reply;
mod request;
mod request_limits;
mod request_line;
mod request_scanner;
mod value;

pub(crate) use error::ProtocolError;
pub use error::{ReplyError, Violation};
pub use reply::ReplyScanner;
pub use request::{Request, RequestBuf};
pub use request_limits::RequestLimits;
pub(crate) use request_scanner::Body;
pub use request_scanner::{RequestScanner, Scan};
pub use value::Value;

/// The version of RESP that one side of a connection uses.
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
