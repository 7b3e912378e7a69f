//! One run of another program, with bounds on its output and on the time that it takes.
//!
//! Owns: [`Run`], [`ProgramError`], [`kill_all`]. Never knows: what the program is for.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::clock;
use crate::base::limits;

/// What is run, and what bounds it. The program gets no standard input, no environment but this one, the
/// directory `/`, and a process group of its own; its standard error is discarded.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// An absolute path.
    pub program: &'a Path,
    pub arguments: &'a [String],
    pub environment: Vec<(OsString, OsString)>,
    pub timeout: Duration,
    pub output_max: usize,
}

/// Why a program has printed nothing that counts.
#[derive(Debug)]
pub enum ProgramError {
    /// The program could not be started.
    Start(io::Error),
    /// Every user of the machine may replace what it does.
    WritableByAll,
    /// The program ended with this exit status; without one, by a signal.
    Exit(Option<i32>),
    /// The program was killed after this time.
    TooSlow(Duration),
    /// The program printed more bytes than this, and was killed.
    TooMuch(usize),
    /// Its output could not be read.
    Output(io::Error),
}

impl Run<'_> {
    /// Runs the program and returns what it has printed; the bytes are wiped when dropped. A program that is
    /// too slow or prints too much is killed, with the processes that it has started. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be started, fails, or exceeds a bound.
    pub(crate) fn output(self) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let deadline = clock::now() + self.timeout;
        let found = std::fs::metadata(self.program).map_err(ProgramError::Start)?;
        if found.mode() & 0o002 != 0 {
            return Err(ProgramError::WritableByAll);
        }
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .env_clear()
            .envs(self.environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = PROGRAMS.start(&mut command).map_err(ProgramError::Start)?;
        let ended = match child.stdout.take() {
            None => Err(ProgramError::Output(ErrorKind::BrokenPipe.into())),
            Some(stdout) => read(stdout, self.output_max, deadline)
                .and_then(|output| exit(&mut child, deadline).map(|()| output)),
        };
        if ended.is_err() {
            PROGRAMS.kill(&mut child);
        }
        ended.map_err(|error| {
            let is_late = matches!(error, ProgramError::TooSlow(_));
            if is_late { ProgramError::TooSlow(self.timeout) } else { error }
        })
    }
}

/// Everything that is printed until every process that may print has ended.
fn read(
    mut stdout: ChildStdout,
    max: usize,
    deadline: Instant,
) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
    // Grown in place, a buffer would keep copies of a secret in freed memory.
    let mut bytes = Zeroizing::new(vec![0; max + 1]);
    let mut length = 0;
    loop {
        await_output(&stdout, deadline)?;
        match stdout.read(bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ProgramError::Output(error)),
        }
        if length > max {
            return Err(ProgramError::TooMuch(max));
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn await_output(stdout: &ChildStdout, deadline: Instant) -> Result<(), ProgramError> {
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(ProgramError::TooSlow(left));
        }
        let mut waiting = [PollFd::new(stdout, PollFlags::IN)];
        let left = Timespec::try_from(left).ok();
        match poll(&mut waiting, left.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(ProgramError::Output(error.into())),
        }
    }
}

/// Waits until the program has exited.
fn exit(child: &mut Child, deadline: Instant) -> Result<(), ProgramError> {
    loop {
        match PROGRAMS.poll(child) {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(ProgramError::Exit(status.code())),
            Ok(None) if clock::now() < deadline => std::thread::sleep(limits::PROGRAM_EXIT_TICK),
            Ok(None) => return Err(ProgramError::TooSlow(Duration::ZERO)),
            Err(error) => return Err(ProgramError::Output(error)),
        }
    }
}

/// The programs that run, by the numbers of their process groups.
#[derive(Debug)]
struct Programs(Mutex<State>);

#[derive(Debug)]
struct State {
    groups: Vec<Pid>,
    /// The process exits: no other program is started.
    exiting: bool,
}

/// The programs of this process.
static PROGRAMS: Programs = Programs::new();

/// Kills every program that runs, with the processes that it has started, and lets no other start: the process
/// exits, and what ignores other signals would outlive it.
pub(crate) fn kill_all() {
    PROGRAMS.kill_all();
}

