//! The kinds of stream that carry a client's bytes.
//!
//! Owns: [`ClientStream`]. Never knows: how it was accepted, the protocol of its bytes.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::encrypted::Encrypted;

/// A client's bytes, both ways.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Writes what the socket takes at once and returns how much that is, which may be nothing for any reason: then
    /// [`AsyncWrite::poll_write`] knows why. The task is not woken, so this is the cheaper way for a reply that fits.
    fn write_now(&self, _bytes: &[u8]) -> usize {
        0
    }
}

impl ClientStream for TcpStream {
    #[inline]
    fn write_now(&self, bytes: &[u8]) -> usize {
        self.try_write(bytes).unwrap_or(0)
    }
}

impl ClientStream for UnixStream {
    #[inline]
    fn write_now(&self, bytes: &[u8]) -> usize {
        self.try_write(bytes).unwrap_or(0)
    }
}

/// TLS may have bytes of before to write first.
impl ClientStream for Encrypted {}
