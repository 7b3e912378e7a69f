//! Tries the other protocol on a port: whether it is plaintext where TLS is configured, or TLS
//! where plaintext is.
//!
//! Owns: the two questions, what counts as an answer. Never knows: logins, retries.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::base::limits;

/// Needs no login: without one, the answer is an error, which will do.
const PING: &[u8] = b"pInG\r\n";
/// A TLS record with a hello that is cut off. A server with TLS answers with an alert.
const CUT_HELLO: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0];

/// Waits until a server that answers a TLS handshake would have, then examines whether it answers RESP in
/// plaintext. `limit` is the time for the whole attempt.
pub(super) async fn silent_and_plaintext(address: SocketAddr, limit: Duration) -> bool {
    tokio::time::sleep(limits::SNIFF_SILENCE.min(limit / 3)).await;
    ask(address, PING).await.is_some_and(is_resp)
}

/// Whether a port that ended a plaintext connection expects TLS.
pub(super) async fn is_tls(address: SocketAddr) -> bool {
    ask(address, CUT_HELLO).await.is_some_and(is_alert)
}

/// The first byte of the answer, if there is one.
async fn ask(address: SocketAddr, question: &[u8]) -> Option<u8> {
    let answer = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        socket.write_all(question).await.ok()?;
        socket.read_u8().await.ok()
    };
    timeout(limits::SNIFF_TIMEOUT, answer).await.ok().flatten()
}

/// A simple string or an error.
const fn is_resp(first: u8) -> bool {
    matches!(first, b'+' | b'-')
}

/// The content types of a TLS alert and of a handshake.
pub(super) const fn is_alert(first: u8) -> bool {
    matches!(first, 0x15 | 0x16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_distinguished_by_their_first_byte() {
        for (first, resp, tls) in
            [(b'+', true, false), (b'-', true, false), (b'H', false, false), (0x15, false, true)]
        {
            assert_eq!((is_resp(first), is_alert(first)), (resp, tls), "{first}");
        }
    }
}
