//! The kinds of socket to a server, as one.
//!
//! Owns: [`Stream`]. Never knows: how it was opened.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::read_ahead::ReadAhead;
use crate::base::limits;

/// Bytes to and from a server.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<ReadAhead<TcpStream>>>),
}

impl Stream {
    pub(super) const fn plain(socket: TcpStream) -> Self {
        Self(Kind::Plain(socket))
    }

    pub(super) const fn unix(socket: UnixStream) -> Self {
        Self(Kind::Unix(socket))
    }

    pub(super) fn tls(stream: TlsStream<ReadAhead<TcpStream>>) -> Self {
        Self(Kind::Tls(Box::new(stream)))
    }

    /// From now on dropping it discards what the kernel has not delivered, and resets the connection:
    /// a request that was given up is not executed behind later ones when the way is free again.
    pub fn abort(&self) {
        // A socket that refuses is closed already.
        let _ = self.tcp().map(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// A client that waited for a reply has closed, and may repeat its request on another connection. From now on
    /// the kernel closes this one where it would retransmit bytes of that age: behind the second try, the first
    /// one would undo what came later. Bytes that the server's kernel has acknowledged are not affected.
    pub fn drop_unacknowledged(&self) {
        // A socket that refuses is closed already.
        let _ = self
            .tcp()
            .map(|socket| socket.set_tcp_user_timeout(Some(limits::ABANDONED_REQUEST_AGE)));
    }

    /// The TCP socket below; what was written to a Unix socket is with the server already.
    fn tcp(&self) -> Option<SockRef<'_>> {
        match &self.0 {
            Kind::Plain(socket) => Some(SockRef::from(socket)),
            Kind::Unix(_) => None,
            Kind::Tls(stream) => Some(SockRef::from(stream.get_ref().0.socket())),
        }
    }

    /// Whether the server is at the other end of TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self.0, Kind::Tls(_))
    }
}

impl Drop for Stream {
    /// After a panic, what was written may not have been delivered, and its session learns that it is lost:
    /// delivered later, it would be executed behind what is asked next.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Kind::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Kind::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Kind::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Plain(socket) => socket.is_write_vectored(),
            Kind::Unix(socket) => socket.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Kind::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
