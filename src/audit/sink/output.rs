//! What a place for audit entries can do.
//!
//! Owns: [`Output`], [`Resume`]. Never knows: the content of an entry, queues, chain.

use std::io;
use std::time::Instant;

/// Where a sink goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Resume {
    /// The number and the chain value of the last entry that is there, if there is one.
    pub last: Option<(u64, String)>,
    /// Bytes of a last line that was cut short, which are removed.
    pub cut: u64,
    /// Entries that were sent again, because the connection before may have lost them.
    pub resent: u64,
}

/// A place for lines. An error means that the line at hand is not written, so that it is given again.
pub(in crate::audit) trait Output: Send {
    /// Whether [`Self::open`] comes before a line of so many bytes: nothing is open, or another file is due.
    fn needs_open(&mut self, bytes: usize) -> bool;

    /// Opens a file or a connection.
    ///
    /// # Errors
    ///
    /// When that fails; it is tried again.
    fn open(&mut self) -> io::Result<Resume>;

    /// Writes one line, its end of line included, or keeps it until [`Self::flush`].
    ///
    /// # Errors
    ///
    /// When the line is neither written nor kept.
    fn send(&mut self, line: &str) -> io::Result<()>;

    /// Writes everything that was kept.
    ///
    /// # Errors
    ///
    /// When some of it is kept still.
    fn flush(&mut self) -> io::Result<()>;

    /// When [`Self::flush`] is to be called although no line has come.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Lines that [`Self::send`] has kept and no flush has written.
    fn held(&self) -> u64 {
        0
    }

    /// Nothing follows.
    fn close(&mut self) {}

    /// How many files were rotated since this was asked last.
    fn rotations(&mut self) -> u64 {
        0
    }
}
