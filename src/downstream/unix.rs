//! Binds a Unix socket atomically, with its final mode and group.
//!
//! Owns: [`bind`], [`SocketFile`]. Never knows: connections.

use std::collections::hash_map::RandomState;
use std::fs::DirBuilder;
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::{UnixListener, UnixStream};

use crate::base::limits;

/// Names of directories that may be taken.
const TRIES: u32 = 16;

pub(crate) const OTHER_PROCESS: &str = "another process is listening there";

/// The file of a Unix socket; removed when the listener goes.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds a path. The socket can be reached only when it is ready, with its mode and group; a
/// file that a dead process left there is replaced, a living one's is not.
///
/// # Errors
///
/// When the path cannot be had.
pub(crate) async fn bind(
    path: &Path,
    mode: u32,
    group: Option<&str>,
) -> Result<(UnixListener, SocketFile), String> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(OTHER_PROCESS.to_owned());
    }
    if path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket()) {
        return Err("a file that is no socket is there; move it away".to_owned());
    }
    path.file_name().ok_or("the path names no file")?;
    let private = PrivateDirectory::beside(path).map_err(|error| error.to_string())?;
    let temporary = private.0.join("s");
    let listener = UnixListener::bind(&temporary).map_err(|error| error.to_string())?;
    let file = SocketFile(temporary);
    let deepened = SockRef::from(&listener).listen(limits::LISTEN_BACKLOG);
    deepened.map_err(|error| error.to_string())?;
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

/// A directory that only its owner may enter: a socket is bound there until it has its mode, so that no
/// one else can connect before. Removed on drop.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// Its name is short, for the path of a socket has few bytes.
    fn beside(path: &Path) -> std::io::Result<Self> {
        let mut tries = 0;
        loop {
            let number = RandomState::new().hash_one(std::process::id()) & 0xffff;
            let own = path.with_file_name(format!(".{number:04x}"));
            match DirBuilder::new().mode(0o700).create(&own) {
                Ok(()) => return Ok(Self(own)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
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
