//! Settings of the sandbox: what the process may reach besides what the rest of the configuration names.
//!
//! Owns: [`Sandbox`], how it is read. Never knows: Landlock, what the rest names.

use std::path::PathBuf;

use super::error::ValueError;
use super::section::{Section, boolean, counts, strings};
use super::tree::Node;

/// Bounds that the process sets for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub enabled: bool,
    /// Directories and files that it may read besides.
    pub read: Vec<PathBuf>,
    /// TCP ports that it may connect to besides.
    pub connect: Vec<u16>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { enabled: true, read: Vec::new(), connect: Vec::new() }
    }
}

pub(super) fn read(at: &Section<'_>) -> Sandbox {
    Sandbox {
        enabled: at.get("enabled", boolean).unwrap_or(true),
        read: at.get("read", paths).unwrap_or_default(),
        connect: at.get("connect", counts).unwrap_or_default(),
    }
}

fn paths(node: &Node) -> Result<Vec<PathBuf>, ValueError> {
    let texts = strings(node)?;
    if texts.iter().all(|text| text.starts_with('/') && !text.contains('\0')) {
        return Ok(texts.into_iter().map(PathBuf::from).collect());
    }
    Err(ValueError::new("one is not an absolute path").hint("write read = [\"/opt/tokens\"]"))
}
