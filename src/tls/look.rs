//! A TLS client that trusts every server and remembers what it showed: for looking, never for work.
//!
//! Owns: [`Looking`]. Never knows: sockets, what is made of what was seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::dev_certs::{Authority, CertRequest, Role};
use super::identity::Identity;
use super::provider;
use crate::base::limits;
use crate::config::TlsVersion;

/// Such a client. No secret may be sent through it: the peer is not verified.
#[derive(Debug)]
pub(crate) struct Looking {
    config: Arc<ClientConfig>,
    seen: Arc<Seen>,
}

impl Looking {
    /// Shows no certificate.
    #[must_use]
    pub(crate) fn without_certificate() -> Option<Self> {
        Self::new(|config| Some(config.with_no_client_auth()))
    }

    /// Shows the certificate of an identity.
    #[must_use]
    pub(crate) fn as_identity(identity: &Identity) -> Option<Self> {
        let own: Arc<dyn ResolvesClientCert> =
            Arc::clone(&identity.client_config.client_auth_cert_resolver);
        Self::new(|config| Some(config.with_client_cert_resolver(own)))
    }

    /// Shows a certificate for `name` of an authority that no server knows, made at `now`.
    #[must_use]
    pub(crate) fn as_stranger(name: &str, now: SystemTime) -> Option<Self> {
        let authority = Authority::new("unknown authority", now, limits::STRANGER_LIFETIME).ok()?;
        let order = CertRequest::new(Role::Client, name, &[], now, limits::STRANGER_LIFETIME);
        let issued = authority.issue(&order).ok()?;
        let chain = CertificateDer::from_pem_slice(issued.cert.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).ok()?;
        Self::new(|config| config.with_client_auth_cert(vec![chain], key).ok())
    }

    fn new(
        finish: impl FnOnce(
            rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
        ) -> Option<ClientConfig>,
    ) -> Option<Self> {
        let provider = provider::provider();
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        let seen = Arc::new(Seen { chain: Mutex::default(), schemes });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(provider::versions(TlsVersion::V1_2))
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>);
        let mut config = finish(builder)?;
        config.resumption = Resumption::disabled();
        Some(Self { config: Arc::new(config), seen })
    }

    #[must_use]
    pub(crate) const fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// What the server showed last: its certificate first. Empty before the first handshake.
    #[must_use]
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.seen.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Accepts everything.
#[derive(Debug)]
struct Seen {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let all = all.map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
