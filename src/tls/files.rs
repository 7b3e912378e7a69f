//! Certificate, key and CA files, read as one set although they may be replaced meanwhile.
//!
//! Owns: [`FileSet`]. Never knows: what is in the files.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{Fault, TlsError};
use super::file_state::FileState;
use crate::base::limits;
use crate::base::small_file::{self, Kind, ReadError};
use crate::config::{self, Authorities, CertificateFiles, Revocation};

/// The bytes of one identity and of what it trusts, all of one moment.
pub(super) struct FileSet<'a> {
    pub(super) own: Option<OwnFiles<'a>>,
    pub(super) ca: Option<AuthorityFiles<'a>>,
    pub(super) lists: Option<ListFile<'a>>,
    /// SHA-256 over all of them, with their lengths.
    pub(super) hash: [u8; 32],
}

/// A certificate and its key, with the places they are from.
pub(super) struct OwnFiles<'a> {
    pub(super) paths: &'a CertificateFiles,
    pub(super) cert: Zeroizing<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// Lists of revoked certificates.
pub(super) struct ListFile<'a> {
    pub(super) settings: &'a Revocation,
    pub(super) pem: Zeroizing<Vec<u8>>,
}

/// The trusted authorities.
pub(super) enum AuthorityFiles<'a> {
    File { path: &'a Path, pem: Zeroizing<Vec<u8>> },
    System(Vec<CertificateDer<'static>>),
}

/// What was read while the state did not change; `None` when it has changed in every reading.
fn settled<S: PartialEq, T>(
    mut state: impl FnMut() -> Result<S, TlsError>,
    mut read: impl FnMut() -> Result<T, TlsError>,
) -> Result<Option<T>, TlsError> {
    for _ in 0..limits::PEM_READINGS_MAX {
        let before = state()?;
        let set = read()?;
        if state()? == before {
            return Ok(Some(set));
        }
    }
    Ok(None)
}

/// The files that make one set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths<'a> {
    pub(super) own: Option<&'a CertificateFiles>,
    pub(super) ca: Option<Source<'a>>,
    pub(super) lists: Option<&'a Revocation>,
}

/// Where authorities are from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    File(&'a Path),
    System,
}

impl<'a> Paths<'a> {
    pub(super) fn of(tls: &'a config::Tls) -> Self {
        let ca = tls.ca.as_ref().map(|ca| match ca {
            Authorities::File(path) => Source::File(path),
            Authorities::System => Source::System,
        });
        Self { own: tls.client.as_ref(), ca, lists: tls.revocation.as_ref() }
    }

    pub(super) fn of_listener(tls: &'a config::ListenerTls) -> Self {
        let ca = tls.client_ca.as_deref().map(Source::File);
        Self { own: Some(&tls.own), ca, lists: tls.revocation.as_ref() }
    }

    fn all(self) -> impl Iterator<Item = &'a Path> {
        let own = self.own.into_iter().flat_map(|own| [&*own.cert, &*own.key]);
        let ca = self.ca.and_then(|ca| match ca {
            Source::File(path) => Some(path),
            Source::System => None,
        });
        own.chain(ca).chain(self.lists.map(|lists| &*lists.crl))
    }
}

impl<'a> FileSet<'a> {
    /// Reads the set again and again until no file was replaced or written to during the reading:
    /// Kubernetes swaps the directory behind all three at once, others rename them one by one.
    pub(super) fn read(paths: Paths<'a>) -> Result<Self, TlsError> {
        let settled = settled(|| stamps(paths), || Self::read_once(paths))?;
        settled.ok_or_else(|| {
            let first = paths.all().next().unwrap_or_else(|| Path::new(""));
            TlsError::new(Fault::Unstable, first.display(), "changes while it is read")
        })
    }

    fn read_once(paths: Paths<'a>) -> Result<Self, TlsError> {
        let own = paths
            .own
            .map(|paths| Ok(OwnFiles { paths, cert: read(&paths.cert)?, key: read(&paths.key)? }));
        let own = own.transpose()?;
        let ca = paths.ca.map(|ca| match ca {
            Source::File(path) => Ok(AuthorityFiles::File { path, pem: read(path)? }),
            Source::System => system().map(AuthorityFiles::System),
        });
        let ca = ca.transpose()?;
        let lists = paths
            .lists
            .map(|settings| Ok(ListFile { settings, pem: read(&settings.crl)? }))
            .transpose()?;
        let mut hash = Sha256::new();
        let mut note = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        if let Some(own) = &own {
            note(&own.cert);
            note(&own.key);
        }
        match &ca {
            Some(AuthorityFiles::File { pem, .. }) => note(pem),
            Some(AuthorityFiles::System(all)) => all.iter().for_each(|der| note(der)),
            None => {}
        }
        if let Some(lists) = &lists {
            note(&lists.pem);
        }
        Ok(Self { own, ca, lists, hash: hash.finalize().into() })
    }
}

/// The public authorities that this system trusts.
pub(super) fn system() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    // What could not be read beside them may be the link of a package that was removed.
    let mut found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        let detail = "this system has no certificates of public authorities";
        return Err(TlsError::new(Fault::NoSystem, "ca = \"system\"", detail));
    }
    // They come in the order of the directory, which means nothing.
    found.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    Ok(found)
}

fn stamps(paths: Paths<'_>) -> Result<Vec<FileState>, TlsError> {
    let file_state = |path: &Path| match FileState::of(path) {
        Ok(file_state) if file_state.is_file => Ok(file_state),
        Ok(_) => Err(TlsError::new(Fault::Unreadable, path.display(), "is not a regular file")),
        Err(error) => Err(unreadable(path, &error)),
    };
    paths.all().map(file_state).collect()
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let wrong = |detail| TlsError::new(Fault::Unreadable, path.display(), detail);
    small_file::read(path, limits::PEM_FILE_BYTES_MAX, Kind::Regular).map_err(|error| match error {
        ReadError::Io(error) => unreadable(path, &error),
        ReadError::NotAFile => wrong("is not a regular file".to_owned()),
        ReadError::TooLarge(max) => wrong(format!("is larger than {} MiB", max >> 20)),
        ReadError::TooSlow(after) => {
            wrong(format!("is not read within {} s; is its file system gone?", after.as_secs()))
        }
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> TlsError {
    TlsError::new(Fault::Unreadable, path.display(), config::io_cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_change_in_every_reading_are_given_up() {
        let mut changes = 0..;
        let mut readings = 0;
        let read = || {
            readings += 1;
            Ok(readings)
        };
        // Another state each time it is asked for.
        assert!(matches!(settled(|| Ok(changes.next()), read), Ok(None)));
        assert_eq!(readings, limits::PEM_READINGS_MAX);
        let error = TlsError::new(Fault::Unstable, "tls.crt", "changes while it is read");
        assert_eq!(error.fault.code(), "TLS-E002");
        assert!(error.fault.is_transient(), "it is tried again");
        let mut states = [1, 2, 3, 3].into_iter();
        assert!(matches!(settled(|| Ok(states.next()), || Ok(())), Ok(Some(()))));
    }
}
