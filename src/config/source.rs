//! Where a secret comes from; read on demand and again on every reload.
//!
//! Owns: [`SecretSource`] and its keys, [`read_acl_file`], [`io_cause`]. Never knows: credentials in use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::limits;
use crate::base::secret::Secret;
use crate::base::small_file::{Kind, ReadError, read};

use super::error::ValueError;
use super::section::{Section, path, string};
use super::tree::Node;

/// A file or an environment variable that holds one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Env(String),
}

/// The source of a password in this section, if it names one.
pub(super) fn secret(at: &Section<'_>) -> Option<SecretSource> {
    let file = at.get("password_file", path).map(SecretSource::File);
    let variable = at.get("password_env", variable).map(SecretSource::Env);
    if file.is_some() && variable.is_some() {
        let hint = "keep one of password_file and password_env";
        at.report(
            "password_env",
            ValueError::new("there are two sources of one password").hint(hint),
        );
    }
    file.or(variable)
}

/// The name of a variable. An error does not repeat it: it may be the password itself.
fn variable(node: &Node) -> Result<String, ValueError> {
    let name = string(node)?;
    if is_variable(&name) {
        return Ok(name);
    }
    Err(ValueError::new("not the name of an environment variable")
        .hint("write the variable's name here, and the password into the variable"))
}

/// Whether a text is the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(fits)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Why a secret could not be read.
#[derive(Debug)]
pub enum SourceError {
    Read {
        path: PathBuf,
        source: io::Error,
    },
    NotAFile {
        path: PathBuf,
    },
    TooLarge {
        path: PathBuf,
        max: u64,
    },
    TooSlow {
        path: PathBuf,
        after: Duration,
    },
    Unset {
        variable: String,
    },
    Empty {
        place: String,
    },
    /// What is there can only be a password by mistake.
    NoPassword {
        place: String,
        fault: &'static str,
    },
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
            Self::TooSlow { path, after } => {
                let seconds = after.as_secs();
                let path = path.display();
                write!(f, "{path}: not read within {seconds} s; is its file system gone?")
            }
            Self::Unset { variable } => {
                write!(f, "{} is not set", shown_variable(variable))
            }
            Self::Empty { place } => write!(f, "{place} holds no secret"),
            Self::NoPassword { place, fault } => write!(f, "{place} {fault}"),
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
    read_capped(path, limits::ACL_FILE_BYTES_MAX).map(Secret::new)
}

/// A whole regular file.
fn read_capped(path: &Path, max: u64) -> Result<Vec<u8>, SourceError> {
    let path = path.to_path_buf();
    match read(&path, max, Kind::Regular) {
        Ok(mut bytes) => Ok(std::mem::take(&mut bytes)),
        Err(ReadError::Io(source)) => Err(SourceError::Read { path, source }),
        Err(ReadError::NotAFile) => Err(SourceError::NotAFile { path }),
        Err(ReadError::TooLarge(max)) => Err(SourceError::TooLarge { path, max }),
        Err(ReadError::TooSlow(after)) => Err(SourceError::TooSlow { path, after }),
    }
}

impl SecretSource {
    /// Reads a password or a token; one trailing line break is not part of it.
    ///
    /// # Errors
    ///
    /// When there is nothing to read, nothing in it, or text of another form than that of a password.
    pub fn read(&self) -> Result<Secret, SourceError> {
        let (bytes, place) = self.bytes()?;
        let unfit = |fault| SourceError::NoPassword { place: place.clone(), fault };
        if let Some(fault) = encoding_fault(bytes.expose()) {
            return Err(unfit(fault));
        }
        let password = without_line_break(bytes, &place)?;
        text_fault(password.expose()).map_or(Ok(password), |fault| Err(unfit(fault)))
    }

    /// Reads a key, which may be of any bytes; one trailing line break is not part of it.
    ///
    /// # Errors
    ///
    /// When there is nothing to read or nothing in it.
    pub fn read_key(&self) -> Result<Secret, SourceError> {
        let (bytes, place) = self.bytes()?;
        without_line_break(bytes, &place)
    }

    /// All that is there, and the name of the place.
    fn bytes(&self) -> Result<(Secret, String), SourceError> {
        let (bytes, place) = match self {
            Self::File(path) => {
                (read_capped(path, limits::SECRET_FILE_BYTES_MAX)?, path.display().to_string())
            }
            Self::Env(variable) => {
                let value = std::env::var_os(variable)
                    .ok_or_else(|| SourceError::Unset { variable: variable.clone() })?;
                let bytes = std::os::unix::ffi::OsStringExt::into_vec(value);
                (bytes, format!("environment variable {variable}"))
            }
        };
        Ok((Secret::new(bytes), place))
    }
}

