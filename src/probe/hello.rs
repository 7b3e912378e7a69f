//! Whether a server accepts a version of TLS that is not safe any more: a hello made by hand, since no
//! library of this program supports those versions.
//!
//! Owns: [`OldVersion`], the bytes of the hello, the reading of the answer. Never knows: what follows.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A version that a server must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldVersion {
    Tls10,
    Tls11,
}

impl OldVersion {
    pub(crate) const ALL: [Self; 2] = [Self::Tls10, Self::Tls11];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
        }
    }

    const fn minor(self) -> u8 {
        match self {
            Self::Tls10 => 1,
            Self::Tls11 => 2,
        }
    }
}

/// The suites that servers of those versions have, the ones with forward secrecy first.
const SUITES: [u16; 10] =
    [0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035, 0xc008, 0x000a];
/// Curves P-256, P-384, P-521 and X25519.
const CURVES: [u8; 12] = [0, 10, 0, 8, 0, 6, 0, 23, 0, 24, 0, 25];
const POINT_FORMATS: [u8; 6] = [0, 11, 0, 2, 1, 0];
/// Content type, version, length, and the type of the first handshake message.
const HEAD: usize = 11;

/// Whether the server goes on with a handshake of this version; `None`: it sends nothing in time, or
/// cannot be connected to.
pub(crate) async fn accepts(
    address: SocketAddr,
    version: OldVersion,
    limit: Duration,
) -> Option<bool> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        socket.write_all(&hello(version)).await.ok()?;
        let mut head = [0; HEAD];
        let mut have = 0;
        while let Some(rest) = head.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match socket.read(rest).await {
                // A server that closes has refused, with an alert or without.
                Ok(0) | Err(_) => return Some(false),
                Ok(count) => have += count,
            }
            if head.first() != Some(&0x16) {
                return Some(false);
            }
        }
        Some(is_server_hello(&head, version))
    };
    timeout(limit, ask).await.ok().flatten()
}

/// A record with a server hello of this version.
fn is_server_hello(head: &[u8; HEAD], version: OldVersion) -> bool {
    // 16 03 xx ll ll 02 ll ll ll 03 vv
    let [kind, major, _, _, _, message, _, _, _, own_major, own_minor] = *head;
    kind == 0x16 && major == 3 && message == 2 && own_major == 3 && own_minor == version.minor()
}

fn hello(version: OldVersion) -> Vec<u8> {
    let mut body = vec![3, version.minor()];
    // A hello that is never finished needs no secret, so its random part may be anything.
    body.extend([0x5a; 32]);
    body.push(0);
    extend(&mut body, &SUITES.map(u16::to_be_bytes).concat());
    body.extend([1, 0]);
    extend(&mut body, &[&CURVES[..], &POINT_FORMATS].concat());
    let mut message = vec![1, 0];
    extend(&mut message, &body);
    let mut record = vec![0x16, 3, 1];
    extend(&mut record, &message);
    record
}

/// Adds bytes with their length before them.
fn extend(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_the_hello_fit() {
        for version in OldVersion::ALL {
            let hello = hello(version);
            let length = |at: usize| usize::from(hello[at]) << 8 | usize::from(hello[at + 1]);
            assert_eq!(length(3), hello.len() - 5);
            assert_eq!((hello[5], hello[6], length(7)), (1, 0, hello.len() - 9));
            assert_eq!((hello[9], hello[10]), (3, version.minor()));
        }
    }

    #[test]
    fn answer_of_another_version_or_an_alert_is_a_refusal() {
        let answer = [0x16, 3, 1, 0, 60, 2, 0, 0, 56, 3, 1];
        assert!(is_server_hello(&answer, OldVersion::Tls10));
        assert!(!is_server_hello(&answer, OldVersion::Tls11));
        assert!(!is_server_hello(&[0x15, 3, 1, 0, 2, 2, 70, 0, 0, 0, 0], OldVersion::Tls10));
    }
}
