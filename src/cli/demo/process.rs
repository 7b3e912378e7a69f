//! A program that the demonstration started, and ends.
//!
//! Owns: [`Process`]. Never knows: which program.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::base::clock;
use crate::base::limits;

/// Of a log, this much is shown when something went wrong.
const LAST_LINES: usize = 12;

/// A child process; killed on drop.
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to the end of the file `log`. The child is in a process
    /// group of its own, so that Ctrl-C reaches the demonstration alone.
    pub(super) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, String> {
        let mut start = || {
            let file = File::options().create(true).append(true).open(log)?;
            let command = command.stdin(Stdio::null()).process_group(0);
            command.stdout(file.try_clone()?).stderr(file).spawn()
        };
        let child = start().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Checks until the answer is yes, the program has ended or the time is over.
    pub(super) fn await_ready(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        wait_until(&format!("{} to answer", self.name), || {
            self.check()?;
            Ok(ready())
        })
        .map_err(|error| format!("{error}\n{}", self.last_lines()))
    }

    /// An error when the program has ended.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} has ended: {status}", self.name)),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Sends SIGTERM to the program.
    pub(super) fn terminate(&self) -> Result<(), String> {
        let kill = format!("kill -TERM {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{kill}: {status}")),
            Err(error) => Err(format!("{kill}: {error}")),
        }
    }

    /// Waits until the program has left.
    pub(super) fn await_end(&mut self) -> Result<ExitStatus, String> {
        let mut ended = None;
        wait_until(&format!("{} to leave", self.name), || {
            ended = self.child.try_wait().map_err(|error| error.to_string())?;
            Ok(ended.is_some())
        })?;
        ended.ok_or_else(|| format!("{} has no exit status", self.name))
    }

    /// The last lines that the program printed.
    pub(super) fn last_lines(&self) -> String {
        let printed = fs::read(&self.log).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let skipped = printed.lines().count().saturating_sub(LAST_LINES);
        let lines = printed.lines().skip(skipped).map(|line| format!("    {line}\n"));
        format!("  the end of the log of {}:\n{}", self.name, lines.collect::<String>())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until `is_so` or an error comes.
pub(super) fn wait_until(
    what: &str,
    mut is_so: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let deadline = clock::now() + limits::DEMO_TIMEOUT;
    while !is_so()? {
        if clock::now() > deadline {
            return Err(format!("waited in vain for {what}"));
        }
        std::thread::sleep(limits::DEMO_START_CHECK_INTERVAL);
    }
    Ok(())
}
