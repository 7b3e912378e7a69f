//! Where a secret comes from; read on demand and again on every reload.
//!
//! Owns: [`SecretSource`], [`read_acl_file`]. Never knows: credentials in use.

use std::path::{Path, PathBuf};

use crate::base::secret::Secret;

/// A file or an environment variable that holds one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Env(String),
}

/// Why a secret could not be read.
#[derive(Debug)]
pub enum SourceError {
    Read { path: PathBuf, source: std::io::Error },
    Unset { variable: String },
    Empty { place: String },
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Unset { variable } => write!(f, "environment variable {variable} is not set"),
            Self::Empty { place } => write!(f, "{place} holds no secret"),
        }
    }
}

impl std::error::Error for SourceError {}

/// The text of a file of users; it may hold passwords. An empty one is one without users.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read_acl_file(path: &Path) -> Result<Secret, SourceError> {
    let text = std::fs::read(path);
    text.map(Secret::new).map_err(|source| SourceError::Read { path: path.to_path_buf(), source })
}

impl SecretSource {
    /// Reads the secret; one trailing line break is not part of it.
    ///
    /// # Errors
    ///
    /// When there is nothing to read or nothing in it.
    pub fn read(&self) -> Result<Secret, SourceError> {
        let (mut bytes, place) = match self {
            Self::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|source| SourceError::Read { path: path.clone(), source })?;
                (bytes, path.display().to_string())
            }
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
