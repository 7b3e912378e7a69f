//! PEM files into a certificate chain, its key and the authorities to trust, checked.
//!
//! Owns: [`Material`]. Never knows: who uses it, where the server is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

use super::error::{Fault, TlsError};
use super::files::FileSet;
use crate::config;

/// A certificate may begin this far in the future: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// An identity and what it trusts: parsed, and found usable at one moment.
pub(super) struct Material {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) roots: RootCertStore,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// The earliest end among all certificates of the chain.
    pub(super) chain_not_after: SystemTime,
    /// The latest end among the authorities: an old one may stand beside its successor.
    pub(super) ca_not_after: SystemTime,
    /// SHA-256 of the first certificate, hexadecimal.
    pub(super) fingerprint: String,
    pub(super) content_hash: [u8; 32],
}

impl Material {
    /// # Errors
    ///
    /// The first thing that would keep a server from accepting the identity, as far as files tell.
    pub(super) fn from_files(
        files: &FileSet,
        settings: &config::Tls,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        refuse_swapped(files, settings)?;
        let chain = certificates(&files.cert, &settings.cert)?;
        let key = private_key(&files.key, &settings.key, provider)?;
        let (roots, ca_not_after) = authorities(&files.ca, &settings.ca)?;
        let leaf = chain.first().map_or(&[][..], |der| der.as_ref());
        require_fit(&chain, key.as_ref(), settings)?;
        let parsed = parse(leaf, &settings.cert)?;
        require_client(&parsed, &settings.cert)?;
        let (not_before, not_after) = period(&parsed);
        let mut chain_not_after = not_after;
        for (i, der) in chain.iter().enumerate() {
            let (begin, end) = period(&parse(der, &settings.cert)?);
            require_period(
                begin,
                end,
                now,
                &format!("{}: certificate {}", settings.cert.display(), i + 1),
            )?;
            chain_not_after = chain_not_after.min(end);
        }
        Ok(Self {
            key,
            roots,
            not_before,
            not_after,
            chain_not_after,
            ca_not_after,
            fingerprint: hex(&Sha256::digest(leaf)),
            content_hash: files.hash,
            chain,
        })
    }
}

/// The names in the `-----BEGIN …-----` lines.
fn labels(pem: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .collect()
}

fn is_private_key(label: &&str) -> bool {
    label.ends_with("PRIVATE KEY")
}

fn refuse_swapped(files: &FileSet, settings: &config::Tls) -> Result<(), TlsError> {
    let (cert, key) = (labels(&files.cert), labels(&files.key));
    if !cert.contains(&"CERTIFICATE") && cert.iter().any(is_private_key) {
        let detail = "holds a private key where the certificate should be";
        return Err(TlsError::new(Fault::Swapped, settings.cert.display(), detail));
    }
    if !key.iter().any(is_private_key) && key.contains(&"CERTIFICATE") {
        let detail = "holds a certificate where the private key should be";
        return Err(TlsError::new(Fault::Swapped, settings.key.display(), detail));
    }
    Ok(())
}

/// What a file without the wanted block holds instead, for the error.
fn instead(pem: &[u8]) -> String {
    match labels(pem).as_slice() {
        [] if pem.is_empty() => " (it is empty)".to_owned(),
        [] => " (it is not PEM)".to_owned(),
        found => format!(" (but: {})", found.join(", ")),
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Err(e) => {
            let detail = format!("damaged PEM: {e}");
            Err(TlsError::new(Fault::BadCertificate, path.display(), detail))
        }
        Ok(none) if none.is_empty() => {
            let detail = format!("holds no certificate{}", instead(pem));
            Err(TlsError::new(Fault::NoCertificate, path.display(), detail))
        }
        Ok(all) => Ok(all),
    }
}

