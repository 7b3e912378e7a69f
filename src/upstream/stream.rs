//! The kinds of socket to a server, as one: how bytes pass, and why they pass no more.
//!
//! Owns: [`Stream`]. Never knows: how it was opened.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::read_ahead::ReadAhead;
use crate::base::limits;
use crate::telemetry::UpstreamDisconnect;

/// Bytes to and from a server.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    /// The kernel knows by now; asked again, it would be one more system call for each turn of a connection.
    drops_unacknowledged: Cell<bool>,
}

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<ReadAhead<TcpStream>>>),
}

impl Stream {
    const fn of(kind: Kind) -> Self {
        Self { kind, drops_unacknowledged: Cell::new(false) }
    }

    pub(super) const fn plain(socket: TcpStream) -> Self {
        Self::of(Kind::Plain(socket))
    }

    pub(super) const fn unix(socket: UnixStream) -> Self {
        Self::of(Kind::Unix(socket))
    }

    pub(super) fn tls(stream: TlsStream<ReadAhead<TcpStream>>) -> Self {
        Self::of(Kind::Tls(Box::new(stream)))
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
        if self.drops_unacknowledged.replace(true) {
            return;
        }
        // A socket that refuses is closed already.
        let _ = self
            .tcp()
            .map(|socket| socket.set_tcp_user_timeout(Some(limits::ABANDONED_REQUEST_AGE)));
    }

    /// The TCP socket below; what was written to a Unix socket is with the server already.
    fn tcp(&self) -> Option<SockRef<'_>> {
        match &self.kind {
            Kind::Plain(socket) => Some(SockRef::from(socket)),
            Kind::Unix(_) => None,
            Kind::Tls(stream) => Some(SockRef::from(stream.get_ref().0.socket())),
        }
    }

    /// Reads once; how many bytes have come.
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, UpstreamDisconnect>> {
        let mut buf = ReadBuf::new(into);
        let read = ready!(Pin::new(self).poll_read(cx, &mut buf));
        Poll::Ready(match (read, buf.filled().len()) {
            (Ok(()), 0) => Err(UpstreamDisconnect::Eof),
            (Ok(()), count) => Ok(count),
            (Err(error), _) => {
                tracing::debug!(%error, "upstream connection failed");
                Err(UpstreamDisconnect::Reset)
            }
        })
    }

    /// Writes once; how many bytes were taken, or may have been.
    ///
    /// # Errors
    ///
    /// Why the connection has ended; the server has none of these bytes.
    #[inline]
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, UpstreamDisconnect>> {
        debug_assert!(!bytes.is_empty(), "nothing is written");
        if let Kind::Tls(stream) = &mut self.kind {
            return Self::poll_encrypt(stream, cx, bytes);
        }
        Poll::Ready(match ready!(Pin::new(self).poll_write(cx, bytes)) {
            Ok(count @ 1..) => Ok(count),
            Ok(0) | Err(_) => Err(UpstreamDisconnect::Reset),
        })
    }

    /// One write through TLS is several to the socket. Where a later one fails, the server may have what was written
    /// before, and the failure hides how much that is: then all counts as written, and the next call fails.
    fn poll_encrypt(
        stream: &mut TlsStream<ReadAhead<TcpStream>>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, UpstreamDisconnect>> {
        let bytes = bytes.get(..limits::TLS_WRITE_BYTES_MAX).unwrap_or(bytes);
        stream.get_mut().0.forget_written();
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes));
        Poll::Ready(match written {
            Ok(count @ 1..) => Ok(count),
            Ok(0) | Err(_) if stream.get_ref().0.has_written() => Ok(bytes.len()),
            Ok(0) | Err(_) => Err(UpstreamDisconnect::Reset),
        })
    }

    /// Ready when the socket has all that was written: TLS may keep some of it.
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    #[inline]
    pub(super) fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamDisconnect>> {
        Pin::new(self).poll_flush(cx).map_err(|_| UpstreamDisconnect::Reset)
    }

    /// Whether the server is at the other end of TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
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
        match &mut self.get_mut().kind {
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
        match &mut self.get_mut().kind {
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
        match &mut self.get_mut().kind {
            Kind::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Kind::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(socket) => socket.is_write_vectored(),
            Kind::Unix(socket) => socket.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Kind::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn unacknowledged_bytes_get_their_limit_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _entered = runtime.enter();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let stream = Stream::plain(TcpStream::from_std(near).unwrap());
        let limit = || stream.tcp().unwrap().tcp_user_timeout().unwrap();
        stream.drop_unacknowledged();
        assert_eq!(limit(), Some(limits::ABANDONED_REQUEST_AGE));
        let other = Some(Duration::from_secs(7));
        stream.tcp().unwrap().set_tcp_user_timeout(other).unwrap();
        stream.drop_unacknowledged();
        assert_eq!(limit(), other);
    }

    #[test]
    fn end_of_a_connection_has_its_reason() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let entered = runtime.enter();
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut stream = Stream::unix(UnixStream::from_std(near).unwrap());
        drop(entered);
        let send =
            |stream: &mut Stream| runtime.block_on(poll_fn(|cx| stream.poll_send(cx, b"PING")));
        let read = |stream: &mut Stream| {
            runtime.block_on(poll_fn(|cx| stream.poll_receive(cx, &mut [0; 64])))
        };
        assert_eq!(send(&mut stream), Ok(4));
        io::Write::write_all(&mut &far, b"+PONG").unwrap();
        assert_eq!(read(&mut stream), Ok(5));
        assert_eq!(io::Read::read(&mut &far, &mut [0; 4]).unwrap(), 4);
        drop(far);
        assert_eq!(read(&mut stream), Err(UpstreamDisconnect::Eof));
        assert_eq!(send(&mut stream), Err(UpstreamDisconnect::Reset));
    }

    /// A server that has read `bytes` of what comes after the handshake resets the connection.
    fn resetting(bytes: usize) -> (u16, rustls::pki_types::CertificateDer<'static>) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der());
        let trusted = pair.cert.der().clone();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![trusted.clone()], key.unwrap())
            .unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            let mut tls = rustls::ServerConnection::new(std::sync::Arc::new(config)).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap();
            }
            io::Read::read_exact(&mut socket, &mut vec![0; bytes]).unwrap();
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        });
        (port, trusted)
    }

    #[test]
    fn bytes_that_tls_has_sent_before_it_fails_count_as_written() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let bytes = vec![0; 4 << 20];
        for _ in 0..20 {
            let (port, trusted) = resetting(20_000);
            let mut roots = rustls::RootCertStore::empty();
            roots.add(trusted).unwrap();
            let config =
                rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
            let written = runtime.block_on(async {
                let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let name = "localhost".try_into().unwrap();
                let tls = connector.connect(name, ReadAhead::new(socket)).await.unwrap();
                let (mut stream, mut written) = (Stream::tls(tls), 0);
                while let Ok(count) = poll_fn(|cx| stream.poll_send(cx, &bytes)).await {
                    written += count;
                }
                written
            });
            assert!(written > 0, "the server has 20000 bytes of them");
        }
    }
}
