//! Bounds that the process sets for itself before it reads a byte from the network.
//!
//! Owns: [`Sandbox`]: Landlock, no new privileges, no core dumps. Never knows: what a configuration needs ([`Reach`]).

mod reach;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

use super::error::StartError;
use crate::config::{Config, ListenAddress};
use crate::downstream::BindError;
use crate::telemetry::Landlock;
pub(super) use reach::Reach;

/// The newest version of Landlock whose rights are named here; an older kernel knows some of them.
const VERSION: ABI = ABI::V5;

/// What is in force, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(super) confinement: Landlock,
    pub(super) no_new_privileges: bool,
    pub(super) no_core_dumps: bool,
    pub(super) reach: Reach,
}

impl Sandbox {
    /// Sets the bounds for this thread and all that it starts: to be called before there are others. `files` are
    /// those that are read again when they change.
    pub(super) fn enter(config: &Config, files: &[PathBuf]) -> Result<Self, StartError> {
        let reach = Reach::of(config, files);
        let mut sandbox = Self {
            confinement: Landlock::Off,
            no_new_privileges: false,
            no_core_dumps: false,
            reach,
        };
        if !config.sandbox.enabled {
            return Ok(sandbox);
        }
        check_addresses(config)?;
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        // The service manager may forbid it; the next bound is enough.
        let _ = setrlimit(Resource::Core, none);
        sandbox.no_core_dumps = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
        sandbox.no_new_privileges = set_no_new_privs(true).is_ok();
        sandbox.confinement = confine(&sandbox.reach)
            .map_err(|error| StartError::new(format!("the sandbox cannot be set up: {error}")))?;
        Ok(sandbox)
    }

    /// Directories that another configuration needs and that are out of reach until a restart.
    pub(super) fn lacks(&self, config: &Config, files: &[PathBuf]) -> Vec<PathBuf> {
        match self.confinement {
            Landlock::Off | Landlock::Unsupported => Vec::new(),
            Landlock::Partial | Landlock::Full => self.reach.lacks(&Reach::of(config, files)),
        }
    }
}

/// The process that has an address in use can be named only before the sandbox: then other processes are out of sight.
fn check_addresses(config: &Config) -> Result<(), StartError> {
    if std::env::var_os("LISTEN_FDS").is_some() {
        return Ok(());
    }
    let in_use = |address: SocketAddr| {
        let error = TcpListener::bind(address).err()?;
        (error.kind() == std::io::ErrorKind::AddrInUse).then_some(error)
    };
    for listener in &config.listeners {
        if let ListenAddress::Tcp(address) = &listener.address
            && let Some(error) = in_use(*address)
        {
            return Err(StartError::bind(BindError::tcp(*address, &error)));
        }
    }
    match config.telemetry.address.and_then(|address| Some((address, in_use(address)?))) {
        Some((address, error)) => Err(StartError::telemetry(address, &error)),
        None => Ok(()),
    }
}

fn confine(reach: &Reach) -> Result<Landlock, RulesetError> {
    let all = AccessFs::from_all(VERSION);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp)?;
    if reach.connect.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut ruleset = ruleset.create()?;
    let null = [PathBuf::from("/dev/null")];
    for (paths, access) in [
        (reach.read.iter().collect::<Vec<_>>(), read),
        (reach.write.iter().collect(), write),
        (reach.execute.iter().collect(), read | AccessFs::Execute),
        (null.iter().collect(), AccessFs::ReadFile | AccessFs::WriteFile),
    ] {
        for path in paths {
            ruleset = match rule(path, access) {
                Some(rule) => ruleset.add_rule(rule)?,
                None => ruleset,
            };
        }
    }
    for port in &reach.bind {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in reach.connect.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Landlock::Unsupported,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::FullyEnforced => Landlock::Full,
    })
}

/// What is not there cannot be permitted.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let is_directory = std::fs::metadata(path).ok()?.is_dir();
    let access = if is_directory { access } else { access & AccessFs::from_file(VERSION) };
    Some(PathBeneath::new(PathFd::new(path).ok()?, access))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may crash")]
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    /// The bounds are those of one thread here, which ends with them.
    #[test]
    fn ports_and_files_that_are_not_named_are_refused_from_within() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (named, other) = (listen(), listen());
        let [named, other] = [&named, &other].map(|socket| socket.local_addr().unwrap());
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for directory in [&inside, &outside] {
            std::fs::write(directory.path().join("file"), "x").unwrap();
        }
        let (own, foreign) = (inside.path().join("file"), outside.path().join("file"));
        let reach = Reach {
            read: [inside.path().to_owned()].into(),
            connect: Some([named.port()].into()),
            ..Reach::default()
        };
        let within = std::thread::spawn(move || {
            set_no_new_privs(true).unwrap();
            let landlock = confine(&reach).unwrap();
            let refused = |port| TcpStream::connect(port).err().map(|error| error.kind());
            let unread = |path| std::fs::read(path).err().map(|error| error.kind());
            let bound = TcpListener::bind("127.0.0.1:0").err().map(|error| error.kind());
            (landlock, [refused(named), unread(own)], [refused(other), bound, unread(foreign)])
        });
        let (landlock, named, others) = within.join().unwrap();
        assert_eq!(named, [None, None]);
        if landlock == Landlock::Full {
            assert_eq!(others, [Some(ErrorKind::PermissionDenied); 3]);
        } else {
            eprintln!("skipped: of Landlock this kernel has: {landlock:?}");
        }
    }
}
