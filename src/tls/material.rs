//! PEM files into a certificate chain, its key and the authorities to trust, checked.
//!
//! Owns: [`Material`], [`OwnCertificate`]. Never knows: its use, where the server is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

use super::error::{Fault, TlsError};
use super::expiry::calendar;
use super::files::{self, AuthorityFiles, FileSet, ListFile, OwnFiles};
use super::pem::{self, Block, damaged};
use super::revocation::Revocations;
use crate::base::hex::hex;
use crate::base::limits;
use crate::config::{Authorities, CertificateFiles};

/// An identity and what it trusts: parsed, and found usable at one moment.
pub(super) struct Material {
    pub(super) client: Option<Own>,
    pub(super) trusted: Option<Trusted>,
    pub(super) lists: Option<Revocations>,
    pub(super) content_hash: [u8; 32],
}

/// A certificate of respgate's own with its key.
pub(super) struct Own {
    pub(super) certified: CertifiedKey,
    pub(super) facts: OwnCertificate,
}

/// What respgate's own certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To identify respgate to the server.
    Client,
    /// To identify respgate to applications.
    Server,
}

/// What is known of a certificate of respgate's own that is in use.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// The earliest end among the certificate and its intermediates.
    pub chain_not_after: SystemTime,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// The certificate itself, DER.
    pub leaf: Vec<u8>,
}

/// The authorities that may sign a server's certificate.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) roots: RootCertStore,
    /// The certificates of the authorities, whole.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The latest end among them: an old one may be beside its successor.
    pub(super) not_after: SystemTime,
}

impl Material {
    /// # Errors
    ///
    /// The first thing that would keep a server from accepting the identity, as far as files show.
    pub(super) fn from_files(
        files: &FileSet<'_>,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let own = |files| own(files, Purpose::Client, provider, now);
        let client = files.own.as_ref().map(own).transpose()?;
        let trusted = files.ca.as_ref().map(|ca| match ca {
            AuthorityFiles::File { path, pem } => authorities(pem, path),
            AuthorityFiles::System(all) => Ok(public_authorities(all)),
        });
        let (trusted, lists) = (trusted.transpose()?, lists(files, now)?);
        Ok(Self { client, trusted, lists, content_hash: files.hash })
    }
}

pub(super) fn own(
    files: &OwnFiles<'_>,
    purpose: Purpose,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Own, TlsError> {
    let path = files.paths.cert.as_path();
    if files.paths.cert == files.paths.key {
        require_both(files)?;
    } else {
        refuse_swapped(files)?;
    }
    let chain = certificates(&files.cert, path)?;
    let key = private_key(&files.key, &files.paths.key, provider)?;
    require_fit(&chain, key.as_ref(), files.paths)?;
    let leaf = chain.first().map_or(&[][..], |der| der.as_ref());
    let parsed = parse(leaf, path)?;
    require_usage(&parsed, purpose, path)?;
    let (not_before, not_after) = period(&parsed);
    let mut chain_not_after = not_after;
    for (i, der) in chain.iter().enumerate() {
        let (begin, end) = period(&parse(der, path)?);
        require_period(begin, end, now, &format!("{}: certificate {}", path.display(), i + 1))?;
        chain_not_after = chain_not_after.min(end);
    }
    let fingerprint = hex(&Sha256::digest(leaf));
    let facts =
        OwnCertificate { not_before, not_after, chain_not_after, fingerprint, leaf: leaf.to_vec() };
    Ok(Own { certified: CertifiedKey::new(chain, key), facts })
}

/// The lists of revoked certificates of a set.
pub(super) fn lists(files: &FileSet<'_>, now: SystemTime) -> Result<Option<Revocations>, TlsError> {
    let read = |file: &ListFile<'_>| {
        Revocations::read(&file.pem, &file.settings.crl, file.settings.expired, now)
    };
    files.lists.as_ref().map(read).transpose()
}

fn refuse_swapped(files: &OwnFiles<'_>) -> Result<(), TlsError> {
    let (cert, key) = (pem::blocks(&files.cert), pem::blocks(&files.key));
    let private = |blocks: &[Block]| {
        blocks.iter().any(|block| matches!(block, Block::Key | Block::EncryptedKey))
    };
    if !cert.contains(&Block::Certificate) && private(&cert) {
        let detail = "holds a private key where the certificate should be";
        return Err(TlsError::new(Fault::Swapped, files.paths.cert.display(), detail));
    }
    if !private(&key) && key.contains(&Block::Certificate) {
        let detail = "holds a certificate where the private key should be";
        return Err(TlsError::new(Fault::Swapped, files.paths.key.display(), detail));
    }
    Ok(())
}

