//! Settings of the policy about scripts, and the files that scripts are in.
//!
//! Owns: [`ScriptRules`]. Never knows: how a script is judged.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::limits;
use crate::base::sha1::Sha1;
use crate::base::small_file::{self, Kind, ReadError};

/// The scripts and functions that may run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScriptRules {
    /// Without it, [`ScriptMode::Guarded`] where the policy bounds keys or databases, else
    /// [`ScriptMode::DeclaredKeys`].
    pub mode: Option<ScriptMode>,
    /// With [`ScriptMode::Allowlist`]: those that may run.
    pub allow: Vec<Sha1>,
    /// Each `*.lua` file in it is one that may run.
    pub directory: Option<PathBuf>,
    /// Names of functions that may be called.
    pub functions: Vec<String>,
    /// A script that the server has lost is sent to it again; without it, yes.
    pub heal: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ScriptMode {
    /// All that the ACL permits; the keys they declare are checked, others they may use are not.
    #[default]
    DeclaredKeys,
    /// All that the ACL permits; inside a script the same rules hold for every command.
    Guarded,
    /// Only the scripts on the list.
    Allowlist,
    /// None.
    Deny,
}

/// Why the scripts of a directory could not be read.
#[derive(Debug)]
pub struct ScriptError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for ScriptError {}

impl ScriptRules {
    /// These rules with the scripts of the directory on the list.
    ///
    /// # Errors
    ///
    /// When the directory, or a file with a script, cannot be read.
    pub fn with_files(&self) -> Result<Self, ScriptError> {
        let mut rules = self.clone();
        if let Some(directory) = &self.directory {
            rules.allow.extend(digests(directory)?);
        }
        Ok(rules)
    }
}

fn script(path: &Path) -> Result<Zeroizing<Vec<u8>>, ScriptError> {
    small_file::read(path, limits::SCRIPT_FILE_BYTES_MAX, Kind::Regular).map_err(|error| {
        let problem = match error {
            ReadError::Io(source) => source.to_string(),
            ReadError::NotAFile => "not a regular file".to_owned(),
            ReadError::TooLarge(max) => format!("larger than {} MiB", max >> 20),
            ReadError::TooSlow(after) => {
                format!("not read within {} s; is its file system gone?", after.as_secs())
            }
        };
        ScriptError { path: path.to_owned(), problem }
    })
}

fn digests(directory: &Path) -> Result<Vec<Sha1>, ScriptError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source: std::io::Error| ScriptError { path, problem: source.to_string() }
    };
    let mut digests = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "lua") {
            digests.push(Sha1::of(&script(&path)?));
        }
    }
    // A directory has no order.
    digests.sort_unstable();
    Ok(digests)
}
