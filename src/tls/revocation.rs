//! Lists of revoked certificates in force: read, checked, and compared with a chain.
//!
//! Owns: [`Revocations`]. Never knows: files, the certificates that are checked.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RawPublicKeyEntity, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::error::{Fault, TlsError};
use super::expiry::calendar;
use super::pem::damaged;
use crate::base::limits;
use crate::config::ExpiredCrl;

/// The lists of one file.
#[derive(Debug)]
pub(super) struct Revocations {
    lists: Vec<CertRevocationList<'static>>,
    /// The lists as DER, for a verifier that reads them itself.
    pub(super) ders: Vec<CertificateRevocationListDer<'static>>,
    /// When the first of them should be replaced.
    pub(super) next_update: Option<SystemTime>,
    pub(super) expired: ExpiredCrl,
}

impl Revocations {
    /// # Errors
    ///
    /// When there is no list, one cannot be read, or one has expired that must not.
    pub(super) fn read(
        pem: &[u8],
        path: &Path,
        expired: ExpiredCrl,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let wrong = |detail: String| TlsError::new(Fault::BadList, path.display(), detail);
        let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
        let ders = match all {
            Err(_) => return Err(damaged(Fault::BadList, pem, path)),
            Ok(none) if none.is_empty() => {
                return Err(wrong("holds no list of revoked certificates (X509 CRL)".to_owned()));
            }
            Ok(many) if many.len() > limits::REVOCATION_LISTS_MAX => {
                return Err(wrong(format!(
                    "holds more than {} lists",
                    limits::REVOCATION_LISTS_MAX
                )));
            }
            Ok(all) => all,
        };
        let (mut lists, mut next_update) = (Vec::new(), None::<SystemTime>);
        for (number, der) in (1..).zip(&ders) {
            let unread = || wrong(format!("list {number} cannot be read"));
            let list = OwnedCertRevocationList::from_der(der).map_err(|_| unread())?;
            lists.push(CertRevocationList::from(list));
            let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|_| unread())?;
            let end = parsed.next_update().and_then(|time| u64::try_from(time.timestamp()).ok());
            let Some(end) = end.map(|end| SystemTime::UNIX_EPOCH + Duration::from_secs(end)) else {
                return Err(wrong(format!("list {number} has no nextUpdate")));
            };
            if end <= now && expired == ExpiredCrl::Reject {
                let detail = format!("list {number} has expired at {}", calendar(end));
                return Err(TlsError::new(Fault::ListExpired, path.display(), detail));
            }
            next_update = Some(next_update.map_or(end, |first| first.min(end)));
        }
        Ok(Self { lists, ders, next_update, expired })
    }

    /// Lists that are by none of the authorities would refuse every certificate: at least one authority must have a
    /// list, and a list that names an authority must be signed by it.
    ///
    /// # Errors
    ///
    /// When that is not so.
    pub(super) fn require_authority(
        &self,
        authorities: &[CertificateDer<'_>],
        path: &Path,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), TlsError> {
        let wrong = |detail: String| TlsError::new(Fault::BadList, path.display(), detail);
        let authorities = authorities.iter().filter_map(|der| X509Certificate::from_der(der).ok());
        let authorities: Vec<_> = authorities.map(|(_, certificate)| certificate).collect();
        let mut covered = false;
        for (number, der) in (1..).zip(&self.ders) {
            let Ok((_, list)) = CertificateRevocationList::from_der(der) else { continue };
            let name = list.issuer().as_raw();
            let mut named = authorities.iter().filter(|one| one.subject().as_raw() == name);
            let mut known = named.clone();
            if known.next().is_none() {
                continue;
            }
            if !named.any(|one| has_signed(one, &list, algorithms)) {
                let detail = format!("list {number} is not signed by the authority that it names");
                return Err(wrong(detail).advise(OF_EACH));
            }
            covered = true;
        }
        if covered {
            return Ok(());
        }
        let detail = "none of its lists is by an authority of listener.tls.client_ca: every certificate would be refused";
        Err(wrong(detail.to_owned()).advise(OF_EACH))
    }

    /// Whether a server's chain, which is good otherwise, is on a list.
    pub(super) fn check_server(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), CertificateError> {
        let certificate =
            EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let expiration = match self.expired {
            ExpiredCrl::Reject => ExpirationPolicy::Enforce,
            ExpiredCrl::Accept => ExpirationPolicy::Ignore,
        };
        let options = RevocationOptionsBuilder::new(&lists)
            .map_err(|_| CertificateError::UnknownRevocationStatus)?
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(expiration)
            .build();
        let verified = certificate.verify_for_usage(
            algorithms.all,
            anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            Some(options),
            None,
        );
        match verified {
            Ok(_) => Ok(()),
            Err(Error::CertRevoked) => Err(CertificateError::Revoked),
            Err(Error::CrlExpired { .. }) => Err(CertificateError::ExpiredRevocationList),
            // Whatever keeps a list from being compared: nothing is known.
            Err(_) => Err(CertificateError::UnknownRevocationStatus),
        }
    }
}

const OF_EACH: &str = "put a list of each authority of listener.tls.client_ca into it, and replace both files together";

/// Whether the signature of a list is by the key of an authority.
fn has_signed(
    authority: &X509Certificate<'_>,
    list: &CertificateRevocationList<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(authority.public_key().raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let (signed, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    algorithms.all.iter().any(|one| key.verify_signature(*one, signed, signature).is_ok())
}
