//! One certificate as plain facts.
//!
//! Owns: [`CertificateFacts`], [`KeyFacts`], the names of algorithms. Never knows: what follows from the facts.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, KeyUsage, X509Name};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::hex::hex;
use crate::base::terminal::is_deceptive;
use crate::tls::error::{Fault, TlsError};
use crate::tls::material::{self, period};

/// Names that are repeated of one certificate.
const NAMES_MAX: usize = 32;
/// Characters that are repeated of one name.
const NAME_CHARS_MAX: usize = 256;

/// The contents of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    pub(super) subject_der: Vec<u8>,
    pub(super) issuer_der: Vec<u8>,
    /// The public key as the certificate has it.
    pub(super) spki: Vec<u8>,
    /// 1 or 3.
    pub version: u32,
    /// Hexadecimal.
    pub serial: String,
    /// The subject alternative names: `DNS:redis`, `IP:10.0.0.1`, `URI:spiffe://…`.
    pub names: Vec<String>,
    /// `ECDSA P-256`, `RSA 2048 bits`.
    pub key: String,
    /// RSA below 2048 bits, a curve that TLS does not use.
    pub weak_key: bool,
    /// `ECDSA with SHA-256`.
    pub signature: String,
    /// MD5 or SHA-1.
    pub weak_signature: bool,
    /// `None`: the extension is absent, and nothing is excluded.
    pub key_usage: Option<Vec<&'static str>>,
    pub extended_key_usage: Option<Vec<&'static str>>,
    /// `CA:TRUE`, `CA:FALSE`, or not in the certificate.
    pub ca: Option<bool>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of the public key, hexadecimal: what `upstream.tls.pins` takes.
    pub pin: String,
}

/// What may be shown of a private key.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// `ECDSA P-256`.
    pub kind: String,
    /// The pin of the public key.
    pub pin: Option<String>,
}

impl CertificateFacts {
    /// # Errors
    ///
    /// When it is damaged.
    pub fn read(der: &[u8], path: &Path) -> Result<Self, TlsError> {
        let parsed = material::parse(der, path)?;
        let unreadable = |what: &str| {
            let detail = format!("the certificate's {what} cannot be read");
            TlsError::new(Fault::BadCertificate, path.display(), detail)
        };
        let usage = parsed.key_usage().map_err(|_| unreadable("key usage"))?;
        let extended = parsed.extended_key_usage().map_err(|_| unreadable("extended key usage"))?;
        let basic = parsed.basic_constraints().map_err(|_| unreadable("basic constraints"))?;
        let names = parsed.subject_alternative_name().map_err(|_| unreadable("subjectAltName"))?;
        let names = names.map(|names| names.value.general_names.iter().map(name).take(NAMES_MAX));
        let (key, weak_key) = key_of(parsed.public_key());
        let (signature, weak_signature) =
            signature_name(&parsed.signature_algorithm.algorithm.to_id_string());
        let (not_before, not_after) = period(&parsed);
        Ok(Self {
            subject: shown_name(parsed.subject()),
            issuer: shown_name(parsed.issuer()),
            subject_der: parsed.subject().as_raw().to_vec(),
            issuer_der: parsed.issuer().as_raw().to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            version: parsed.version().0 + 1,
            serial: hex(parsed.raw_serial()),
            names: names.into_iter().flatten().collect(),
            key,
            weak_key,
            signature,
            weak_signature,
            key_usage: usage.map(|usage| key_usages(usage.value)),
            extended_key_usage: extended.map(|extended| {
                let known = [
                    (extended.value.any, "any"),
                    (extended.value.server_auth, "serverAuth"),
                    (extended.value.client_auth, "clientAuth"),
                    (extended.value.code_signing, "codeSigning"),
                    (extended.value.email_protection, "emailProtection"),
                    (extended.value.time_stamping, "timeStamping"),
                    (extended.value.ocsp_signing, "OCSPSigning"),
                    (!extended.value.other.is_empty(), "others"),
                ];
                known.into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
            }),
            ca: basic.map(|basic| basic.value.ca),
            not_before,
            not_after,
            fingerprint: hex(&Sha256::digest(der)),
            pin: hex(&Sha256::digest(parsed.public_key().raw)),
        })
    }

