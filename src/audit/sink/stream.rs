//! The standard output as a sink.
//!
//! Owns: [`Stdout`]. Never knows: its reader.

use std::io::{self, Write};

use super::output::{Output, Resume};

/// Lines on the standard output; a container's runtime keeps them.
#[derive(Debug, Default)]
pub(super) struct Stdout {
    opened: bool,
}

impl Output for Stdout {
    fn needs_open(&mut self, _: usize) -> bool {
        !self.opened
    }

    fn open(&mut self) -> io::Result<Resume> {
        self.opened = true;
        Ok(Resume::default())
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        io::stdout().lock().write_all(line.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}