fn private_key(
    pem: &[u8],
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsError> {
    let error = |fault, detail: String| Err(TlsError::new(fault, path.display(), detail));
    let encrypted = labels(pem).contains(&"ENCRYPTED PRIVATE KEY")
        || pem.windows(LEGACY_ENCRYPTION.len()).any(|w| w == LEGACY_ENCRYPTION);
    if encrypted {
        return error(Fault::EncryptedKey, "the private key is encrypted".to_owned());
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem);
    let key = match keys.next() {
        None => return error(Fault::NoKey, format!("holds no private key{}", instead(pem))),
        Some(Err(e)) => return error(Fault::BadKey, format!("damaged PEM: {e}")),
        Some(Ok(key)) => key,
    };
    if keys.next().is_some() {
        return error(Fault::BadKey, "holds more than one private key".to_owned());
    }
    match provider.key_provider.load_private_key(key) {
        Ok(key) => Ok(key),
        Err(_) => {
            error(Fault::BadKey, "the private key is damaged or of an unknown kind".to_owned())
        }
    }
}

/// How OpenSSL before PKCS #8 marks an encrypted key (RFC 1421).
const LEGACY_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

fn authorities(pem: &[u8], path: &Path) -> Result<(RootCertStore, SystemTime), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut latest = SystemTime::UNIX_EPOCH;
    for der in certificates(pem, path)? {
        let (_, end) = period(&parse(&der, path)?);
        latest = latest.max(end);
        roots.add(der).map_err(|_| {
            let number = roots.len() + 1;
            let detail = format!("certificate {number} cannot serve as a trust anchor");
            TlsError::new(Fault::BadAnchor, path.display(), detail)
        })?;
    }
    Ok((roots, latest))
}

fn parse<'a>(der: &'a [u8], path: &Path) -> Result<X509Certificate<'a>, TlsError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| {
        TlsError::new(Fault::BadCertificate, path.display(), "the certificate is damaged")
    })?;
    Ok(certificate)
}

/// The key's public half must be the one in the first certificate.
fn require_fit(
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
    settings: &config::Tls,
) -> Result<(), TlsError> {
    let Some(public) = key.public_key() else { return Ok(()) };
    let mut place = None;
    for (i, der) in chain.iter().enumerate() {
        let certificate = parse(der, &settings.cert)?;
        if place.is_none() && certificate.public_key().raw == public.as_ref() {
            place = Some(i);
        }
    }
    match place {
        Some(0) => Ok(()),
        Some(later) => {
            let detail =
                format!("the key belongs to certificate {}, which must come first", later + 1);
            Err(TlsError::new(Fault::ChainOrder, settings.cert.display(), detail))
        }
        None => {
            let detail = format!("does not belong to {}", settings.cert.display());
            Err(TlsError::new(Fault::KeyMismatch, settings.key.display(), detail))
        }
    }
}

fn require_client(certificate: &X509Certificate<'_>, path: &Path) -> Result<(), TlsError> {
    if certificate.version() != X509Version::V3 {
        let detail = "an X.509 version 1 certificate, and TLS needs version 3";
        return Err(TlsError::new(Fault::Version1, path.display(), detail));
    }
    let Ok(usage) = certificate.extended_key_usage() else {
        let detail = "its extended key usage cannot be read";
        return Err(TlsError::new(Fault::BadCertificate, path.display(), detail));
    };
    if usage.is_some_and(|u| !u.value.client_auth && !u.value.any) {
        let detail = "its extended key usage does not allow it to identify a client";
        return Err(TlsError::new(Fault::Usage, path.display(), detail));
    }
    Ok(())
}

fn require_period(
    begin: SystemTime,
    end: SystemTime,
    now: SystemTime,
    place: &str,
) -> Result<(), TlsError> {
    if begin > now + CLOCK_SKEW {
        let detail = format!("is not valid before {}", calendar(begin));
        return Err(TlsError::new(Fault::NotYetValid, place, detail));
    }
    if end <= now {
        let detail = format!("expired on {}", calendar(end));
        return Err(TlsError::new(Fault::Expired, place, detail));
    }
    Ok(())
}

/// Begin and end of a certificate.
pub(super) fn period(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let time = |t: ASN1Time| {
        let seconds = u64::try_from(t.timestamp()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    (time(certificate.validity().not_before), time(certificate.validity().not_after))
}

/// A moment as people write it, in UTC.
pub(super) fn calendar(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds).ok().and_then(|s| ASN1Time::from_timestamp(s).ok());
    time.map_or_else(|| "a distant day".to_owned(), |t| t.to_string())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// When a certificate ends, if it can be read.
#[must_use]
pub fn not_after(der: &[u8]) -> Option<SystemTime> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| period(&certificate).1)
}