impl Programs {
    const fn new() -> Self {
        Self(Mutex::new(State { groups: Vec::new(), exiting: false }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.state();
        if state.exiting {
            return Err(ErrorKind::Interrupted.into());
        }
        let child = command.spawn()?;
        state.groups.push(Pid::from_child(&child));
        Ok(child)
    }

    /// Whether the program has exited. Its number is forgotten with that: another process may get it.
    fn poll(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        let mut state = self.state();
        let group = Pid::from_child(child);
        let exited = child.try_wait()?;
        if let Some(status) = exited {
            state.groups.retain(|other| *other != group);
            if !status.success() {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        Ok(exited)
    }

    /// Ends what is left of the program and of what it has started.
    fn kill(&self, child: &mut Child) {
        let mut state = self.state();
        let group = Pid::from_child(child);
        if state.groups.contains(&group) {
            state.groups.retain(|other| *other != group);
            let _ = kill_process_group(group, Signal::KILL);
        }
        drop(state);
        let _ = child.wait();
    }

    /// A start that takes longer than [`limits::PROGRAM_START_WAIT`] has executed nothing yet, and holds up nothing.
    fn kill_all(&self) {
        let deadline = clock::now() + limits::PROGRAM_START_WAIT;
        let mut state = loop {
            match self.0.try_lock() {
                Ok(state) => break state,
                Err(TryLockError::Poisoned(state)) => break state.into_inner(),
                Err(TryLockError::WouldBlock) if clock::now() < deadline => {
                    std::thread::sleep(limits::PROGRAM_EXIT_TICK);
                }
                Err(TryLockError::WouldBlock) => return,
            }
        };
        state.exiting = true;
        for group in state.groups.drain(..) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn run(script: &str, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let environment = vec![("GIVEN".into(), "yes".into())];
        let program = Path::new("/bin/sh");
        Run { program, arguments: &arguments, environment, timeout, output_max: 64 }.output()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn program_prints_with_a_clean_environment() {
        let printed = run("echo \"$GIVEN-$HOME-$(pwd)\"; echo secret >&2; cat", LONG).unwrap();
        assert_eq!(**printed, *b"yes--/\n");
        let all = run("env | cut -d= -f1 | sort | tr '\\n' ' '", LONG).unwrap();
        let all = String::from_utf8(all.to_vec()).unwrap();
        assert!(!all.contains("HOME") && !all.contains("CARGO"), "{all}");
    }

    #[test]
    fn exit_does_not_wait_for_a_program_that_does_not_start() {
        let (programs, (done, ended)) = (Programs::new(), std::sync::mpsc::channel());
        std::thread::scope(|scope| {
            let starting = programs.state();
            scope.spawn(|| {
                programs.kill_all();
                done.send(()).unwrap();
            });
            let ended = ended.recv_timeout(LONG);
            drop(starting);
            assert!(ended.is_ok(), "the exit waits for a start");
        });
        programs.kill_all();
        assert!(programs.start(&mut Command::new("/bin/true")).is_err(), "no other is started");
    }

    #[test]
    fn program_that_fails_is_an_error() {
        assert!(matches!(run("echo x; exit 7", LONG), Err(ProgramError::Exit(Some(7)))));
        assert!(matches!(run("kill -9 $$", LONG), Err(ProgramError::Exit(None))));
        let missing = Run {
            program: Path::new("/nowhere/program"),
            arguments: &[],
            environment: Vec::new(),
            timeout: LONG,
            output_max: 9,
        };
        assert!(matches!(missing.output(), Err(ProgramError::Start(_))));
    }

    #[test]
    fn output_and_time_of_a_program_are_bounded() {
        let full = run("printf %64s x", LONG).unwrap();
        assert_eq!(full.len(), 64);
        assert!(matches!(run("printf %65s x", LONG), Err(ProgramError::TooMuch(64))));
        assert!(matches!(run("exec cat /dev/zero", LONG), Err(ProgramError::TooMuch(64))));
        let short = Duration::from_millis(100);
        // The child of the program holds its output open.
        for script in ["sleep 600", "sleep 600 & exit 0", "exec >&-; sleep 600"] {
            let start = clock::now();
            assert!(
                matches!(run(script, short), Err(ProgramError::TooSlow(time)) if time == short)
            );
            assert!(clock::now() - start < LONG, "{script}");
        }
    }

    #[test]
    fn program_that_everyone_may_change_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, "#!/bin/sh\necho x\n").unwrap();
        let run = |mode| {
            std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
            let run = Run {
                program: &program,
                arguments: &[],
                environment: Vec::new(),
                timeout: LONG,
                output_max: 9,
            };
            run.output()
        };
        assert_eq!(**run(0o755).unwrap(), *b"x\n");
        assert!(matches!(run(0o757), Err(ProgramError::WritableByAll)));
        assert!(matches!(run(0o644), Err(ProgramError::Start(_))));
    }
}
