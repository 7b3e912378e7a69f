//! Replies of a shared connection that arrived together, before they are output of a conversation.
//!
//! Owns: [`Arrivals`]: as long as all of them go to the client as they came, their bytes are not copied but
//! become the output. Never knows: where they wait, sockets.

use bytes::BytesMut;

use super::host::Host;
use super::state::Conversation;
use crate::session::Completed;
use crate::traffic::Ticket;

/// How far the bytes that arrived are dealt with.
#[derive(Debug)]
pub struct Arrivals {
    /// Bytes of the items so far.
    end: usize,
    /// The bytes of the items so far are the output, although they are not in its place yet.
    whole: bool,
}

impl Arrivals {
    /// Nothing is dealt with yet.
    #[must_use]
    #[inline]
    pub fn begin(of: &Conversation) -> Self {
        Self { end: 0, whole: of.out.is_empty() }
    }

    /// The next `len` bytes are a piece of the reply to `ticket`; `kind` is the reply's first byte, `done`: it ends
    /// with this piece.
    #[inline]
    pub fn take_piece<H: Host>(
        &mut self,
        of: &mut Conversation,
        bytes: &[u8],
        (ticket, len, kind, done): (Ticket, usize, u8, bool),
        host: &mut H,
    ) -> Option<Completed> {
        if self.whole && of.session.passes_unread(ticket) {
            debug_assert!(self.end + len <= bytes.len(), "a piece of more than has arrived");
            self.end += len;
            let completed = of.session.handle_passed(len, kind, done, &mut of.out);
            if !of.out.is_empty() {
                // What respgate itself has answered follows.
                let behind = std::mem::take(&mut of.out);
                self.copy(of, bytes, host);
                of.out.extend_from_slice(&behind);
            }
            return completed;
        }
        let piece = self.take_bytes(of, bytes, len, host);
        of.session.handle_reply(ticket, piece, kind, done, &mut of.out)
    }

    /// The next `len` bytes, which are no reply or wanted for themselves. Whatever goes to the client with them
    /// goes behind what came before.
    pub fn take_bytes<'a, H: Host>(
        &mut self,
        of: &mut Conversation,
        bytes: &'a [u8],
        len: usize,
        host: &mut H,
    ) -> &'a [u8] {
        if self.whole {
            self.copy(of, bytes, host);
        }
        let begin = self.end;
        self.end += len;
        debug_assert!(self.end <= bytes.len(), "a piece of more than has arrived");
        bytes.get(begin..self.end).unwrap_or_default()
    }

    /// What is dealt with so far is copied to the output, as the rest will be.
    fn copy<H: Host>(&mut self, of: &mut Conversation, bytes: &[u8], host: &mut H) {
        debug_assert!(self.whole && of.out.is_empty(), "something else goes first");
        self.whole = false;
        host.lend_buffer(&mut of.out);
        debug_assert!(of.out.is_empty(), "another client's replies");
        of.out.extend_from_slice(bytes.get(..self.end).unwrap_or_default());
        debug_assert_eq!(of.out.len(), self.end, "what has arrived is lost");
    }

    /// All is dealt with. What goes to the client as it came becomes the output; `bytes` is of no more use.
    #[inline]
    pub fn end(self, of: &mut Conversation, bytes: &mut BytesMut) {
        debug_assert_eq!(self.end, bytes.len(), "something was left out");
        if self.whole {
            debug_assert!(of.out.is_empty(), "what respgate itself has answered is lost");
            std::mem::swap(&mut of.out, bytes);
        }
    }
}
