//! Servers whose certificate is X.509 version 1, as `openssl x509 -req` without extensions makes it.
//!
//! Owns: the check of such a certificate against its authority, of a signature by a bare key under anything
//! that is signed as certificates are.
//! Never knows: names (these certificates have none), when it is asked.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whether one of `authorities` has signed `certificate` itself, and it is valid at `now`.
///
/// There are no intermediates here: a version 1 certificate cannot state that its key may sign others.
pub(super) fn verify_signed(
    certificate: &X509Certificate<'_>,
    der: &CertificateDer<'_>,
    authorities: &[CertificateDer<'static>],
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let signed = parts(der).ok_or(CertificateError::BadEncoding)?;
    let mut error = CertificateError::UnknownIssuer;
    for authority in authorities {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { continue };
        if authority.subject().as_raw() != certificate.issuer().as_raw() {
            continue;
        }
        error = CertificateError::BadSignature;
        if signed.is_by(authority.public_key().raw, algorithms) {
            return Ok(());
        }
    }
    Err(error.into())
}

/// Whether the key of `authority` (a `SubjectPublicKeyInfo`) has signed a certificate of any version, or a
/// list of revoked ones.
pub(super) fn is_signed_by(
    der: &[u8],
    authority: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    parts(der).is_some_and(|signed| signed.is_by(authority, algorithms))
}

/// Checks a signature of a TLS 1.2 handshake by the key alone, whatever certificate carries it.
pub(super) fn verify_tls12(
    spki: &[u8],
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let mut known = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme);
    let (_, possible) =
        known.next().ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = key_parts(spki).ok_or(CertificateError::BadEncoding)?;
    let mut fits =
        possible.iter().filter(|known| known.public_key_alg_id().as_ref() == key.algorithm);
    if fits.any(|algorithm| algorithm.verify_signature(key.bits, message, dss.signature()).is_ok())
    {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// A certificate as its signer saw it.
struct Signed<'a> {
    message: &'a [u8],
    /// The contents of the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl Signed<'_> {
    fn is_by(&self, spki: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let Some(key) = key_parts(spki) else { return false };
        let mut fits = algorithms.all.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == key.algorithm
        });
        fits.any(|algorithm| {
            algorithm.verify_signature(key.bits, self.message, self.signature).is_ok()
        })
    }
}

fn parts(der: &[u8]) -> Option<Signed<'_>> {
    let (outer, _) = element(der, SEQUENCE)?;
    let (message, rest) = element(outer.contents, SEQUENCE)?;
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    let (signature, _) = element(rest, BIT_STRING)?;
    Some(Signed {
        message: message.whole,
        algorithm: algorithm.contents,
        signature: whole_bytes(signature.contents)?,
    })
}

struct Key<'a> {
    algorithm: &'a [u8],
    bits: &'a [u8],
}

/// A `SubjectPublicKeyInfo` as verifiers want it.
fn key_parts(spki: &[u8]) -> Option<Key<'_>> {
    let (outer, _) = element(spki, SEQUENCE)?;
    let (algorithm, rest) = element(outer.contents, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    Some(Key { algorithm: algorithm.contents, bits: whole_bytes(bits.contents)? })
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

struct Element<'a> {
    whole: &'a [u8],
    contents: &'a [u8],
}

/// The element at the beginning of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (header, length) = match der {
        [first, short @ 0..=0x7f, ..] if *first == tag => (2, usize::from(*short)),
        [first, 0x81, one, ..] if *first == tag => (3, usize::from(*one)),
        [first, 0x82, high, low, ..] if *first == tag => {
            (4, usize::from(*high) << 8 | usize::from(*low))
        }
        // Lists of revoked certificates are long.
        [first, 0x83, high @ 1..=0xff, middle, low, ..] if *first == tag => {
            (5, usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low))
        }
        _ => return None,
    };
    let (whole, rest) = der.split_at_checked(header + length)?;
    Some((Element { whole, contents: whole.get(header..)? }, rest))
}

/// A bit string whose bits fill its bytes.
fn whole_bytes(contents: &[u8]) -> Option<&[u8]> {
    contents.strip_prefix(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_within_their_bounds() {
        let (own, rest) = element(&[0x30, 2, 7, 8, 9], SEQUENCE).unwrap();
        assert_eq!((own.whole, own.contents, rest), (&[0x30, 2, 7, 8][..], &[7, 8][..], &[9][..]));
        let long = [&[0x30, 0x82, 1, 0][..], &[5; 256]].concat();
        assert_eq!(element(&long, SEQUENCE).unwrap().0.contents, [5; 256]);
        let longer = [&[0x30, 0x83, 1, 0, 2][..], &[5; 0x1_0002]].concat();
        assert_eq!(element(&longer, SEQUENCE).unwrap().0.contents, [5; 0x1_0002]);
        assert_eq!(element(&[0x30, 0x81, 1, 4], SEQUENCE).unwrap().0.contents, [4]);
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 3, 1, 2],
            &[0x31, 0],
            &[0x30, 0x83, 0, 0, 1, 7],
            &[0x30, 0x80],
        ] {
            assert!(element(bad, SEQUENCE).is_none(), "{bad:?}");
        }
        assert_eq!(whole_bytes(&[0, 1]), Some(&[1][..]));
        assert_eq!(whole_bytes(&[3, 1]), None);
    }
}
