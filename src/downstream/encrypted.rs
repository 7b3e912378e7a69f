//! A client behind TLS as a stream of plain bytes.
//!
//! Owns: [`Encrypted`]. Never knows: handshakes, whose certificate it is, the protocol of the plain bytes.

use std::io::{self, ErrorKind, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::base::limits;
use crate::upstream::{Buffers, ReadAhead};

/// Counts against the memory budget as long as it lives. Dropped, it sends close_notify, so that the client
/// can distinguish an end from a cut.
#[derive(Debug)]
pub(super) struct Encrypted {
    stream: Box<TlsStream<ReadAhead<TcpStream>>>,
    buffers: Rc<Buffers>,
    kept: usize,
}

impl Encrypted {
    /// `chain`: bytes of certificates that are kept.
    pub(super) fn new(
        stream: TlsStream<ReadAhead<TcpStream>>,
        buffers: Rc<Buffers>,
        chain: usize,
    ) -> Self {
        let kept = limits::CLIENT_TLS_BYTES + chain;
        let mut stream = Box::new(stream);
        stream.get_mut().1.set_buffer_limit(Some(limits::CLIENT_TLS_WRITE_BYTES));
        buffers.adjust(0, kept);
        Self { stream, buffers, kept }
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.buffers.adjust(self.kept, 0);
        let (socket, session) = self.stream.get_mut();
        session.send_close_notify();
        let mut socket = TryWrite(socket.socket());
        // What the kernel does not take at once has no reader.
        while session.wants_write() && session.write_tls(&mut socket).is_ok_and(|sent| sent > 0) {}
    }
}

struct TryWrite<'a>(&'a TcpStream);

impl Write for TryWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf).map(|read| {
            // RESP itself shows where a request ends: half of one is never taken for a whole.
            read.or_else(
                |error| {
                    if error.kind() == ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
                },
            )
        })
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