/// One file for both must hold both, whole.
fn require_both(files: &OwnFiles<'_>) -> Result<(), TlsError> {
    const FIX: &str = "write certificate and key under another name, and rename that file over this one, so that no \
        part of it is read alone; a running respgate keeps what is in force, and reads the file again when it changes";
    let parts = pem::parts(&files.cert);
    let private = |block: Block| matches!(block, Block::Key | Block::EncryptedKey);
    let has = |wanted: &dyn Fn(Block) -> bool| parts.iter().any(|(block, _)| wanted(*block));
    let (key, certificate) = (has(&private), has(&|block| block == Block::Certificate));
    let cut = parts.iter().find(|(_, bytes)| !pem::is_whole(bytes)).map(|(block, _)| *block);
    let (fault, detail) = match cut {
        Some(block) if private(block) => (Fault::BadKey, "its private key is cut off"),
        Some(Block::Certificate) => (Fault::BadCertificate, "a certificate in it is cut off"),
        Some(_) | None if certificate && !key => (Fault::NoKey, "it holds no private key"),
        Some(_) | None if key && !certificate => (Fault::NoCertificate, "it holds no certificate"),
        Some(_) | None => return Ok(()),
    };
    let detail = format!("cert and key are this one file, and a part of it is missing: {detail}");
    Err(TlsError::new(fault, files.paths.cert.display(), detail).advise(FIX))
}

/// Why a file does not hold what is `wanted`: of the file itself nothing is repeated.
fn without(wanted: &str, fault: Fault, pem: &[u8], path: &Path) -> TlsError {
    let error = |detail: String| TlsError::new(fault, path.display(), detail);
    let found = pem::blocks(pem);
    let Some(first) = found.iter().find(|block| block.advice().is_some()).or_else(|| found.first())
    else {
        let (what, fix) = pem::damage(pem);
        return error(format!("holds no {wanted}: {what}")).advise(fix);
    };
    let error = error(format!("holds no {wanted}, but {}", first.name()));
    match first.advice() {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    // The library's errors quote their input.
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Err(_) => Err(damaged(Fault::BadCertificate, pem, path)),
        Ok(none) if none.is_empty() => Err(without("certificate", Fault::NoCertificate, pem, path)),
        Ok(all) => Ok(all),
    }
}

pub(super) fn private_key(
    pem: &[u8],
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsError> {
    let error = |fault, detail: &'static str| Err(TlsError::new(fault, path.display(), detail));
    let encrypted = pem::blocks(pem).contains(&Block::EncryptedKey)
        || pem.windows(LEGACY_ENCRYPTION.len()).any(|w| w == LEGACY_ENCRYPTION);
    if encrypted {
        return error(Fault::EncryptedKey, "the private key is encrypted");
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem);
    let key = match keys.next() {
        None => return Err(without("private key", Fault::NoKey, pem, path)),
        Some(Err(_)) => return Err(damaged(Fault::BadKey, pem, path)),
        Some(Ok(key)) => key,
    };
    if keys.next().is_some() {
        return error(Fault::BadKey, "holds more than one private key");
    }
    let der = key.secret_der();
    let certificate = X509Certificate::from_der(der).is_ok();
    // A key of another form than that of its BEGIN line.
    let other = PrivateKeyDer::try_from(der).ok().map(|key| key.clone_key());
    match provider.key_provider.load_private_key(key) {
        Ok(key) => Ok(key),
        Err(_) if certificate => {
            error(Fault::BadKey, "the block named PRIVATE KEY holds a certificate")
        }
        Err(_) if other.is_some_and(|key| provider.key_provider.load_private_key(key).is_ok()) => {
            let detail = "the name in its line BEGIN is not that of the key's form";
            let fix = "write it anew with: openssl pkey -in FILE -out FILE.pem; or name the block RSA PRIVATE KEY (PKCS #1), EC PRIVATE KEY (SEC 1) or PRIVATE KEY (PKCS #8)";
            Err(TlsError::new(Fault::BadKey, path.display(), detail).advise(fix))
        }
        Err(_) => error(Fault::BadKey, "the private key is damaged or of an unknown kind"),
    }
}

/// How OpenSSL before PKCS #8 marks an encrypted key (RFC 1421).
const LEGACY_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// The authorities of a file or of the system, for a connection without an identity of its own.
///
/// # Errors
///
/// When they cannot be read, or one of the file is no authority.
pub(crate) fn roots(from: &Authorities) -> Result<RootCertStore, TlsError> {
    Ok(match from {
        Authorities::File(path) => authorities(&files::read(path)?, path)?.roots,
        Authorities::System => public_authorities(&files::system()?).roots,
    })
}

pub(super) fn authorities(pem: &[u8], path: &Path) -> Result<Trusted, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut not_after = SystemTime::UNIX_EPOCH;
    let mut any_signs = false;
    let certificates = certificates(pem, path)?;
    for (number, der) in (1..).zip(&certificates) {
        let parsed = parse(der, path)?;
        any_signs |= may_sign(&parsed);
        not_after = not_after.max(period(&parsed).1);
        roots.add(der.clone()).map_err(|_| {
            let detail = format!("certificate {number} cannot serve as a trust anchor");
            TlsError::new(Fault::BadAnchor, path.display(), detail)
        })?;
    }
    if !any_signs {
        let detail = "none of its certificates is that of an authority (CA:TRUE)";
        let fix = "name the certificate of the authority, not one that it has signed";
        return Err(TlsError::new(Fault::BadAnchor, path.display(), detail).advise(fix));
    }
    Ok(Trusted { roots, certificates, not_after })
}

