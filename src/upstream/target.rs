//! A server as it is dialed: where it is, and which name its certificate must carry.
//!
//! Owns: [`Target`]. Never knows: sockets, certificates, logins.

use rustls::pki_types::ServerName;

use crate::config::{self, ServerEndpoint};
use crate::tls::{TlsError, server_name};

/// Where one server is, and what belongs to this server alone: the same TLS identity serves any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) endpoint: ServerEndpoint,
    /// The name the server must prove, and SNI unless it is an address. `None` without TLS.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl Target {
    /// The server of the configuration.
    ///
    /// # Errors
    ///
    /// When no certificate could carry the name that it must prove.
    pub fn of(settings: &config::Upstream) -> Result<Self, TlsError> {
        let endpoint = settings.address.clone();
        let name = |tls: &config::Tls| {
            server_name(tls.server_name.as_deref().unwrap_or_else(|| endpoint.host()))
        };
        let server_name = settings.tls.as_ref().map(name).transpose()?;
        Ok(Self { endpoint, server_name })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.endpoint.fmt(f)
    }
}
