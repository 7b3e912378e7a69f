//! The first steps of a connection: the name, the socket, the handshake.
//!
//! Owns: how a stream to the server comes about. Never knows: logins, which address is tried when.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::failure::{DialError, not_connected};
use super::super::fault::Fault;
use super::super::handshake::Handshake;
use super::super::phase::{Phase, Reached};
use super::super::read_ahead::ReadAhead;
use super::super::sniff;
use super::super::stream::Stream;
use super::Inner;
use crate::base::clock;
use crate::config::{HostPort, ServerEndpoint};
use crate::tls::{self, Identity};

impl Inner {
    /// Connects, and encrypts if there is an identity.
    pub(super) async fn reach_stream(
        &self,
        address: Option<SocketAddr>,
        identity: Option<&Identity>,
        at: &mut Reached,
    ) -> Result<(Stream, Option<Handshake>), DialError> {
        let address = match (&self.target.endpoint, address) {
            (ServerEndpoint::Unix(path), _) => {
                return Ok((Stream::unix(self.connect_unix(path).await?), None));
            }
            (ServerEndpoint::Tcp(_), Some(address)) => address,
            (ServerEndpoint::Tcp(_), None) => return Err(DialError::of(Fault::NotConnected)),
        };
        let (socket, peer) = self.connect(&[address]).await?;
        at.peer = Some(peer);
        let Some(identity) = identity else { return Ok((Stream::plain(socket), None)) };
        at.enter(Phase::Tls, clock::now());
        tracing::debug!(%peer, "TLS handshake begins");
        let (stream, handshake) = self.encrypt(socket, peer, identity).await?;
        Ok((stream, Some(handshake)))
    }

    pub(super) async fn connect_unix(&self, path: &Path) -> Result<UnixStream, DialError> {
        UnixStream::connect(path).await.map_err(|error| {
            let (fault, cause) = not_connected(&error);
            DialError::new(fault, format!("no connection to {}: {cause}", self.target))
        })
    }

    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let Some(HostPort { host, port }) = self.target.endpoint.tcp() else {
            return Ok(Vec::new());
        };
        let failed = |why: String| {
            DialError::new(Fault::NameUnknown, format!("the name {host} has no address ({why})"))
        };
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let addresses: Vec<_> = found.map_err(|e| failed(e.to_string()))?.collect();
        if addresses.is_empty() { Err(failed("none found".to_owned())) } else { Ok(addresses) }
    }

    /// Tries the addresses in turn; a silent one cannot use up the time of the others.
    pub(super) async fn connect(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<(TcpStream, SocketAddr), DialError> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = (Fault::NotConnected, String::new());
        for address in addresses {
            match timeout(self.connect_timeout / count, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    self.options.apply(&socket).map_err(|e| {
                        let kind = e.kind();
                        DialError::new(Fault::NotConnected, format!("socket options: {kind}"))
                    })?;
                    return Ok((socket, *address));
                }
                Ok(Err(error)) => {
                    let (fault, cause) = not_connected(&error);
                    last = (fault, format!("{address}: {cause}"));
                }
                Err(_) => last = (Fault::ConnectSilent, format!("{address}: no answer")),
            }
        }
        let (fault, cause) = last;
        Err(DialError::new(fault, format!("no connection to {}: {cause}", self.target)))
    }

    async fn encrypt(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        identity: &Identity,
    ) -> Result<(Stream, Handshake), DialError> {
        let start = clock::now();
        let connector = TlsConnector::from(Arc::clone(&identity.client_config));
        let name = match &self.target.server_name {
            Some(name) => name.clone(),
            // A server that must prove no name gets nothing from us.
            None => tls::server_name("")?,
        };
        let mut connect = Box::pin(connector.connect(name, ReadAhead::new(socket)));
        let stream = tokio::select! {
            biased;
            connected = &mut connect => connected,
            plaintext = sniff::silent_and_plaintext(peer, self.connect_timeout) => {
                if plaintext {
                    return Err(tls::plaintext(&self.target.to_string()).into());
                }
                connect.await
            }
        };
        let stream = stream
            .map_err(|error| tls::explain(&error, &self.target.to_string(), &identity.offer))?;
        let handshake = Handshake::of(stream.get_ref().1, clock::now().duration_since(start));
        Ok((Stream::tls(stream), handshake))
    }
}
