//! What is in PEM files, and what each certificate of them could be used for.
//!
//! Owns: [`Inspection`], the relations between files (signed by, key of). Never knows: connections, how a
//! report looks.

mod certificate;
mod recipe;
mod revocation;
mod verdict;

use std::path::{Path, PathBuf};

use crate::base::hex::hex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::error::{Fault, TlsError};
use super::pem::{self, Block};
use super::{files, material, provider, version1};

pub(crate) use certificate::{CertificateFacts, KeyFacts};
pub use recipe::Recipe;
pub(crate) use revocation::{Authenticity, RevocationList};
pub(crate) use verdict::Verdict;
pub use verdict::{Purpose, verdict};

/// Some files, looked at together.
#[derive(Debug)]
pub struct Inspection {
    pub files: Vec<InspectedFile>,
}

/// One file.
#[derive(Debug)]
pub struct InspectedFile {
    pub path: PathBuf,
    /// The blocks in their order, or why there are none.
    pub blocks: Result<Vec<Item>, TlsError>,
}

/// One block of a file.
#[derive(Debug)]
pub enum Item {
    Certificate(Box<Certificate>),
    /// A private key, of which nothing is known but its public half.
    Key {
        facts: KeyFacts,
        /// The certificate that it belongs to, if that is among the files.
        of: Option<Place>,
    },
    /// A block that is something else, in words, and what to do to come to a certificate or key.
    Other {
        name: &'static str,
        advice: Option<&'static str>,
    },
    /// A block that cannot be used, and why.
    Unusable(TlsError),
}

/// A certificate, and the authority among the other files that signed it.
#[derive(Debug)]
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub facts: CertificateFacts,
    pub signed_by: Signer,
}

impl Certificate {
    /// Whether the key of `authority` has signed it.
    #[must_use]
    pub fn is_signed_by(&self, authority: &CertificateFacts) -> bool {
        let algorithms = provider::provider().signature_verification_algorithms;
        version1::is_signed_by(&self.der, &authority.spki, &algorithms)
    }
}

/// Whose key has signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    Itself,
    Other(Place),
    /// None of the files has the certificate of the issuer.
    Absent,
    /// A certificate of the issuer's name is there, and its key did not sign this one.
    WrongKey(Place),
}

/// A block of a file; blocks count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub block: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, block {}", self.path.display(), self.block)
    }
}

impl Inspection {
    /// Reads the files. Blocks on files.
    #[must_use]
    pub fn read(paths: &[PathBuf]) -> Self {
        let file = |path: &PathBuf| InspectedFile {
            path: path.clone(),
            blocks: files::read(path).and_then(|pem| blocks(&pem, path)),
        };
        Self::relate(paths.iter().map(file).collect())
    }

