//! Small files, read whole, with bounds on their size and on the time that they take.
//!
//! Owns: [`read`], [`Kind`], [`ReadError`]. Never knows: what a file is for.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::aside::Work;
use crate::base::limits;

/// What a path may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing but a regular file: a pipe would wait for its writer, a device has no end.
    Regular,
    /// A pipe, too, such as a shell makes.
    Stream,
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    NotAFile,
    /// The file has more bytes than this.
    TooLarge(u64),
    /// The file was not read in this time.
    TooSlow(Duration),
}

/// The bytes of a file, at most `max`. They are wiped when dropped.
///
/// # Errors
///
/// When it cannot be read, is larger, is of another kind, or does not come in time. Then the thread that reads it
/// stays with it.
pub(crate) fn read(path: &Path, max: u64, kind: Kind) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    within(limits::FILE_READ_TIMEOUT, path, max, kind)
}

fn within(
    patience: Duration,
    path: &Path,
    max: u64,
    kind: Kind,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let Some(begun) = Work::begin() else { return Err(ReadError::TooSlow(patience)) };
    let own = begun.clone();
    let (send, receive) = sync_channel(1);
    let path: PathBuf = path.to_owned();
    let work = move || {
        let _ = send.send(read_here(&path, max, kind));
        own.end();
    };
    std::thread::Builder::new().name("file".to_owned()).spawn(work).map_err(ReadError::Io)?;
    receive.recv_timeout(patience).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            begun.give_up();
            Err(ReadError::TooSlow(patience))
        }
        RecvTimeoutError::Disconnected => Err(ReadError::Io(io::ErrorKind::Other.into())),
    })
}

fn read_here(path: &Path, max: u64, kind: Kind) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    if kind == Kind::Regular && !std::fs::metadata(path).map_err(ReadError::Io)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let file = File::open(path).map_err(ReadError::Io)?;
    // What was there a moment ago may have been replaced.
    let found = file.metadata().map_err(ReadError::Io)?;
    if kind == Kind::Regular && !found.is_file() {
        return Err(ReadError::NotAFile);
    }
    let size = usize::try_from(found.len().min(max)).unwrap_or(0);
    // Grown in place, a buffer would keep copies of a secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(max + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > max {
        return Err(ReadError::TooLarge(max));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use std::io::Write;
    use std::process::Command;

    use super::*;

    fn pipe(directory: &Path) -> PathBuf {
        let path = directory.join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn file_is_read_up_to_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        for kind in [Kind::Regular, Kind::Stream] {
            assert_eq!(**read(&path, 5, kind).unwrap(), *b"12345");
            assert!(matches!(read(&path, 4, kind), Err(ReadError::TooLarge(4))));
            assert!(matches!(read(&path.join("x"), 4, kind), Err(ReadError::Io(_))));
            assert!(read(directory.path(), 4, kind).is_err());
        }
        assert!(matches!(
            read(Path::new("/dev/zero"), 4, Kind::Stream),
            Err(ReadError::TooLarge(4))
        ));
        assert!(matches!(read(Path::new("/dev/zero"), 4, Kind::Regular), Err(ReadError::NotAFile)));
    }

    #[test]
    fn pipe_without_a_writer_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = pipe(directory.path());
        assert!(matches!(read(&path, 9, Kind::Regular), Err(ReadError::NotAFile)));
        let short = Duration::from_millis(20);
        let read = within(short, &path, 9, Kind::Stream);
        assert!(matches!(read, Err(ReadError::TooSlow(_))), "{read:?}");
        // The thread that waits for it takes what the first writer writes.
        File::options().write(true).open(&path).unwrap().write_all(b"x").unwrap();
    }
}
