//! The kinds of stream that carry a client's bytes.
//!
//! Owns: [`ClientStream`]. Never knows: how it was accepted, the protocol of its bytes.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::encrypted::Encrypted;

/// A client's bytes, both ways.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Whether nothing has come since [`Self::poll_fill`] found nothing, so that the task will be woken.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Reads what the socket has at once; `None` may have any reason: then [`Self::poll_fill`] knows why. The
    /// task is not woken, so this is the cheaper way for what has come.
    fn read_now(&self, _bytes: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }

    /// Reads into the beginning of `bytes`; the task is woken when something comes where nothing was.
    #[inline]
    fn poll_fill(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(bytes);
        let read = Pin::new(self).poll_read(cx, &mut buf);
        read.map_ok(|()| buf.filled().len())
    }

    /// Writes what the socket takes at once and returns how much that is, which may be nothing for any reason: then
    /// [`AsyncWrite::poll_write`] knows why. The task is not woken, so this is the cheaper way for a reply that fits.
    fn write_now(&self, _bytes: &[u8]) -> usize {
        0
    }
}

/// Sockets whose bytes are the client's own.
macro_rules! plain {
    ($($socket:ty),*) => {
        $(
            impl ClientStream for $socket {
                #[inline]
                fn is_quiet(&self) -> bool {
                    self.try_io(Interest::READABLE, || Ok(())).is_err()
                }

                #[inline]
                fn read_now(&self, bytes: &mut [u8]) -> Option<io::Result<usize>> {
                    let mut read = None;
                    let _ = self.try_io(Interest::READABLE, || {
                        let known;
                        (read, known) = receive(self, bytes);
                        known
                    });
                    read
                }

                #[inline]
                fn write_now(&self, bytes: &[u8]) -> usize {
                    self.try_write(bytes).unwrap_or(0)
                }
            }
        )*
    };
}

plain!(TcpStream, UnixStream);

/// TLS may have bytes of before to write first.
impl ClientStream for Encrypted {}

/// Reads from a socket that may have something; `None`: it has nothing. Returns besides, for tokio, the error
/// `WouldBlock` when the socket is empty now, as it is when what was there did not fill the buffer: so the next read
/// needs no system call.
#[inline]
fn receive(socket: &impl AsFd, bytes: &mut [u8]) -> (Option<io::Result<usize>>, io::Result<()>) {
    let read = (&*SockRef::from(socket)).read(bytes);
    let empty = || Err(ErrorKind::WouldBlock.into());
    match read {
        Ok(count) if count > 0 && count < bytes.len() => (Some(Ok(count)), empty()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => (None, empty()),
        read => (Some(read), Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::task::coop::has_budget_remaining;

    use super::*;

    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().await.unwrap().0, peer)
    }

    /// The task counts the socket as empty only while it has budget.
    #[tokio::test]
    async fn read_without_budget_does_not_look_at_the_socket() {
        let (mut stream, mut peer) = pair().await;
        peer.write_all(&[0; 1000]).unwrap();
        stream.readable().await.unwrap();
        let found = std::future::poll_fn(|cx| {
            let mut reads = 0;
            while stream.poll_fill(cx, &mut [0]).is_ready() {
                reads += 1;
            }
            Poll::Ready((reads < 1000, has_budget_remaining(), stream.is_quiet()))
        });
        assert_eq!(
            found.await,
            (true, false, false),
            "more is there, and the task is woken for it"
        );
        assert_eq!(stream.read_now(&mut [0; 8]).unwrap().unwrap(), 8);
    }

    #[tokio::test]
    async fn stream_is_quiet_until_something_comes() {
        let (mut stream, mut peer) = pair().await;
        let mut bytes = [0; 8];
        for _ in 0..2 {
            let nothing = std::future::poll_fn(|cx| {
                let read = stream.poll_fill(cx, &mut bytes);
                Poll::Ready(read.is_pending())
            });
            assert!(nothing.await && stream.is_quiet());
            assert!(stream.read_now(&mut bytes).is_none() && stream.is_quiet());
            peer.write_all(b"abc").unwrap();
            stream.readable().await.unwrap();
            assert!(!stream.is_quiet(), "it has something");
            assert_eq!(stream.read_now(&mut bytes).unwrap().unwrap(), 3);
            assert!(stream.is_quiet(), "a read that does not fill the buffer empties the socket");
        }
        peer.write_all(b"abcdefghi").unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.read_now(&mut bytes).unwrap().unwrap(), 8);
        assert!(!stream.is_quiet(), "there may be more");
        assert_eq!(stream.read_now(&mut bytes).unwrap().unwrap(), 1);
        drop(peer);
        stream.readable().await.unwrap();
        for _ in 0..2 {
            assert_eq!(stream.read_now(&mut bytes).unwrap().unwrap(), 0, "its end stays");
            assert!(!stream.is_quiet());
        }
    }
}
