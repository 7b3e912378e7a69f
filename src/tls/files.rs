//! Certificate, key and CA files, read as one set although somebody may be replacing them.
//!
//! Owns: [`FileSet`]. Never knows: what is in the files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{Fault, TlsError};
use super::stamp::Stamp;
use crate::config;

/// More than any bundle of certificates; a path to something else must not fill the memory.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A set that changes during this many readings in a row is given back as an error.
const READINGS_MAX: u32 = 5;

/// The bytes of one identity and of what it trusts, all of one moment.
pub(super) struct FileSet {
    pub(super) cert: Zeroizing<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) ca: Zeroizing<Vec<u8>>,
    /// SHA-256 over the three, with their lengths.
    pub(super) hash: [u8; 32],
}

impl FileSet {
    /// Reads the set again and again until no file was replaced or written to during the reading:
    /// Kubernetes swaps the directory behind all three at once, others rename them one by one.
    pub(super) fn read(tls: &config::Tls) -> Result<Self, TlsError> {
        for _ in 0..READINGS_MAX {
            let before = stamps(tls)?;
            let set = Self::read_once(tls)?;
            if stamps(tls)? == before {
                return Ok(set);
            }
        }
        Err(TlsError::new(Fault::Unstable, tls.cert.display(), "changes while it is read"))
    }

    fn read_once(tls: &config::Tls) -> Result<Self, TlsError> {
        let (cert, key, ca) = (read(&tls.cert)?, read(&tls.key)?, read(&tls.ca)?);
        let mut hash = Sha256::new();
        for part in [&cert, &key, &ca] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Ok(Self { cert, key, ca, hash: hash.finalize().into() })
    }
}

fn stamps(tls: &config::Tls) -> Result<[Stamp; 3], TlsError> {
    let stamp = |path: &Path| match Stamp::of(path) {
        Ok(stamp) if stamp.is_file => Ok(stamp),
        Ok(_) => Err(TlsError::new(Fault::Unreadable, path.display(), "is not a regular file")),
        Err(error) => Err(unreadable(path, &error)),
    };
    Ok([stamp(&tls.cert)?, stamp(&tls.key)?, stamp(&tls.ca)?])
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let size = file.metadata().map_or(0, |m| m.len()).min(FILE_BYTES_MAX);
    // Grown in place, a buffer would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let detail = format!("is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(TlsError::new(Fault::Unreadable, path.display(), detail));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> TlsError {
    TlsError::new(Fault::Unreadable, path.display(), error.to_string())
}
