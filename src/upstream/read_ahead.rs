//! Reads a socket in large pieces for a reader of small ones, and notes whether any byte was written to it.
//!
//! Owns: [`ReadAhead`]. Never knows: TLS.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::base::limits;
use crate::base::limits::READ_BYTES;

/// A socket that is read [`READ_BYTES`] at a time. rustls reads 4 KiB at a time, which under load is a
/// system call for every quarter of a TLS record; a connection whose reads are small never gets a
/// buffer.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    inner: S,
    /// Read and not yet asked for. Without capacity: reads go straight to the reader.
    ahead: BytesMut,
    idle_reads: u8,
    /// The socket has taken bytes since [`Self::forget_written`].
    has_written: bool,
}

impl<S> ReadAhead<S> {
    #[must_use]
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, ahead: BytesMut::new(), idle_reads: 0, has_written: false }
    }

    #[must_use]
    pub(crate) const fn socket(&self) -> &S {
        &self.inner
    }

    /// What is written from here on is noted.
    pub(super) const fn forget_written(&mut self) {
        self.has_written = false;
    }

    /// Whether the socket has taken bytes since then.
    #[must_use]
    pub(super) const fn has_written(&self) -> bool {
        self.has_written
    }

    fn note_written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.has_written |= matches!(written, Poll::Ready(Ok(1..)));
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if this.ahead.capacity() == 0 {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                if buf.remaining() == 0 && buf.filled().len() > before {
                    // There is more than was asked for: the next read fetches all of it.
                    this.ahead = BytesMut::with_capacity(READ_BYTES);
                    this.idle_reads = 0;
                }
                return Poll::Ready(Ok(()));
            }
            // Emptied, the buffer starts over at its front.
            this.ahead.clear();
            this.ahead.reserve(READ_BYTES);
            ready!(pin!(this.inner.read_buf(&mut this.ahead)).poll(cx))?;
            let needed = this.ahead.len() > buf.remaining();
            this.idle_reads = if needed { 0 } else { this.idle_reads + 1 };
        }
        let n = this.ahead.len().min(buf.remaining());
        if let Some(front) = this.ahead.get(..n) {
            buf.put_slice(front);
        }
        this.ahead.advance(n);
        if this.ahead.is_empty() && this.idle_reads >= limits::READ_AHEAD_IDLE_READS_MAX {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// Reads `sizes` bytes in turn and returns how many bytes were left ahead after each.
    async fn read(io: &mut ReadAhead<tokio::io::DuplexStream>, sizes: &[usize]) -> Vec<u8> {
        let mut all = Vec::new();
        for &size in sizes {
            let mut piece = vec![0; size];
            let n = io.read(&mut piece).await.unwrap();
            all.extend_from_slice(&piece[..n]);
        }
        all
    }

    #[tokio::test]
    async fn small_reads_need_no_buffer_and_large_ones_lose_nothing() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let mut io = ReadAhead::new(near);
        far.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut io, &[4096]).await, b"hello");
        assert_eq!(io.ahead.capacity(), 0, "nothing is held for small reads");

        let sent: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        far.write_all(&sent).await.unwrap();
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.extend(read(&mut io, &[4096]).await);
        }
        assert_eq!(got, sent);
        assert!(io.ahead.capacity() > 0, "the buffer stays while it is needed");

        for _ in 0..=limits::READ_AHEAD_IDLE_READS_MAX {
            far.write_all(b"x").await.unwrap();
            assert_eq!(read(&mut io, &[4096]).await, b"x");
        }
        assert_eq!(io.ahead.capacity(), 0, "and goes when it is not");

        drop(far);
        assert_eq!(read(&mut io, &[4096]).await, b"", "the end is the end");
    }

    #[tokio::test]
    async fn socket_read_feeds_many_replies() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let mut io = ReadAhead::new(near);
        far.write_all(&[7; 4096 + READ_BYTES]).await.unwrap();
        read(&mut io, &[4096, 4096]).await;
        assert_eq!(io.ahead.len(), READ_BYTES - 4096);
    }
}
