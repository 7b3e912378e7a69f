//! A server that agrees on a key exchange safe against quantum computers.
//!
//! Owns: the scenario. Never knows: checks.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;

use super::certs::Lab;
use super::{Results, redis, results};

/// A server in front of Redis with the hybrid key exchange, as OpenSSL 3.5 has it.
pub fn hybrid() -> Results {
    let lab = Lab::new();
    let _redis = redis(&lab, &["--port", "0"]);
    let provider = respgate::internals::tls::provider::provider();
    let read = |name: &str| std::fs::read(lab.path(name)).unwrap();
    let chain = rustls::pki_types::CertificateDer::from_pem_slice(&read("server.crt")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let socket = lab.path("redis.sock");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    let Ok(mut front) = acceptor.accept(stream).await else { return };
                    let mut back = tokio::net::UnixStream::connect(socket).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
    });
    let upstream = format!("localhost:{port}");
    results(&lab, &["--upstream", &upstream, "--ca", "ca.crt", "--listen", "127.0.0.1:1"])
}
