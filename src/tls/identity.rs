//! Who we are and who the server must be, as the configuration of a TLS client.
//!
//! Owns: [`Identity`] and how a server's certificate is judged. Never knows: files, sockets.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::error::{Fault, TlsError};
use super::material::Material;
use super::provider;
use crate::config::{self, Verify};

/// Sessions remembered for resumption; all are with one server.
const SESSIONS: usize = 32;

/// One generation: certificate, key, trust and the tickets earned with them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub client_config: Arc<ClientConfig>,
    /// The name the server must prove, and SNI unless it is an address.
    pub server_name: ServerName<'static>,
    /// Counts published identities from 1.
    pub generation: u64,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// The earliest end among the certificate and its intermediates.
    pub chain_not_after: SystemTime,
    /// The latest end among the trusted authorities.
    pub ca_not_after: SystemTime,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of all files the identity was read from.
    pub content_hash: [u8; 32],
}

impl Identity {
    /// Builds a client that shows `material` to the server and trusts what `settings` say, with a
    /// ticket store of its own.
    pub(super) fn build(
        settings: &config::Tls,
        host: &str,
        material: Material,
        provider: Arc<rustls::crypto::CryptoProvider>,
        generation: u64,
    ) -> Result<Self, TlsError> {
        let verifier = Arc::new(ServerVerifier {
            trust: Trust::new(settings, material.roots)?,
            algorithms: provider.signature_verification_algorithms,
        });
        let key = CertifiedKey::new(material.chain, material.key);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(provider::versions(settings.min_version))
            .map_err(|e| TlsError::new(Fault::Refused, "", e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self {
            client_config: Arc::new(config),
            server_name: server_name(settings, host)?,
            generation,
            not_before: material.not_before,
            not_after: material.not_after,
            chain_not_after: material.chain_not_after,
            ca_not_after: material.ca_not_after,
            fingerprint: material.fingerprint,
            content_hash: material.content_hash,
        })
    }
}

fn server_name(settings: &config::Tls, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = settings.server_name.as_deref().unwrap_or(host);
    let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::new(Fault::BadServerName, name, "neither a DNS name nor an IP address")
    })
}

/// What makes a server's certificate good.
#[derive(Debug)]
enum Trust {
    Chain { roots: RootCertStore, name_too: bool },
    Pins(Vec<[u8; 32]>),
}

impl Trust {
    fn new(settings: &config::Tls, roots: RootCertStore) -> Result<Self, TlsError> {
        Ok(match settings.verify {
            Verify::Full => Self::Chain { roots, name_too: true },
            Verify::Ca => Self::Chain { roots, name_too: false },
            Verify::Pin => Self::Pins(pins(&settings.pins)?),
        })
    }
}

fn pins(texts: &[String]) -> Result<Vec<[u8; 32]>, TlsError> {
    let error = |detail: String| TlsError::new(Fault::BadPin, "upstream.tls.pins", detail);
    if texts.is_empty() {
        return Err(error("empty, and verify = \"pin\" trusts nothing else".to_owned()));
    }
    texts
        .iter()
        .map(|text| unhex(text).ok_or_else(|| error(format!("`{text}` is not 64 hex digits"))))
        .collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()));
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    digits.next().is_none().then_some(bytes)
}

#[derive(Debug)]
struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Pins(pins) => {
                let pin: [u8; 32] = Sha256::digest(spki(end_entity)?.as_ref()).into();
                if !pins.contains(&pin) {
                    let detail = format!(
                        "the server's public key is none of upstream.tls.pins; its pin is {}",
                        super::material::hex(&pin)
                    );
                    return Err(rejected(Fault::ServerPin, detail));
                }
            }
            Trust::Chain { roots, name_too } => {
                let verify = || {
                    let parsed = ParsedCertificate::try_from(end_entity)?;
                    let algorithms = self.algorithms.all;
                    verify_server_cert_signed_by_trust_anchor(
                        &parsed,
                        roots,
                        intermediates,
                        now,
                        algorithms,
                    )?;
                    if *name_too { verify_server_name(&parsed, server_name) } else { Ok(()) }
                };
                verify().map_err(|error| look_closer(error, end_entity))?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
            .map_err(|error| look_closer(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the bare key, so that a pinned certificate may be of any version.
        verify_tls13_signature_with_raw_key(message, &spki(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn spki(der: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    Ok(certificate.public_key().raw.to_vec().into())
}

/// Replaces an error that names no cause by one that does; what other errors say goes to the server
/// as an alert and stays as it is.
fn look_closer(error: rustls::Error, der: &CertificateDer<'_>) -> rustls::Error {
    if !matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(_))) {
        return error;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return error };
    if certificate.version() != X509Version::V3 {
        let detail = "the server's certificate is X.509 version 1, and TLS needs version 3";
        return rejected(Fault::ServerVersion1, detail);
    }
    if certificate.is_ca() {
        let detail = "the server uses a CA certificate (CA:TRUE) as its own";
        return rejected(Fault::ServerIsCa, detail);
    }
    error
}

fn rejected(fault: Fault, detail: impl Into<std::borrow::Cow<'static, str>>) -> rustls::Error {
    let error = TlsError::new(fault, "", detail);
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_64_hex_digits() {
        let good = "00ff".repeat(16);
        assert_eq!(unhex(&good).unwrap()[..2], [0x00, 0xff]);
        assert_eq!(unhex(&good.to_uppercase()), unhex(&good));
        for bad in ["", "00", &good[1..], &format!("{good}0"), &"zz".repeat(32), &"+1".repeat(32)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
        assert_eq!(pins(&[]).unwrap_err().fault, Fault::BadPin);
    }
}
