//! Connections that ask only whether they are possible: TCP, plaintext, TLS with one certificate or none.
//!
//! Owns: [`Exchange`]. Never knows: logins.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::base::limits;
use crate::config::HostPort;
use crate::tls::Looking;

/// A question that needs no login: without one, the answer is an error, which is an answer.
const PING: &[u8] = b"PING\r\n";

/// How a TLS connection went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// No TCP connection.
    Unreachable,
    /// The handshake failed, or the connection ended after it without an answer: in TLS 1.3 a server
    /// refuses a certificate only then.
    Refused,
    /// Nothing was answered in time.
    Silent,
    /// The server answered `PING`.
    Answered {
        /// The first line of the answer.
        line: String,
        /// `TLSv1_3`.
        version: String,
        /// `X25519MLKEM768`.
        group: String,
    },
}

/// The addresses of a host.
pub(crate) async fn addresses(host: &HostPort, limit: Duration) -> Vec<SocketAddr> {
    let found = timeout(limit, tokio::net::lookup_host((host.host.as_str(), host.port))).await;
    found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default()
}

/// Whether `address` answers `PING` in plaintext; with the first line of the answer. `None`: no.
pub(crate) async fn probe_plaintext(address: SocketAddr, limit: Duration) -> Option<String> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        first_line(&mut socket).await
    };
    let line = timeout(limit, ask).await.ok().flatten()?;
    line.starts_with(['+', '-']).then_some(line)
}

/// What the server at a Unix socket answers to `PING`: the first line. `None`: nothing.
pub(crate) async fn probe_socket(path: &Path, limit: Duration) -> Option<String> {
    let ask = async {
        let mut socket = UnixStream::connect(path).await.ok()?;
        first_line(&mut socket).await
    };
    timeout(limit, ask).await.ok().flatten()
}

/// Connects to `address` with TLS and sends `PING`.
pub(crate) async fn exchange(
    address: SocketAddr,
    name: &ServerName<'static>,
    looking: &Looking,
    limit: Duration,
) -> Exchange {
    let attempt = async {
        let Ok(socket) = TcpStream::connect(address).await else { return Exchange::Unreachable };
        let connector = TlsConnector::from(std::sync::Arc::clone(looking.config()));
        let Ok(mut stream) = connector.connect(name.clone(), socket).await else {
            return Exchange::Refused;
        };
        let (_, connection) = stream.get_ref();
        let version = connection.protocol_version().map(|version| format!("{version:?}"));
        let group = connection.negotiated_key_exchange_group();
        let group = group.map(|group| format!("{:?}", group.name()));
        match first_line(&mut stream).await {
            None => Exchange::Refused,
            Some(line) => Exchange::Answered {
                line,
                version: version.unwrap_or_default(),
                group: group.unwrap_or_default(),
            },
        }
    };
    timeout(limit, attempt).await.unwrap_or(Exchange::Silent)
}

/// Sends `PING` and reads the first line of the answer, as far as it can be shown.
async fn first_line(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<String> {
    stream.write_all(PING).await.ok()?;
    stream.flush().await.ok()?;
    let mut line = Vec::new();
    while line.len() < limits::PROBE_LINE_BYTES_MAX {
        match stream.read_u8().await {
            Ok(b'\r' | b'\n') => break,
            Ok(byte) => line.push(byte),
            Err(_) if line.is_empty() => return None,
            Err(_) => break,
        }
    }
    let shown =
        |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' };
    (!line.is_empty()).then(|| line.iter().map(shown).collect())
}
