//! The certificate of an application: is it accepted, which names does it carry.
//!
//! Owns: [`Peer`], [`ClientVerifier`]. Never knows: files, sockets, which user a name belongs to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier as Verifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

use super::error::{Fault, TlsError};
use super::material::period;
use super::revocation::Revocations;
use crate::base::hex::hex;
use crate::base::limits;
use crate::config::{AskClient, ExpiredCrl, ListenerTls, San, SanPattern};

/// What is known of an application by its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The names of subjectAltName, then the common name.
    pub names: Vec<San>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    pub not_after: SystemTime,
}

impl Peer {
    /// `None`: it cannot be read.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (_, not_after) = period(&certificate);
        Some(Self { names: names(&certificate), fingerprint: hex(&Sha256::digest(der)), not_after })
    }
}

/// What can be printed on one line and compared byte by byte; other names are as if they were not there.
fn names(certificate: &X509Certificate<'_>) -> Vec<San> {
    let plain = |name: &str| {
        name.len() <= limits::PEER_NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    #[allow(clippy::wildcard_enum_match_arm, reason = "others identify nothing here")]
    let one = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if plain(name) => Some(San::Dns((*name).to_owned())),
        GeneralName::URI(uri) if plain(uri) && is_sound(uri) => Some(San::Uri((*uri).to_owned())),
        GeneralName::IPAddress(bytes) => address(bytes).map(San::Ip),
        _ => None,
    };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let found = alternative.iter().flat_map(|found| &found.value.general_names);
    let mut names: Vec<San> = found.filter_map(one).take(limits::PEER_NAMES_MAX).collect();
    let mut common = certificate.subject().iter_common_name();
    // With more than one, no standard defines which counts.
    if let (Some(name), None) = (common.next(), common.next())
        && let Ok(name) = name.as_str()
        && name.len() <= limits::PEER_NAME_BYTES_MAX
        && !name.contains(char::is_control)
    {
        names.push(San::CommonName(name.to_owned()));
    }
    names
}

/// Whether a SPIFFE ID is one (SPIFFE-ID, section 2): with `..` or `%2F` in it, a program that resolves it
/// as a URI sees another path than one that compares it. Other URIs have rules of their own.
fn is_sound(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return true };
    if !scheme.eq_ignore_ascii_case("spiffe") {
        return true;
    }
    let part = |part: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(letters)
    };
    scheme == "spiffe" && rest.split('/').all(part)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match *bytes {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// Checks the chain first, then the names.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chain: Arc<dyn Verifier>,
    allowed: Vec<SanPattern>,
}

impl ClientVerifier {
    pub(super) fn new(
        settings: &ListenerTls,
        roots: RootCertStore,
        lists: Option<Revocations>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match settings.client_auth {
            AskClient::Request => builder.allow_unauthenticated(),
            AskClient::Require | AskClient::Off => builder,
        };
        let builder = match lists {
            None => builder,
            Some(Revocations { ders, expired: ExpiredCrl::Accept, .. }) => builder.with_crls(ders),
            Some(Revocations { ders, expired: ExpiredCrl::Reject, .. }) => {
                builder.with_crls(ders).enforce_revocation_expiration()
            }
        };
        let chain = builder.build().map_err(|_| {
            TlsError::new(Fault::BadAnchor, "listener.tls.client_ca", "no authority is named")
        })?;
        Ok(Self { chain, allowed: settings.allowed_sans.clone() })
    }
}

/// Whether a certificate has one of the names that are allowed; where none is listed, any will do.
pub(super) fn permit(
    allowed: &[SanPattern],
    der: &CertificateDer<'_>,
    fault: Fault,
    key: &str,
) -> Result<(), rustls::Error> {
    if allowed.is_empty() {
        return Ok(());
    }
    let peer = Peer::of(der).ok_or(CertificateError::BadEncoding)?;
    let fits = |name: &San| allowed.iter().any(|pattern| pattern.fits(name));
    if peer.names.iter().any(fits) {
        return Ok(());
    }
    let shown: Vec<String> = peer.names.iter().take(8).map(San::to_string).collect();
    let shown = if shown.is_empty() { "no name".to_owned() } else { shown.join(", ") };
    let detail = format!("the certificate has {shown}, none of them in {key}");
    Err(rejected(TlsError::new(fault, "", detail)))
}

fn rejected(error: TlsError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// Names the cause where the library has none.
fn look_closer(error: rustls::Error, der: &CertificateDer<'_>) -> rustls::Error {
    if !matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(_))) {
        return error;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return error };
    let refused = |detail| rejected(TlsError::new(Fault::PeerCertificate, "", detail));
    if certificate.version() != X509Version::V3 {
        return refused("the certificate is X.509 version 1");
    }
    if certificate.is_ca() {
        return refused("the certificate is that of a CA (CA:TRUE)");
    }
    error
}

impl Verifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| look_closer(error, end_entity))?;
        permit(&self.allowed, end_entity, Fault::PeerName, "listener.tls.allowed_sans")?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Whether a session that is resumed is by a certificate that has ended since: nothing else looks at it again.
pub(super) fn has_ended(peer: &Peer, now: SystemTime) -> bool {
    now.duration_since(peer.not_after).is_ok_and(|since| since > Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_id_that_is_none_is_no_name() {
        for (uri, sound) in [
            ("spiffe://prod", true),
            ("spiffe://prod/ns/a/sa/app-1_x.y", true),
            ("spiffe://prod/ns/../sa/app", false),
            ("spiffe://prod/ns/./sa/app", false),
            ("spiffe://prod/ns//sa/app", false),
            ("spiffe://prod/ns/%2f/sa/app", false),
            ("spiffe://prod/ns/a/sa/app/", false),
            ("spiffe://prod/ns/a/sa/app?x", false),
            ("spiffe://prod:443/a", false),
            ("spiffe://user@prod/a", false),
            ("SPIFFE://prod/a", false),
            ("https://prod/a/../b?c", true),
            ("urn:uuid:1", true),
        ] {
            assert_eq!(is_sound(uri), sound, "{uri}");
        }
    }
}
