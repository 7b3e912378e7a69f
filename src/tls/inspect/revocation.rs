//! A list of revoked certificates (CRL): whose it is, whether it is genuine, until when it counts, and what is
//! in it.
//!
//! Owns: [`RevocationList`], [`Authenticity`]. Never knows: which certificates are in use, networks.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::{CertificateFacts, shown_name};
use crate::base::hex::hex;
use crate::base::limits;
use crate::base::small_file::{self, Kind};
use crate::config::read_cause;
use crate::tls::{provider, version1};

/// One list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevocationList {
    /// The authority that has made it, by its own words.
    pub issuer: String,
    issuer_der: Vec<u8>,
    /// All of it, as it is signed.
    der: Vec<u8>,
    /// The authority publishes the next one by then.
    pub next_update: Option<SystemTime>,
    serials: BTreeSet<String>,
}

/// Whether a list is by the authority that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authenticity {
    Genuine,
    /// The certificate of the authority is not at hand.
    Unknown,
    /// The authority did not sign these bytes.
    Forged,
    /// The authority signed the list, although its certificate does not permit it to sign lists.
    Unauthorized,
}

impl RevocationList {
    /// Reads a file, PEM or DER.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no such list; in words that hold nothing of it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let wrong = |what: &str| format!("{}: {what}", path.display());
        let bytes = small_file::read(path, limits::PEM_FILE_BYTES_MAX, Kind::Stream)
            .map_err(|error| wrong(&read_cause(&error)))?;
        let pem = CertificateRevocationListDer::from_pem_slice(&bytes);
        let der = pem.as_ref().map_or(&bytes[..], |der| der.as_ref());
        let parsed = CertificateRevocationList::from_der(der);
        let (_, list) =
            parsed.map_err(|_| wrong("it is not a list of revoked certificates (X509 CRL)"))?;
        let next_update = list.next_update().and_then(|time| {
            let seconds = u64::try_from(time.timestamp()).ok()?;
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        });
        Ok(Self {
            issuer: shown_name(list.issuer()),
            issuer_der: list.issuer().as_raw().to_vec(),
            der: der.to_vec(),
            next_update,
            serials: list.iter_revoked_certificates().map(|one| hex(one.raw_serial())).collect(),
        })
    }

    /// Whether one of these certificates is that of the authority that has signed it.
    #[must_use]
    pub(crate) fn authenticity(&self, certificates: &[&CertificateFacts]) -> Authenticity {
        let algorithms = provider::provider().signature_verification_algorithms;
        let mut found = Authenticity::Unknown;
        for authority in certificates.iter().filter(|facts| facts.subject_der == self.issuer_der) {
            if !version1::is_signed_by(&self.der, &authority.spki, &algorithms) {
                found = Authenticity::Forged;
            } else if authority.key_usage.as_ref().is_none_or(|all| all.contains(&"cRLSign")) {
                return Authenticity::Genuine;
            } else {
                return Authenticity::Unauthorized;
            }
        }
        found
    }

    /// Whether it is about certificates of the authority that has issued this one.
    #[must_use]
    pub(crate) fn concerns(&self, certificate: &CertificateFacts) -> bool {
        self.issuer_der == certificate.issuer_der
    }

    #[must_use]
    pub(crate) fn revokes(&self, certificate: &CertificateFacts) -> bool {
        self.concerns(certificate) && self.serials.contains(&certificate.serial)
    }
}
