//! A Unix socket as lean clients use it: they are woken when data can be read, and never for room to write.
//!
//! Owns: [`Quiet`]. Never knows: what is read and written.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Linux wakes the writer of a Unix socket whenever its reader has taken something (net/unix
/// `unix_write_space`). Tokio's own stream registers for that, and would be woken twice for every reply;
/// libuv, hiredis and redis-benchmark register only when they have something left to write.
pub struct Quiet(AsyncFd<UnixStream>);

impl Quiet {
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        #[allow(deprecated, reason = "the descriptor is owned, and closed with the watch on it")]
        let watched = AsyncFd::with_interest(stream.into_std()?, Interest::READABLE)?;
        Ok(Self(watched))
    }
}

impl AsyncRead for Quiet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let wanted = room.len();
            let Ok(read) = guard.try_io(|socket| socket.get_ref().read(room)) else { continue };
            let read = read?;
            if (1..wanted).contains(&read) {
                // A short read: the socket is empty, and reports when it no longer is.
                guard.clear_ready();
            }
            buf.advance(read);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0.get_ref().write(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            wrote => Poll::Ready(wrote),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
