//! The bytes of a new connection into decoded replies.
//!
//! Owns: [`ReplyBuffer`]. Never knows: sockets, what was asked.

use bytes::BytesMut;

use crate::base::limits::DECODED_REPLY_BYTES_MAX;
use crate::resp::{Protocol, ReplyScanner, Value};

/// What arrived and was not taken yet.
#[derive(Default)]
pub(super) struct ReplyBuffer {
    bytes: BytesMut,
    scanner: ReplyScanner,
    /// Bytes at the front that the scanner has seen.
    seen: usize,
}

/// What arrived is no reply, or one that is not worth decoding.
#[derive(Debug)]
pub(super) struct InvalidReply;

impl ReplyBuffer {
    /// Where more is read into.
    pub(super) const fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(super) fn first(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the first reply, if all of it is there.
    pub(super) fn take(&mut self, protocol: Protocol) -> Result<Option<Value>, InvalidReply> {
        let Some(reply) = self.take_bytes()? else { return Ok(None) };
        Value::decode(&reply, protocol).map(Some).map_err(|_| InvalidReply)
    }

    /// Takes the first reply undecoded, if all of it is there.
    pub(super) fn take_bytes(&mut self) -> Result<Option<BytesMut>, InvalidReply> {
        debug_assert!(self.seen <= self.bytes.len(), "it has seen more than there is");
        let fresh = self.bytes.get(self.seen..).unwrap_or_default();
        let advance = self.scanner.advance(fresh).map_err(|_| InvalidReply)?;
        self.seen += advance.used;
        debug_assert!(advance.done || self.seen == self.bytes.len(), "some of it is not looked at");
        if self.seen > DECODED_REPLY_BYTES_MAX {
            return Err(InvalidReply);
        }
        if !advance.done {
            return Ok(None);
        }
        debug_assert!(self.seen > 0, "a reply of no bytes");
        let reply = self.bytes.split_to(self.seen);
        self.seen = 0;
        debug_assert!(!self.scanner.in_progress(), "the next reply begins within this one");
        Ok(Some(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies found when the bytes arrive in pieces of this size.
    fn replies(bytes: &[u8], piece: usize) -> Result<Vec<Value>, InvalidReply> {
        let mut replies = ReplyBuffer::default();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            replies.bytes_mut().extend_from_slice(piece);
            while let Some(reply) = replies.take(Protocol::Resp3)? {
                all.push(reply);
            }
        }
        assert!(replies.is_empty());
        Ok(all)
    }

    #[test]
    fn replies_in_pieces_of_every_size() {
        let bytes = b"%1\r\n$2\r\nid\r\n:7\r\n-ERR no\r\n+OK\r\n*0\r\n";
        let whole = replies(bytes, bytes.len()).unwrap();
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[0].get("id").and_then(Value::as_i64), Some(7));
        for size in 1..bytes.len() {
            assert_eq!(replies(bytes, size).unwrap(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn nonsense_and_endless_replies_are_refused() {
        assert!(replies(b"HTTP/1.1 400\r\n", 100).is_err());
        let endless = [&b"$99999999\r\n"[..], &vec![b'x'; DECODED_REPLY_BYTES_MAX]].concat();
        assert!(replies(&endless, 65_536).is_err());
    }
}
