//! A Unix socket under a path, with nobody left out and nobody let in by a race.
//!
//! Owns: [`bind`], [`SocketFile`]. Never knows: who connects.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

pub const OTHER_PROCESS: &str = "another process is listening there";

/// The file of a Unix socket; removed when the listener goes.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds a path. The socket appears under its name only when it is ready, with its mode and group; a
/// file that a dead process left there is replaced, a living one's is not.
///
/// # Errors
///
/// When the path cannot be had.
pub async fn bind(
    path: &Path,
    mode: u32,
    group: Option<&str>,
) -> Result<(UnixListener, SocketFile), String> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(OTHER_PROCESS.to_owned());
    }
    if path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket()) {
        return Err("a file that is no socket lies there; move it away".to_owned());
    }
    let mut name = path.file_name().ok_or("the path names no file")?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(|error| error.to_string())?;
    let file = SocketFile(temporary);
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&file.0, permissions).map_err(|error| format!("mode: {error}"))?;
    if let Some(group) = group {
        let gid = group_id(group).ok_or_else(|| format!("there is no group {group}"))?;
        chown(&file.0, None, Some(gid)).map_err(|error| format!("group {group}: {error}"))?;
    }
    std::fs::rename(&file.0, path).map_err(|error| error.to_string())?;
    std::mem::forget(file);
    Ok((listener, SocketFile(path.to_owned())))
}

/// A group's number, from its own digits or from `/etc/group`.
fn group_id(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
}