    /// Whether it may sign others.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.ca == Some(true)
    }

    /// Whether subject and issuer are one.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// Whether it names a host: a DNS name or an address.
    #[must_use]
    pub fn names_a_host(&self) -> bool {
        self.names.iter().any(|name| name.starts_with("DNS:") || name.starts_with("IP:"))
    }

    /// Whether the extended key usage, if there is one, lists `purpose`.
    #[must_use]
    pub fn permits(&self, purpose: &str) -> bool {
        let Some(listed) = &self.extended_key_usage else { return true };
        listed.iter().any(|listed| *listed == purpose || *listed == "any")
    }

    /// Whether the key usage, if there is one, lists one of `usages`.
    #[must_use]
    pub fn has_usage(&self, usages: &[&str]) -> bool {
        self.key_usage.as_ref().is_none_or(|own| own.iter().any(|usage| usages.contains(usage)))
    }
}

/// The kind of the key in a `SubjectPublicKeyInfo`.
pub(super) fn key_kind(spki: &[u8]) -> String {
    let parsed = SubjectPublicKeyInfo::from_der(spki);
    parsed.map_or_else(|_| "of an unknown kind".to_owned(), |(_, spki)| key_of(&spki).0)
}

/// The kind of a public key, and whether TLS refuses it.
fn key_of(spki: &SubjectPublicKeyInfo<'_>) -> (String, bool) {
    match &*spki.algorithm.algorithm.to_id_string() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
            let bits = spki.parsed().map_or(0, |key| key.key_size());
            (format!("RSA {bits} bits"), bits < 2048)
        }
        "1.2.840.10045.2.1" => {
            let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => ("ECDSA P-256".to_owned(), false),
                Some("1.3.132.0.34") => ("ECDSA P-384".to_owned(), false),
                Some("1.3.132.0.35") => ("ECDSA P-521".to_owned(), false),
                _ => ("ECDSA on an unusual curve".to_owned(), true),
            }
        }
        "1.3.101.112" => ("Ed25519".to_owned(), false),
        "1.3.101.113" => ("Ed448".to_owned(), true),
        other => (format!("of the kind {other}"), true),
    }
}

fn signature_name(oid: &str) -> (String, bool) {
    let (name, weak) = match oid {
        "1.2.840.113549.1.1.4" => ("RSA with MD5", true),
        "1.2.840.113549.1.1.5" => ("RSA with SHA-1", true),
        "1.2.840.113549.1.1.10" => ("RSA-PSS", false),
        "1.2.840.113549.1.1.11" => ("RSA with SHA-256", false),
        "1.2.840.113549.1.1.12" => ("RSA with SHA-384", false),
        "1.2.840.113549.1.1.13" => ("RSA with SHA-512", false),
        "1.2.840.10045.4.1" => ("ECDSA with SHA-1", true),
        "1.2.840.10045.4.3.2" => ("ECDSA with SHA-256", false),
        "1.2.840.10045.4.3.3" => ("ECDSA with SHA-384", false),
        "1.2.840.10045.4.3.4" => ("ECDSA with SHA-512", false),
        "1.3.101.112" => ("Ed25519", false),
        other => return (other.to_owned(), false),
    };
    (name.to_owned(), weak)
}

fn key_usages(usage: &KeyUsage) -> Vec<&'static str> {
    let known = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
    ];
    known.into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
}

fn name(name: &GeneralName<'_>) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "others are not used in TLS")]
    match name {
        GeneralName::DNSName(name) => format!("DNS:{}", printable(name)),
        GeneralName::URI(uri) => format!("URI:{}", printable(uri)),
        GeneralName::RFC822Name(name) => format!("email:{}", printable(name)),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => format!("IP:{}", IpAddr::from([*a, *b, *c, *d])),
            long => <[u8; 16]>::try_from(long).map_or_else(
                |_| "an address of an odd length".to_owned(),
                |bytes| format!("IP:{}", IpAddr::from(bytes)),
            ),
        },
        _ => "another kind of name".to_owned(),
    }
}

pub(super) fn shown_name(name: &X509Name<'_>) -> String {
    let text = printable(&name.to_string());
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// What a terminal can show without being moved by it.
fn printable(text: &str) -> String {
    let plain = |c: char| if is_deceptive(c) { '?' } else { c };
    text.chars().take(NAME_CHARS_MAX).map(plain).collect()
}
