//! What a reload would make of bad files: copies of the real ones in a directory of their own, spoilt one
//! after the other.
//!
//! Owns: [`accepted`]. Never knows: what follows, files that are in use.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::facts::Known;
use crate::base::small_file::{self, Kind};
use crate::base::{clock, limits};
use crate::config::{Authorities, CertificateFiles, Config, Tls, Verify, read_cause};
use crate::tls::TlsStore;
use crate::tls::dev_certs::{Authority, CertRequest, Issued, Role};
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;
use crate::upstream::target::Target;

const DAY: Duration = Duration::from_secs(86_400);

/// The spoilt sets that a reload would accept, each in words.
///
/// # Errors
///
/// Why none could be tried.
pub(super) async fn accepted(config: &Config) -> Known<Vec<&'static str>> {
    let tls = config.upstream.tls.as_ref().ok_or("without TLS there are no files")?;
    let client = tls.client.as_ref().ok_or("there is no client certificate")?;
    let directory = Directory::make()?;
    let (cert, key) = (read(&client.cert)?, read(&client.key)?);
    let copies = Copies::make(&directory.0, tls, &cert, &key)?;
    let store = TlsStore::open(&copies.settings);
    let store = store.map_err(|error| format!("the files are not accepted: {error}"))?;
    let now = clock::wall();
    let stranger = Authority::new("respgate test", now, DAY).map_err(|error| error.to_string())?;
    let expired = issue(&stranger, now - 2 * DAY, now - DAY)?;
    let other = issue(&stranger, now, now + DAY)?;
    let half = cert.get(..cert.len() / 2).unwrap_or_default();
    let mut accepted = Vec::new();
    for (what, cert, key) in [
        ("a certificate that is cut off", half, &key[..]),
        ("the key of another certificate", &cert, other.key.as_bytes()),
        ("an expired certificate", expired.cert.as_bytes(), expired.key.as_bytes()),
    ] {
        copies.put(cert, key)?;
        if store.candidate().is_ok() {
            accepted.push(what);
        }
    }
    copies.put(&cert, &key)?;
    if let Some(ca) = copies.ca.filter(|_| tls.verify != Verify::Pin) {
        write(&ca, stranger.cert().as_bytes())?;
        if accepts_other_authority(config, &store).await {
            accepted.push("another CA");
        }
    }
    Ok(accepted)
}

/// A set is tried at the server before it is in force: there the wrong CA shows.
async fn accepts_other_authority(config: &Config, store: &TlsStore) -> bool {
    let Ok(Some(candidate)) = store.candidate() else { return false };
    let Ok(credentials) = Credentials::open(&config.upstream.auth) else { return false };
    let Ok(target) = Target::of(&config.upstream) else { return false };
    let dialer = Dialer::new(target, &config.upstream, Some(store.clone()), credentials);
    dialer.probe(Some(&candidate), None).await.is_ok()
}

fn issue(authority: &Authority, begin: SystemTime, end: SystemTime) -> Known<Issued> {
    let order = CertRequest::new(Role::Client, "respgate test", &[], begin, DAY);
    let order = CertRequest { not_before: begin, not_after: end, ..order };
    authority.issue(&order).map_err(|error| error.to_string())
}

/// Where copies are written.
struct Copies {
    settings: Tls,
    cert: PathBuf,
    key: PathBuf,
    /// `None` where the authorities are those of the system.
    ca: Option<PathBuf>,
}

impl Copies {
    fn make(directory: &Path, tls: &Tls, cert: &[u8], key: &[u8]) -> Known<Self> {
        let at = |name: &str| directory.join(name);
        let ca = match &tls.ca {
            Some(Authorities::File(path)) => {
                write(&at("ca.crt"), &read(path)?)?;
                Some(at("ca.crt"))
            }
            Some(Authorities::System) | None => None,
        };
        let client = CertificateFiles { cert: at("tls.crt"), key: at("tls.key") };
        let settings = Tls {
            client: Some(client.clone()),
            ca: ca.clone().map(Authorities::File).or_else(|| tls.ca.clone()),
            ..tls.clone()
        };
        let copies = Self { settings, cert: client.cert, key: client.key, ca };
        copies.put(cert, key)?;
        Ok(copies)
    }

    fn put(&self, cert: &[u8], key: &[u8]) -> Known<()> {
        write(&self.cert, cert)?;
        write(&self.key, key)
    }
}

/// A directory that no other user can look into; removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn make() -> Known<Self> {
        let nanos = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("respgate-test-{}-{}", std::process::id(), nanos.as_nanos());
        let path = std::env::temp_dir().join(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        let hint = "TMPDIR names another place";
        made.map_err(|error| format!("{}: {}; {hint}", path.display(), error.kind()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Known<Zeroizing<Vec<u8>>> {
    small_file::read(path, limits::PEM_FILE_BYTES_MAX, Kind::Regular)
        .map_err(|error| format!("{}: {}", path.display(), read_cause(&error)))
}

fn write(path: &Path, bytes: &[u8]) -> Known<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| format!("{}: {}", path.display(), error.kind()))
}
