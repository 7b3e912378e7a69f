//! A client over TLS, which may show a certificate.
//!
//! Owns: [`Secure`]. Never knows: which authority signed a certificate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::client::{PATIENCE, encode, reply_length};

/// A client that trusts `ca` and shows this certificate.
pub fn config(ca: &Path, pair: Option<&(PathBuf, PathBuf)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// A connection over TLS.
#[derive(Debug)]
pub struct Secure(pub StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Served, too.
    pub fn connect(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let mut own = Self::open(port, config)?;
        // In TLS 1.3 a refusal comes only behind the handshake.
        own.try_ask(&["ECHO", "x"])?;
        Ok(own)
    }

    pub fn open(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut own = Self(StreamOwned::new(session, socket));
        while own.0.conn.is_handshaking() {
            own.0.conn.complete_io(&mut own.0.sock)?;
        }
        Ok(own)
    }

    pub fn try_ask(&mut self, words: &[&str]) -> std::io::Result<Vec<u8>> {
        self.0.write_all(&encode(words))?;
        self.reply()
    }

    pub fn reply(&mut self) -> std::io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        let mut piece = vec![0; 65_536];
        while reply_length(&reply).is_none() {
            let count = self.0.read(&mut piece)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            reply.extend_from_slice(&piece[..count]);
        }
        Ok(reply)
    }

    pub fn ask(&mut self, words: &[&str]) -> String {
        String::from_utf8(self.try_ask(words).unwrap()).unwrap()
    }

    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the listener shows.
    pub fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
