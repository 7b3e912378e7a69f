//! What distinguishes two states of a file without reading it.
//!
//! Owns: [`FileState`]. Never knows: what is in a file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a path leads, and of what it leads to device, inode, length and the times of content and
/// of inode. Renames, swapped links and writes in place all change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) target: PathBuf,
    pub(super) is_file: bool,
    numbers: [u64; 3],
    times: [i64; 4],
}

impl FileState {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let target = path.canonicalize()?;
        let meta = target.metadata()?;
        Ok(Self {
            target,
            is_file: meta.is_file(),
            numbers: [meta.dev(), meta.ino(), meta.size()],
            times: [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()],
        })
    }
}
