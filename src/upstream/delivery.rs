//! What a shared connection delivers to one session.
//!
//! Owns: [`Delivery`], [`Arrived`]. Never knows: where it waits, its session.

use bytes::BytesMut;

use crate::traffic::{Loss, Ticket};

/// Something for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The next `len` bytes are a piece of the reply to `ticket`.
    Piece { ticket: Ticket, len: usize, kind: u8, done: bool },
    /// The next `len` bytes are the error that the server answered to a command queued for `ticket`.
    Refusal { ticket: Ticket, len: usize },
    /// No reply to `ticket` will come, or no more of it.
    Lost(Ticket, Loss),
}

impl Delivery {
    /// Bytes that arrived with it.
    pub(super) const fn size(&self) -> usize {
        match self {
            Self::Piece { len, .. } | Self::Refusal { len, .. } => *len,
            Self::Lost(..) => 0,
        }
    }
}

/// What has come since the session's task last looked: at least one item, and the bytes of all.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub items: Vec<Delivery>,
    pub bytes: BytesMut,
}
