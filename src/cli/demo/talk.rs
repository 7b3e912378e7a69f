//! A small blocking client: the application of the demonstration, and its operator.
//!
//! Owns: [`Client`], [`Target`], [`Files`]. Never knows: which commands are sent, and why.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::base::limits;
use crate::config::TlsVersion;
use crate::resp::{Protocol, ReplyScanner, Value, encode};
use crate::tls::provider;

/// Where respgate listens.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The files a client needs for mutual TLS.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// Settings that trust the authority and show the certificate, or show none.
    pub(super) fn settings(&self, with_certificate: bool) -> Result<Arc<ClientConfig>, String> {
        let at = |path: &Path| {
            let path = path.display().to_string();
            move |error: rustls::pki_types::pem::Error| format!("{path}: {error}")
        };
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&self.ca).map_err(at(&self.ca))?;
        roots.add(authority).map_err(text)?;
        let builder = ClientConfig::builder_with_provider(provider::provider())
            .with_protocol_versions(provider::versions(TlsVersion::V1_2))
            .map_err(text)?
            .with_root_certificates(roots);
        if !with_certificate {
            return Ok(Arc::new(builder.with_no_client_auth()));
        }
        let chain = vec![CertificateDer::from_pem_file(&self.cert).map_err(at(&self.cert))?];
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(at(&self.key))?;
        Ok(Arc::new(builder.with_client_auth_cert(chain, key).map_err(text)?))
    }
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One connection that sends commands and waits for replies.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    protocol: Protocol,
}

impl Client {
    pub(super) fn connect(target: &Target) -> Result<Self, String> {
        match target {
            Target::Tcp(address) => Self::plain(*address),
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(text)?;
                stream.set_read_timeout(Some(limits::DEMO_TIMEOUT)).map_err(text)?;
                Ok(Self::new(stream))
            }
        }
    }

    pub(super) fn plain(address: SocketAddr) -> Result<Self, String> {
        Ok(Self::new(tcp(address)?))
    }

    /// Connects with TLS; the handshake happens with the first command.
    pub(super) fn over_tls(
        address: SocketAddr,
        settings: Arc<ClientConfig>,
    ) -> Result<Self, String> {
        let name = ServerName::try_from("localhost").map_err(text)?;
        let session = ClientConnection::new(settings, name).map_err(text)?;
        Ok(Self::new(StreamOwned::new(session, tcp(address)?)))
    }

    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), received: Vec::new(), protocol: Protocol::Resp2 }
    }

    /// Sends a command and waits for its reply.
    pub(super) fn ask(&mut self, command: &[&str]) -> Result<Value, String> {
        self.send(command)?;
        self.receive()
    }

    pub(super) fn send(&mut self, command: &[&str]) -> Result<(), String> {
        let mut out = BytesMut::new();
        encode::request(&mut out, command);
        self.stream.write_all(&out).map_err(text)?;
        self.stream.flush().map_err(text)
    }

    /// Waits for the next reply or message.
    pub(super) fn receive(&mut self) -> Result<Value, String> {
        loop {
            let seen = ReplyScanner::default().advance(&self.received).map_err(text)?;
            if seen.done {
                let reply = self.received.drain(..seen.used).collect::<Vec<_>>();
                return Value::decode(&reply, self.protocol).map_err(text);
            }
            let mut chunk = [0; limits::DEMO_READ_BYTES];
            let read = self.stream.read(&mut chunk).map_err(text)?;
            match chunk.get(..read) {
                None | Some([]) => return Err("connection closed without a reply".to_owned()),
                Some(bytes) => self.received.extend_from_slice(bytes),
            }
        }
    }

    /// Changes to RESP3.
    pub(super) fn hello3(&mut self) -> Result<Value, String> {
        self.protocol = Protocol::Resp3;
        self.ask(&["HELLO", "3"])
    }
}

/// What an HTTP server answers: the status line's number, and the body.
pub(super) fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let mut stream = tcp(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an HTTP answer without a body")?;
    let status = head.split(' ').nth(1).and_then(|number| number.parse().ok());
    Ok((status.ok_or("an HTTP answer without a status")?, body.to_owned()))
}

fn tcp(address: SocketAddr) -> Result<TcpStream, String> {
    let connect = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, limits::DEMO_TIMEOUT)?;
        stream.set_read_timeout(Some(limits::DEMO_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    connect().map_err(text)
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