fn without_line_break(secret: Secret, place: &str) -> Result<Secret, SourceError> {
    let bytes = secret.expose();
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    match line.unwrap_or(bytes) {
        b"" => Err(SourceError::Empty { place: place.to_owned() }),
        rest if rest.len() == bytes.len() => Ok(secret),
        rest => Ok(Secret::new(rest.to_vec())),
    }
}

/// Text in another encoding than UTF-8, or with the mark of an editor, which the server would take for a part of the
/// password.
fn encoding_fault(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Some("begins with a byte order mark; write it as UTF-8 without one");
    }
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let alternate = |first| bytes.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    // All of them are zero in a file that was lost in a crash.
    let padded = bytes.len() > 2 && alternate(0) != alternate(1);
    let utf16 = bytes.len().is_multiple_of(2) && (marked || padded);
    utf16.then_some("is UTF-16; write it as UTF-8")
}

/// Text, without the line break that ends it, that holds more or less than a password. Bytes that are no text may be
/// one.
fn text_fault(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.trim().is_empty() {
        return Some("holds blank space alone; write the password into it");
    }
    if text.contains('\0') {
        return Some("holds a NUL byte; write the password alone, as text");
    }
    let lines = text.contains('\n');
    lines.then_some(
        "holds more than one line; write the password alone, and one line break behind it at most",
    )
}

/// Why a file was not read within its bounds.
#[must_use]
pub(crate) fn read_cause(error: &ReadError) -> String {
    match error {
        ReadError::Io(error) => io_cause(error).to_owned(),
        ReadError::NotAFile => "not a regular file".to_owned(),
        ReadError::TooLarge(max) => format!("larger than {} KiB", max >> 10),
        ReadError::TooSlow(after) => format!(
            "not read within {} s; is it a pipe without a writer, or its file system gone?",
            after.as_secs()
        ),
    }
}

/// Why a file cannot be read; the system's own text is not repeated.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    /// Each fault is named with its file, and no byte of the content is.
    #[test]
    fn file_that_is_no_password_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            SecretSource::File(path.clone()).read()
        };
        let utf16 = |mark: u16, swap: bool| -> Vec<u8> {
            let units =
                std::iter::once(mark).chain("s3cret\n".encode_utf16()).skip(usize::from(mark == 0));
            units
                .flat_map(|unit| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect()
        };
        for (bytes, part) in [
            (b"".to_vec(), "holds no secret"),
            (b"\n".to_vec(), "holds no secret"),
            (b"\r\n".to_vec(), "holds no secret"),
            (b"\n\n".to_vec(), "blank space alone"),
            (b" \t ".to_vec(), "blank space alone"),
            (b"\xef\xbb\xbfs3cret\r\n".to_vec(), "byte order mark"),
            (b"\xef\xbb\xbf".to_vec(), "byte order mark"),
            (utf16(0xfeff, false), "UTF-16"),
            (utf16(0xfeff, true), "UTF-16"),
            (utf16(0, false), "UTF-16"),
            (utf16(0, true), "UTF-16"),
            (b"s3cret\0".to_vec(), "NUL"),
            (vec![0; 9], "NUL"),
            (vec![0; 512], "NUL"),
            (b"s3cret\n\n".to_vec(), "more than one line"),
            (b"# for app1\ns3cret\n".to_vec(), "more than one line"),
        ] {
            let error = read(&bytes).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("/password "), "{bytes:?}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        // Blank space around it, and bytes that are no text, may be meant.
        for (bytes, password) in [
            (&b"s3cret\r\n"[..], &b"s3cret"[..]),
            (b" s3cret \n", b" s3cret "),
            (b"\xff\x00\x01\n\x02", b"\xff\x00\x01\n\x02"),
            (b"\xff\xfe\x01", b"\xff\xfe\x01"),
            ("pässwörd".as_bytes(), "pässwörd".as_bytes()),
        ] {
            assert!(read(bytes).unwrap().matches(password), "{bytes:?}");
        }
    }

    #[test]
    fn key_may_be_of_any_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let lines = b"c2VjcmV0c2VjcmV0\nc2VjcmV0c2VjcmV0\n";
        for bytes in [&b"\xff\xfe\x01\x02"[..], b"\xef\xbb\xbfkey", b"a\0b", lines] {
            std::fs::write(&path, bytes).unwrap();
            let key = SecretSource::File(path.clone()).read_key().unwrap();
            assert!(key.matches(bytes.strip_suffix(b"\n").unwrap_or(bytes)), "{bytes:?}");
        }
    }
}