/// Whether other certificates may be signed with the key of this one, which version 1 does not state. A certificate
/// that has signed itself can be trusted alone.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let signs_itself = certificate.subject().as_raw() == certificate.issuer().as_raw();
    certificate.version() != X509Version::V3 || certificate.is_ca() || signs_itself
}

/// The authorities of the system that can be read; an invalid one among them is skipped.
fn public_authorities(all: &[CertificateDer<'static>]) -> Trusted {
    let mut roots = RootCertStore::empty();
    let (_, _) = roots.add_parsable_certificates(all.iter().cloned());
    let ends = all.iter().filter_map(|der| not_after(der));
    let not_after = ends.max().unwrap_or(SystemTime::UNIX_EPOCH);
    Trusted { roots, certificates: all.to_vec(), not_after }
}

pub(super) fn parse<'a>(der: &'a [u8], path: &Path) -> Result<X509Certificate<'a>, TlsError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| {
        TlsError::new(Fault::BadCertificate, path.display(), "the certificate is damaged")
    })?;
    Ok(certificate)
}

/// The key's public half must be the one in the first certificate.
fn require_fit(
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
    paths: &CertificateFiles,
) -> Result<(), TlsError> {
    let Some(public) = key.public_key() else { return Ok(()) };
    let mut place = None;
    for (i, der) in chain.iter().enumerate() {
        let certificate = parse(der, &paths.cert)?;
        if place.is_none() && certificate.public_key().raw == public.as_ref() {
            place = Some(i);
        }
    }
    match place {
        Some(0) => Ok(()),
        Some(later) => {
            let detail =
                format!("the key belongs to certificate {}, which must come first", later + 1);
            Err(TlsError::new(Fault::ChainOrder, paths.cert.display(), detail))
        }
        None => {
            let (cert, key) = (paths.cert.display(), paths.key.display());
            let detail = format!("does not belong to {cert}");
            let fix = format!(
                "these two must print the same: openssl x509 -in {cert} -noout -pubkey; \
                 openssl pkey -in {key} -pubout"
            );
            Err(TlsError::new(Fault::KeyMismatch, key, detail).advise(fix))
        }
    }
}

/// X.509 version 1 certificates pass: a peer that takes them (OpenSSL does) decides about them.
fn require_usage(
    certificate: &X509Certificate<'_>,
    purpose: Purpose,
    path: &Path,
) -> Result<(), TlsError> {
    let Ok(usage) = certificate.extended_key_usage() else {
        let detail = "its extended key usage cannot be read";
        return Err(TlsError::new(Fault::BadCertificate, path.display(), detail));
    };
    let Some(usage) = usage.map(|usage| usage.value) else { return Ok(()) };
    match purpose {
        Purpose::Client if !usage.client_auth && !usage.any => {
            let detail = "its extended key usage does not allow it to identify a client";
            Err(TlsError::new(Fault::Usage, path.display(), detail))
        }
        Purpose::Server if !usage.server_auth && !usage.any => {
            let detail = "its extended key usage does not allow it to identify a server";
            let fix = "issue it with extendedKeyUsage=serverAuth, or without extendedKeyUsage";
            Err(TlsError::new(Fault::Usage, path.display(), detail).advise(fix))
        }
        Purpose::Client | Purpose::Server => Ok(()),
    }
}

fn require_period(
    begin: SystemTime,
    end: SystemTime,
    now: SystemTime,
    place: &str,
) -> Result<(), TlsError> {
    if begin > now + limits::CLOCK_SKEW {
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

/// When a certificate ends, if it can be read.
#[must_use]
pub(crate) fn not_after(der: &[u8]) -> Option<SystemTime> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| period(&certificate).1)
}
