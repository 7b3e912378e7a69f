//! Where a secret comes from; read on demand and again on every reload.
//!
//! Owns: [`SecretSource`], [`read_acl_file`], [`io_cause`]. Never knows: credentials in use.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// More than any password or token …
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// … and than any file of users. A path to something else must not fill the memory.
const ACL_BYTES_MAX: u64 = 4 << 20;

/// A file or an environment variable that holds one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Env(String),
}

/// Why a secret could not be read.
#[derive(Debug)]
pub enum SourceError {
    Read { path: PathBuf, source: io::Error },
    NotAFile { path: PathBuf },
    TooLarge { path: PathBuf, max: u64 },
    Unset { variable: String },
    Empty { place: String },
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "{}: {}", shown_path(path), io_cause(source))
            }
            Self::NotAFile { path } => {
                write!(f, "{}: not a regular file; write the secret into one", path.display())
            }
            Self::TooLarge { path, max } => {
                write!(f, "{}: larger than {} KiB", path.display(), max >> 10)
            }
            Self::Unset { variable } => {
                write!(f, "{} is not set", shown_variable(variable))
            }
            Self::Empty { place } => write!(f, "{place} holds no secret"),
        }
    }
}

impl std::error::Error for SourceError {}

/// A path that leads nowhere; one without a slash may be the secret itself.
fn shown_path(path: &Path) -> String {
    let path = path.display().to_string();
    if path.contains('/') { path } else { "the file (a path without /)".to_owned() }
}

/// A variable that is not there; a name in other than the usual letters may be the secret itself.
fn shown_variable(name: &str) -> String {
    let usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.bytes().all(usual) {
        format!("environment variable {name}")
    } else {
        "the environment variable of that name".to_owned()
    }
}

/// The text of a file of users; it may hold passwords. An empty one is one without users.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read_acl_file(path: &Path) -> Result<Secret, SourceError> {
    read_capped(path, ACL_BYTES_MAX).map(Secret::new)
}

/// A whole regular file: a pipe would wait for its writer, a device has no end.
fn read_capped(path: &Path, max: u64) -> Result<Vec<u8>, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_path_buf(), source };
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(SourceError::NotAFile { path: path.to_path_buf() });
    }
    let size = usize::try_from(found.len().min(max)).unwrap_or(0);
    // Grown in place, a buffer would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    File::open(path).map_err(failed)?.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(SourceError::TooLarge { path: path.to_path_buf(), max });
    }
    Ok(std::mem::take(&mut bytes))
}

impl SecretSource {
    /// Reads the secret; one trailing line break is not part of it.
    ///
    /// # Errors
    ///
    /// When there is nothing to read or nothing in it.
    pub fn read(&self) -> Result<Secret, SourceError> {
        let (mut bytes, place) = match self {
            Self::File(path) => (read_capped(path, SECRET_BYTES_MAX)?, path.display().to_string()),
            Self::Env(variable) => {
                let value = std::env::var_os(variable)
                    .ok_or_else(|| SourceError::Unset { variable: variable.clone() })?;
                let bytes = std::os::unix::ffi::OsStringExt::into_vec(value);
                (bytes, format!("environment variable {variable}"))
            }
        };
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if bytes.is_empty() { Err(SourceError::Empty { place }) } else { Ok(Secret::new(bytes)) }
    }
}

/// Why a file cannot be read, in words of our own.
#[must_use]
pub fn io_cause(error: &io::Error) -> &'static str {
    use io::ErrorKind as E;
    #[allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]
    match error.kind() {
        E::NotFound => "No such file or directory",
        E::PermissionDenied => "Permission denied",
        E::NotADirectory => "a part of its path is not a directory",
        E::IsADirectory => "it is a directory",
        E::InvalidData => "it is not UTF-8 text",
        E::TimedOut => "timed out",
        E::StaleNetworkFileHandle => "its network file system is gone",
        E::InvalidFilename => "its name is too long",
        _ => "input/output error",
    }
}
