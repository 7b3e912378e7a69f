//! Settings of TLS towards applications: respgate's certificate, and the certificates that it accepts.
//!
//! Owns: [`ListenerTls`], how it is read. Never knows: certificates, sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::algorithms::TlsVersion;
use super::error::ValueError;
use super::san::SanPattern;
use super::section::{Section, boolean, choice, count, duration, path, strings};
use super::upstream::CertificateFiles;
use super::{Algorithms, Revocation, algorithms, revocation};

/// `[listener.tls]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// What applications are shown.
    pub own: CertificateFiles,
    /// Authorities that may sign certificates of applications; `None` only with [`AskClient::Off`].
    pub client_ca: Option<PathBuf>,
    pub client_auth: AskClient,
    /// A certificate of an application must carry one of these names; none: any name will do.
    pub allowed_sans: Vec<SanPattern>,
    pub revocation: Option<Revocation>,
    pub min_version: TlsVersion,
    pub algorithms: Algorithms,
    /// A handshake that takes longer is ended.
    pub handshake_timeout: Duration,
    /// Handshakes at once; with one more, the oldest is ended.
    pub max_handshakes: usize,
    /// Connections end whose certificate has expired, or is not accepted any more by files that were read again.
    pub recheck: bool,
}

/// Whether applications show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AskClient {
    #[default]
    Require,
    /// One that is shown must be good; none is accepted, too.
    Request,
    Off,
}

impl ListenerTls {
    /// The files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let own = [&*self.own.cert, &*self.own.key].into_iter();
        let crl = self.revocation.iter().map(|revocation| &*revocation.crl);
        own.chain(self.client_ca.as_deref()).chain(crl)
    }
}

pub(super) fn read(at: &Section<'_>) -> Option<ListenerTls> {
    let words =
        [("require", AskClient::Require), ("request", AskClient::Request), ("off", AskClient::Off)];
    let client_auth = at.get("client_auth", choice(&words)).unwrap_or_default();
    let hint = "name the PEM file with the certificate that applications are shown";
    let cert = at.need("cert", hint, path);
    let key = at.need("key", "name the PEM file with the private key of cert", path);
    let client_ca = if client_auth == AskClient::Off {
        let hint = "remove it, or set client_auth to \"require\" or \"request\"";
        for key in
            ["client_ca", "allowed_sans", "crl", "recheck"].into_iter().filter(|key| at.has(key))
        {
            let why =
                "without effect: with client_auth = \"off\" no application shows a certificate";
            at.report(key, ValueError::new(why).hint(hint));
        }
        at.get("client_ca", path)
    } else {
        let hint = "name the PEM file with the authorities that sign certificates of applications, or \
                    set client_auth = \"off\"";
        at.need("client_ca", hint, path)
    };
    let min_version = at
        .get("min_version", choice(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]))
        .unwrap_or_default();
    Some(ListenerTls {
        client_ca,
        client_auth,
        allowed_sans: at.get("allowed_sans", patterns).unwrap_or_default(),
        revocation: revocation::read(at),
        min_version,
        algorithms: algorithms::read(at, min_version),
        handshake_timeout: at.get("handshake_timeout", duration).unwrap_or(HANDSHAKE_TIMEOUT),
        max_handshakes: at.get("max_handshakes", count).unwrap_or(HANDSHAKES),
        recheck: at.get("recheck", boolean).unwrap_or(client_auth != AskClient::Off),
        own: CertificateFiles { cert: cert?, key: key? },
    })
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 256;

/// A list of names of certificates, with `*`.
pub(super) fn patterns(node: &super::tree::Node) -> Result<Vec<SanPattern>, ValueError> {
    strings(node)?.iter().map(|text| SanPattern::parse(text)).collect()
}
