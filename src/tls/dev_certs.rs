//! A certificate authority for an afternoon: the certificates of `respgate demo` and of tests.
//!
//! Owns: [`Authority`], [`Issued`]. Never knows: production.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};

use crate::base::limits;

/// The purpose of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// What is asked of an authority; the fields that `new` does not set make deliberately odd ones.
#[derive(Clone, Debug)]
pub struct CertRequest {
    pub role: Role,
    pub common_name: String,
    /// DNS names, IP addresses and URIs.
    pub names: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// Issued with `CA:TRUE`.
    pub as_authority: bool,
}

impl CertRequest {
    /// A certificate for `common_name` and `names`, valid from a minute before `now` for `lifetime`.
    #[must_use]
    pub fn new(
        role: Role,
        common_name: &str,
        names: &[&str],
        now: SystemTime,
        lifetime: Duration,
    ) -> Self {
        Self {
            role,
            common_name: common_name.to_owned(),
            names: names.iter().map(|&n| n.to_owned()).collect(),
            not_before: now - limits::CLOCK_SKEW,
            not_after: now + lifetime,
            as_authority: false,
        }
    }
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    pub cert: String,
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes `NAME.crt` (mode 0644) and `NAME.key` (mode 0600) and returns where they are.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> std::io::Result<(PathBuf, PathBuf)> {
        let cert = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        write_with_mode(&cert, &self.cert, 0o644)?;
        write_with_mode(&key, &self.key, 0o600)?;
        Ok((cert, key))
    }
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options.open(path)?.write_all(text.as_bytes())
}

/// A certificate authority whose key lives as long as the value, unless written out.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// Makes an authority (ECDSA P-256) that signs itself.
    ///
    /// # Errors
    ///
    /// When the key cannot be made.
    pub fn new(
        common_name: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_period(&mut params, now - limits::CLOCK_SKEW, now + lifetime);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self(CertifiedIssuer::self_signed(params, key)?))
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn cert(&self) -> String {
        self.0.pem()
    }

    /// Its certificate and key, for tools that sign by themselves.
    #[must_use]
    pub fn issued(&self) -> Issued {
        Issued { cert: self.cert(), key: self.0.key().serialize_pem() }
    }

    /// Signs a certificate for a key made on the way.
    ///
    /// # Errors
    ///
    /// When a name is not a name or the key cannot be made.
    pub fn issue(&self, order: &CertRequest) -> Result<Issued, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, order.common_name.as_str());
        for name in &order.names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) if name.contains("://") => SanType::URI(name.as_str().try_into()?),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match order.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.is_ca = if order.as_authority {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        params.use_authority_key_identifier_extension = true;
        set_period(&mut params, order.not_before, order.not_after);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = params.signed_by(&key, &self.0)?;
        Ok(Issued { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn set_period(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let since_epoch = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Certificates carry whole seconds.
    let whole = |t| Duration::from_secs(since_epoch(t).as_secs());
    params.not_before = date_time_ymd(1970, 1, 1) + whole(not_before);
    params.not_after = date_time_ymd(1970, 1, 1) + whole(not_after);
}

/// The files of a working pair of server and client.
#[derive(Clone, Debug)]
pub struct Files {
    pub ca: PathBuf,
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
}

/// Makes an authority, a server certificate for `server_names` and a client certificate for
/// `client_name`, and writes all but the authority's key into `directory`.
///
/// # Errors
///
/// When a name is not a name or a file cannot be written.
pub fn write_all(
    directory: &Path,
    server_names: &[&str],
    client_name: &str,
    now: SystemTime,
    lifetime: Duration,
) -> std::io::Result<Files> {
    let make = || -> Result<(Authority, Issued, Issued), rcgen::Error> {
        let ca = Authority::new("respgate throwaway CA", now, lifetime)?;
        let common_name = server_names.first().copied().unwrap_or("server");
        let server =
            ca.issue(&CertRequest::new(Role::Server, common_name, server_names, now, lifetime))?;
        let client =
            ca.issue(&CertRequest::new(Role::Client, client_name, &[client_name], now, lifetime))?;
        Ok((ca, server, client))
    };
    let (authority, server, client) = make().map_err(std::io::Error::other)?;
    let ca = directory.join("ca.crt");
    write_with_mode(&ca, &authority.cert(), 0o644)?;
    let (server_cert, server_key) = server.write(directory, "server")?;
    let (client_cert, client_key) = client.write(directory, "client")?;
    Ok(Files { ca, server_cert, server_key, client_cert, client_key })
}
