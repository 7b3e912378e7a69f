//! respgate's certificate and the names that the server must prove, as the configuration of a TLS client.
//!
//! Owns: [`Identity`] and how a server's certificate is judged. Never knows: files, sockets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

use super::error::{Fault, TlsError};
use super::explain::Offer;
use super::material::{Material, Own, OwnCertificate, Trusted};
use super::peer::permit;
use super::revocation::Revocations;
use super::{provider, version1};
use crate::base::hex::{hex, unhex};
use crate::base::limits;
use crate::config::{self, SanPattern, Verify};

/// Names of a certificate that a text repeats.
const NAMES_MAX: usize = 8;

/// One generation: certificate, key, trust and the tickets earned with them; good for every server, each under the
/// name that it must prove.
#[derive(Clone, Debug)]
pub struct Identity {
    pub client_config: Arc<ClientConfig>,
    /// What handshakes with it offer, for the texts about those that fail.
    pub offer: Offer,
    /// Counts published identities from 1.
    pub generation: u64,
    /// `None` where no client certificate is configured.
    pub client: Option<OwnCertificate>,
    /// The latest end among the trusted authorities; `None` where the server's key is pinned.
    pub ca_not_after: Option<SystemTime>,
    /// When the first list of revoked certificates should be replaced.
    pub next_update: Option<SystemTime>,
    /// SHA-256 of all files the identity was read from.
    pub content_hash: [u8; 32],
}

impl Identity {
    /// Builds a client that presents `material` to the server and trusts what `settings` name, with a
    /// ticket store of its own.
    pub(super) fn build(
        settings: &config::Tls,
        material: Material,
        provider: Arc<rustls::crypto::CryptoProvider>,
        generation: u64,
    ) -> Result<Self, TlsError> {
        let Material { client, trusted, lists, content_hash } = material;
        let next_update = lists.as_ref().and_then(|lists| lists.next_update);
        let ca_not_after = trusted.as_ref().map(|trusted| trusted.not_after);
        let verifier = Arc::new(ServerVerifier {
            trust: Trust::new(settings, trusted)?,
            allowed: settings.allowed_sans.clone(),
            lists,
            algorithms: provider.signature_verification_algorithms,
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(provider::versions(settings.min_version))
            .map_err(|_| TlsError::new(Fault::Refused, "", "no TLS version is left to use"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (mut config, client) = match client {
            None => (builder.with_no_client_auth(), None),
            Some(Own { certified, facts }) => {
                let resolver = SingleCertAndKey::from(certified);
                (builder.with_client_cert_resolver(Arc::new(resolver)), Some(facts))
            }
        };
        config.resumption = Resumption::in_memory_sessions(limits::UPSTREAM_TLS_SESSIONS_MAX);
        Ok(Self {
            client_config: Arc::new(config),
            offer: Offer::new(settings),
            generation,
            client,
            ca_not_after,
            next_update,
            content_hash,
        })
    }
}

/// The name that a server must prove, for the certificate's check and for SNI; IPv6 with or without brackets.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::new(Fault::BadServerName, name, "neither a DNS name nor an IP address")
    })
}

/// What makes a server's certificate good.
#[derive(Debug)]
enum Trust {
    Chain { trusted: Trusted, name_too: bool },
    Pins(Vec<[u8; 32]>),
}

impl Trust {
    fn new(settings: &config::Tls, trusted: Option<Trusted>) -> Result<Self, TlsError> {
        let name_too = match settings.verify {
            Verify::Pin => return Ok(Self::Pins(pins(&settings.pins)?)),
            Verify::Full => true,
            Verify::Ca => false,
        };
        let nothing =
            || TlsError::new(Fault::BadAnchor, "upstream.tls.ca", "no authority is named");
        Ok(Self::Chain { trusted: trusted.ok_or_else(nothing)?, name_too })
    }
}

fn pins(texts: &[String]) -> Result<Vec<[u8; 32]>, TlsError> {
    let error = |detail: String| TlsError::new(Fault::BadPin, "upstream.tls.pins", detail);
    if texts.is_empty() {
        return Err(error("empty, and verify = \"pin\" trusts nothing else".to_owned()));
    }
    texts
        .iter()
        .map(|text| {
            unhex(text.as_bytes()).ok_or_else(|| error(format!("`{text}` is not 64 hex digits")))
        })
        .collect()
}

#[derive(Debug)]
struct ServerVerifier {
    trust: Trust,
    allowed: Vec<SanPattern>,
    lists: Option<Revocations>,
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
                        hex(&pin)
                    );
                    return Err(rejected(Fault::ServerPin, detail));
                }
            }
            Trust::Chain { trusted, name_too: false } if is_version_1(end_entity) => {
                let (_, parsed) = X509Certificate::from_der(end_entity)
                    .map_err(|_| CertificateError::BadEncoding)?;
                let authorities = &trusted.certificates;
                version1::verify_signed(&parsed, end_entity, authorities, &self.algorithms, now)?;
                if self.lists.is_some() {
                    let detail = "the server's certificate is X.509 version 1, which upstream.tls.crl cannot be compared with";
                    return Err(rejected(Fault::ServerStatusUnknown, detail));
                }
            }
            Trust::Chain { trusted, name_too } => {
                let roots = &trusted.roots;
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
                if let Some(lists) = &self.lists {
                    let (anchors, algorithms) = (&roots.roots, &self.algorithms);
                    lists.check_server(end_entity, intermediates, anchors, now, algorithms)?;
                }
            }
        }
        permit(&self.allowed, end_entity, Fault::ServerName, "upstream.tls.allowed_sans")?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the bare key, as below.
        version1::verify_tls12(spki(cert)?.as_ref(), message, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the bare key, so that the certificate may be of any version: it was judged before.
        verify_tls13_signature_with_raw_key(message, &spki(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_version_1(der: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(der);
    parsed.is_ok_and(|(_, certificate)| certificate.version() != X509Version::V3)
}

fn spki(der: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    Ok(certificate.public_key().raw.to_vec().into())
}

/// Replaces an error that names no cause by one that does. Other errors are sent to the server as
/// an alert and stay as they are.
fn look_closer(error: rustls::Error, der: &CertificateDer<'_>) -> rustls::Error {
    if let rustls::Error::InvalidCertificate(
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
    ) = error
    {
        return other_name(&error, der);
    }
    if !matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(_))) {
        return error;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return error };
    if certificate.version() != X509Version::V3 {
        let detail = "the server's certificate is X.509 version 1, which names no host";
        return rejected(Fault::ServerVersion1, detail);
    }
    if certificate.is_ca() {
        let detail = "the server uses a CA certificate (CA:TRUE) as its own";
        return rejected(Fault::ServerIsCa, detail);
    }
    error
}

/// The certificate is for other names than the one that was asked for, or for none.
fn other_name(error: &rustls::Error, der: &CertificateDer<'_>) -> rustls::Error {
    let names = names(der);
    let Some(first) = names.first() else {
        let detail = "the server's certificate names no host (no subjectAltName)";
        return rejected(Fault::ServerNameless, detail);
    };
    let mut asked = String::new();
    if let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        expected,
        ..
    }) = error
    {
        asked = format!(", not for {}", expected.to_str());
    }
    let detail = format!("the server's certificate is for {}{asked}", names.join(", "));
    let advice = format!(
        "connect by one of these names, set upstream.tls.server_name = \"{first}\", or issue the \
         certificate with the name in subjectAltName"
    );
    rejected_error(TlsError::new(Fault::ServerName, "", detail).advise(advice))
}

