//! Bytes <-> frames of RESP, both versions, both directions.
//!
//! Owns: the vocabulary of the wire. Never knows: a command's name, a socket.

/// The version of RESP that one side of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}
