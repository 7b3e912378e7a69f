//! A file as a sink: rotation by size and age, reopening after another program has moved it away.
//!
//! Owns: [`File`]. Never knows: the content of a line.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::output::{Output, Resume};
use crate::audit::chain;
use crate::audit::pace::{Interval, Syncing};
use crate::base::clock;
use crate::base::limits;
use crate::config::AuditFile;

pub(super) struct File {
    settings: AuditFile,
    open: Option<Open>,
    /// Whole lines, and how many of their bytes are written.
    buffer: Vec<u8>,
    sent: usize,
    rotations: u64,
}

struct Open {
    file: fs::File,
    inode: (u64, u64),
    bytes: u64,
    begun: SystemTime,
    look: Interval,
    /// The path leads elsewhere since it was looked at.
    moved: bool,
    syncing: Syncing,
}

impl File {
    pub(super) const fn new(settings: AuditFile) -> Self {
        Self { settings, open: None, buffer: Vec::new(), sent: 0, rotations: 0 }
    }

    /// Whether another program has moved the file away.
    fn is_moved(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        if open.look.poll(clock::now()) {
            let found = fs::metadata(&self.settings.path);
            open.moved = found.map_or(true, |found| identity(&found) != open.inode);
        }
        open.moved
    }

    fn is_due(&self, bytes: usize) -> bool {
        let AuditFile { max_bytes, max_age, .. } = self.settings;
        self.open.as_ref().is_some_and(|open| {
            let held = open.bytes + self.buffer.len() as u64;
            let large = max_bytes > 0 && held > 0 && held + bytes as u64 > max_bytes;
            let age = || clock::wall().duration_since(open.begun).unwrap_or_default();
            large || (!max_age.is_zero() && held > 0 && age() >= max_age)
        })
    }

    /// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and so on.
    fn rotate(&mut self) -> io::Result<()> {
        let place = |number: u32| numbered(&self.settings.path, number);
        if self.settings.max_files == 0 {
            return fs::remove_file(&self.settings.path);
        }
        for number in (1..self.settings.max_files).rev() {
            match fs::rename(place(number), place(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.settings.path, place(1))
    }

    /// Finishes with the open file: rotates it if it is in its place, or takes along what it could not take
    /// if it is not.
    fn close(&mut self) -> io::Result<()> {
        let Some(inode) = self.open.as_ref().map(|open| open.inode) else { return Ok(()) };
        let path = &self.settings.path;
        let in_place = fs::metadata(path).is_ok_and(|found| identity(&found) == inode);
        match self.flush() {
            Ok(()) => {}
            Err(error) if in_place => return Err(error),
            Err(_) => {
                // The line that is half there is written as a whole to the next file.
                let written = self.buffer.get(..self.sent).unwrap_or_default();
                let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                self.buffer.drain(..whole);
                self.sent = 0;
            }
        }
        if let Some(open) = &self.open {
            let _ = open.file.sync_data();
        }
        if in_place {
            self.rotate()?;
            self.rotations += 1;
        }
        self.open = None;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.syncing.due().is_some_and(|due| due <= clock::now()) {
            match open.file.sync_data() {
                // A pipe or device, which has no disk behind it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                synced => synced?,
            }
            open.syncing.handle_synced();
        }
        Ok(())
    }
}

impl Output for File {
    fn needs_open(&mut self, bytes: usize) -> bool {
        self.open.is_none() || self.is_due(bytes) || self.is_moved()
    }

    fn open(&mut self) -> io::Result<Resume> {
        let first = self.open.is_none();
        self.close()?;
        let path = &self.settings.path;
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).mode(self.settings.mode);
        let (mut file, new) = match options.clone().create_new(true).open(path) {
            Ok(file) => {
                // Whatever the umask takes away.
                file.set_permissions(fs::Permissions::from_mode(self.settings.mode))?;
                (file, true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(path)?, false)
            }
            Err(error) => return Err(error),
        };
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another process writes to the file"),
            fs::TryLockError::Error(error) => error,
        })?;
        let mut resume = tail(&mut file)?;
        if resume.cut > 0 {
            file.set_len(file.metadata()?.len().saturating_sub(resume.cut))?;
        }
        if new && first {
            // The process before may have rotated it away.
            let before = fs::File::open(numbered(path, 1)).and_then(|mut file| tail(&mut file));
            resume.last = before.ok().and_then(|before| before.last);
        }
        let found = file.metadata()?;
        self.open = Some(Open {
            inode: identity(&found),
            bytes: found.len(),
            begun: found.created().unwrap_or_else(|_| clock::wall()),
            file,
            look: Interval::new(limits::AUDIT_PATH_CHECK_INTERVAL, clock::now()),
            moved: false,
            syncing: Syncing::new(self.settings.fsync),
        });
        Ok(resume)
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        if self.buffer.len() >= limits::AUDIT_FILE_BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(line.as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while let Some(rest) = self.buffer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match open.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => {
                    self.sent += more;
                    open.bytes += more as u64;
                    open.syncing.handle_written(clock::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        self.sent = 0;
        self.sync()
    }

    fn due(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|open| open.syncing.due())
    }

    fn held(&self) -> u64 {
        let unwritten = self.buffer.get(self.sent..).unwrap_or_default();
        unwritten.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn close(&mut self) {
        if let Some(open) = &self.open {
            let _ = open.file.sync_data();
        }
    }

    fn rotations(&mut self) -> u64 {
        std::mem::take(&mut self.rotations)
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The last entry of a file that is continued.
fn tail(file: &mut fs::File) -> io::Result<Resume> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(Resume::default());
    }
    file.seek(SeekFrom::Start(found.len().saturating_sub(limits::AUDIT_FILE_TAIL_BYTES)))?;
    let mut end = Vec::new();
    file.take(limits::AUDIT_FILE_TAIL_BYTES).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(end.get(..whole).unwrap_or_default());
    let last = text.lines().next_back().and_then(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((entry.get("seq")?.as_u64()?, chain::value_of(line)?))
    });
    Ok(Resume { last, cut: (end.len() - whole) as u64, resent: 0 })
}