    /// The certificates that a server showed, as if they were one file.
    #[must_use]
    pub fn of_server(server: &str, chain: &[CertificateDer<'static>]) -> Self {
        let path = PathBuf::from(server);
        let items = chain.iter().map(|der| certificate(der.clone(), &path)).collect();
        Self::relate(vec![InspectedFile { path, blocks: Ok(items) }])
    }

    /// Every certificate with its place.
    pub fn certificates(&self) -> impl Iterator<Item = (Place, &Certificate)> {
        self.items().filter_map(|(place, item)| match item {
            Item::Certificate(certificate) => Some((place, &**certificate)),
            Item::Key { .. } | Item::Other { .. } | Item::Unusable(_) => None,
        })
    }

    /// Every block with its place.
    pub fn items(&self) -> impl Iterator<Item = (Place, &Item)> {
        self.files.iter().flat_map(|file| {
            let items = file.blocks.iter().flatten();
            items.zip(1..).map(|(item, block)| (Place { path: file.path.clone(), block }, item))
        })
    }

    /// Finds the issuer of each certificate, and the certificate of each key.
    fn relate(mut files: Vec<InspectedFile>) -> Self {
        let whole = Self { files: std::mem::take(&mut files) };
        let signers: Vec<Signer> =
            whole.certificates().map(|(_, certificate)| whole.signer(certificate)).collect();
        let owners: Vec<Option<Place>> = whole
            .items()
            .filter_map(|(_, item)| match item {
                Item::Key { facts, .. } => Some(whole.owner(facts)),
                Item::Certificate(_) | Item::Other { .. } | Item::Unusable(_) => None,
            })
            .collect();
        let mut files = whole.files;
        let (mut signers, mut owners) = (signers.into_iter(), owners.into_iter());
        for item in files.iter_mut().flat_map(|file| file.blocks.iter_mut().flatten()) {
            match item {
                Item::Certificate(certificate) => {
                    certificate.signed_by = signers.next().unwrap_or(Signer::Absent);
                }
                Item::Key { of, .. } => *of = owners.next().flatten(),
                Item::Other { .. } | Item::Unusable(_) => {}
            }
        }
        Self { files }
    }

    fn signer(&self, certificate: &Certificate) -> Signer {
        let is_by = |other: &Certificate| certificate.is_signed_by(&other.facts);
        if certificate.facts.is_self_issued() && is_by(certificate) {
            return Signer::Itself;
        }
        let mut namesakes = self
            .certificates()
            .filter(|(_, c)| c.facts.subject_der == certificate.facts.issuer_der);
        let mut wrong = Signer::Absent;
        namesakes
            .find_map(|(place, other)| {
                if is_by(other) {
                    return Some(Signer::Other(place));
                }
                if other.der != certificate.der {
                    wrong = Signer::WrongKey(place);
                }
                None
            })
            .unwrap_or(wrong)
    }

    fn owner(&self, key: &KeyFacts) -> Option<Place> {
        let pin = key.pin.as_ref()?;
        self.certificates().find(|(_, c)| c.facts.pin == *pin).map(|(place, _)| place)
    }
}

fn blocks(pem: &[u8], path: &Path) -> Result<Vec<Item>, TlsError> {
    let parts = pem::parts(pem);
    if parts.is_empty() {
        let (what, fix) = pem::damage(pem);
        let detail = format!("holds no PEM block: {what}");
        return Err(TlsError::new(Fault::NoCertificate, path.display(), detail).advise(fix));
    }
    let item = |(block, pem): (Block, &[u8])| match block {
        Block::Certificate => match CertificateDer::from_pem_slice(pem) {
            Ok(der) => certificate(der, path),
            Err(_) => Item::Unusable(pem::damaged(Fault::BadCertificate, pem, path)),
        },
        Block::Key | Block::EncryptedKey => key(pem, path),
        Block::TrustedCertificate
        | Block::Request
        | Block::RevocationList
        | Block::PublicKey
        | Block::OpenSsh
        | Block::Parameters
        | Block::Pkcs7
        | Block::Other => Item::Other { name: block.name(), advice: block.advice() },
    };
    Ok(parts.into_iter().map(item).collect())
}

fn certificate(der: CertificateDer<'static>, path: &Path) -> Item {
    match CertificateFacts::read(&der, path) {
        Ok(facts) => {
            let signed_by = Signer::Absent;
            Item::Certificate(Box::new(Certificate { der, facts, signed_by }))
        }
        Err(error) => Item::Unusable(error),
    }
}

fn key(pem: &[u8], path: &Path) -> Item {
    match material::private_key(pem, path, &provider::provider()) {
        Ok(key) => {
            let spki = key.public_key();
            let facts = match &spki {
                Some(spki) => KeyFacts {
                    kind: certificate::key_kind(spki),
                    pin: Some(hex(&Sha256::digest(spki.as_ref()))),
                },
                None => KeyFacts { kind: "of an unknown kind".to_owned(), pin: None },
            };
            Item::Key { facts, of: None }
        }
        Err(error) => Item::Unusable(error),
    }
}
