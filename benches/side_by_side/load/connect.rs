//! One way to connect to every target.
//!
//! Owns: [`Dialer`]. Never knows: which requests are sent on the connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdTcp};
use std::os::unix::net::UnixStream as StdUnix;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::quiet::Quiet;
use super::spec::Target;
use respgate::internals::config::TlsVersion;
use respgate::internals::tls::provider::{provider, versions};

pub trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}
pub trait BlockingDuplex: Read + Write + Send {}
impl<T: Read + Write + Send> BlockingDuplex for T {}

#[derive(Debug)]
pub struct Dialer {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    pub fn new(target: Target) -> Self {
        let tls = match &target {
            Target::Tls { ca, cert, key, .. } => Some(client_config(ca, cert, key)),
            Target::Tcp(_) | Target::Unix(_) => None,
        };
        Self { target, tls }
    }

    pub async fn dial(&self) -> io::Result<Pin<Box<dyn Duplex>>> {
        Ok(match (&self.target, &self.tls) {
            (Target::Tls { port, .. }, Some(config)) => {
                let socket = tcp(*port).await?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                Box::pin(connector.connect(server_name(), socket).await?)
            }
            (Target::Unix(path), _) => Box::pin(Quiet::new(UnixStream::connect(path).await?)?),
            (Target::Tcp(port) | Target::Tls { port, .. }, _) => Box::pin(tcp(*port).await?),
        })
    }

    /// From an address that changes with `number`: a client that closes first leaves its port
    /// behind for a minute, and one address has only so many.
    pub async fn dial_from(&self, number: u32) -> io::Result<Pin<Box<dyn Duplex>>> {
        let Target::Tcp(port) = self.target else { return self.dial().await };
        let [_, _, high, low] = (number % 60_000 + 257).to_be_bytes();
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, high, low.max(1)), 0)))?;
        let socket = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        socket.set_nodelay(true)?;
        Ok(Box::pin(socket))
    }

    /// For threads that wait in the system.
    pub fn dial_blocking(&self) -> io::Result<Box<dyn BlockingDuplex>> {
        let tcp = |port: u16| -> io::Result<StdTcp> {
            let socket = StdTcp::connect((Ipv4Addr::LOCALHOST, port))?;
            socket.set_nodelay(true)?;
            Ok(socket)
        };
        Ok(match (&self.target, &self.tls) {
            (Target::Tls { port, .. }, Some(config)) => {
                let tls = ClientConnection::new(Arc::clone(config), server_name());
                Box::new(StreamOwned::new(tls.map_err(io::Error::other)?, tcp(*port)?))
            }
            (Target::Unix(path), _) => Box::new(StdUnix::connect(path)?),
            (Target::Tcp(port) | Target::Tls { port, .. }, _) => Box::new(tcp(*port)?),
        })
    }
}

async fn tcp(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// The TLS settings that respgate uses itself.
fn client_config(ca: &Path, cert: &Path, key: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_3))
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    Arc::new(config)
}