/// The hosts that a certificate names, as far as they can be printed.
fn names(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return Vec::new() };
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    #[allow(clippy::wildcard_enum_match_arm, reason = "others name no host")]
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if plain(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
            long => <[u8; 16]>::try_from(long).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    found.value.general_names.iter().filter_map(name).take(NAMES_MAX).collect()
}

fn rejected_error(error: TlsError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

fn rejected(fault: Fault, detail: impl Into<std::borrow::Cow<'static, str>>) -> rustls::Error {
    rejected_error(TlsError::new(fault, "", detail))
}

#[cfg(test)]
mod tests {
    use rustls::crypto::CryptoProvider;

    use super::*;

    #[test]
    fn identity_without_a_tls_version_is_refused() {
        let all = provider::provider();
        let provider = CryptoProvider { cipher_suites: Vec::new(), ..(*all).clone() };
        let settings = config::Tls {
            client: None,
            ca: None,
            server_name: None,
            verify: Verify::Pin,
            pins: vec!["00".repeat(32)],
            allowed_sans: Vec::new(),
            revocation: None,
            algorithms: config::Algorithms::default(),
            min_version: config::TlsVersion::V1_2,
        };
        let material = Material { client: None, trusted: None, lists: None, content_hash: [0; 32] };
        let built = Identity::build(&settings, material, Arc::new(provider), 1);
        assert_eq!(built.unwrap_err().fault.code(), "TLS-E018");
    }

    #[test]
    fn pins_are_64_hex_digits() {
        let good = "00ff".repeat(16);
        assert_eq!(unhex::<32>(good.as_bytes()).unwrap()[..2], [0x00, 0xff]);
        assert_eq!(unhex::<32>(good.to_uppercase().as_bytes()), unhex(good.as_bytes()));
        for bad in ["", "00", &good[1..], &format!("{good}0"), &"zz".repeat(32), &"+1".repeat(32)] {
            assert_eq!(unhex::<32>(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(pins(&[]).unwrap_err().fault, Fault::BadPin);
    }
}
