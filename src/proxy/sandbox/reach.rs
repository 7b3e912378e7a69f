//! What a configuration needs of the file system and the network: the rules of the sandbox.
//!
//! Owns: [`Reach`]. Never knows: Landlock, threads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{AuditSink, Config, ListenAddress, SyslogAddress, secret_files};

/// What a program of this system reads to run at all: libraries, names, time zones, authorities, and what the
/// kernel reports of this process and this machine.
const SYSTEM: [&str; 16] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/nix/store",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
    "/proc/self",
    "/proc/stat",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
];
/// Names may need TCP.
const DNS: u16 = 53;

/// Everything that the process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Files, and directories with all that they hold.
    pub read: BTreeSet<PathBuf>,
    /// Directories in which files and sockets are made, replaced and removed.
    pub write: BTreeSet<PathBuf>,
    /// Programs, and directories with programs.
    pub execute: BTreeSet<PathBuf>,
    /// TCP ports that it listens on.
    pub bind: BTreeSet<u16>,
    /// TCP ports that it connects to; `None`: any.
    pub connect: Option<BTreeSet<u16>>,
}

impl Reach {
    /// What `config` names; `files` are those that are read again when they change.
    #[must_use]
    pub(crate) fn of(config: &Config, files: &[PathBuf]) -> Self {
        let mut reach = Self::default();
        reach.read.extend(SYSTEM.map(PathBuf::from));
        reach.read.extend(config.sandbox.read.iter().cloned());
        let secrets = secret_files(config).into_iter().map(|secret| secret.path);
        let syslog =
            config.audit.iter().flat_map(|audit| &audit.sinks).filter_map(|sink| match sink {
                AuditSink::Syslog(syslog) => syslog.ca.clone(),
                AuditSink::File(_) | AuditSink::Stdout => None,
            });
        let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
        let variables = variables.into_iter().flatten().map(PathBuf::from);
        for path in secrets.chain(syslog).chain(variables) {
            reach.read_file(&path);
        }
        for path in files {
            reach.read_file(path);
        }
        for (_, rules) in config.sections() {
            if let Some(directory) = &rules.scripts.directory {
                reach.read_file(&directory.join("file"));
            }
        }
        for path in ["/etc/resolv.conf", "/etc/hosts", "/etc/localtime"] {
            reach.read_file(Path::new(path));
        }
        reach.listeners(config);
        reach.audit(config);
        // A Unix socket is a file, and connecting to it is not what Landlock bounds.
        let server = config.upstream.address.tcp().map(|server| server.port);
        let ports = server.into_iter().chain([DNS]).chain(config.sandbox.connect.iter().copied());
        reach.connect.get_or_insert_default().extend(ports);
        reach.command(config);
        reach
    }

    /// A file that may be replaced, and the directory that holds it with it: so its directory, and that of where it
    /// leads. Where a link leads to a directory of another place, the next one will be beside that; /run or /etc as a
    /// whole is too much for it.
    fn read_file(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let Some(parent) = path.parent() else { return };
        self.read.insert(parent.to_owned());
        let Some(target) = path.canonicalize().ok() else { return };
        let Some(directory) = target.parent() else { return };
        self.read.insert(directory.to_owned());
        if !directory.starts_with(parent)
            && let Some(beside) = directory.parent()
            && beside.components().count() > 2
        {
            self.read.insert(beside.to_owned());
        }
    }

    fn listeners(&mut self, config: &Config) {
        for listener in &config.listeners {
            match &listener.address {
                ListenAddress::Tcp(address) => {
                    self.bind.insert(address.port());
                }
                ListenAddress::Unix(path) => self.make(path),
            }
        }
        if let Some(path) = &config.admin.socket {
            self.make(path);
        }
        let others = [config.admin.address, config.telemetry.address];
        self.bind.extend(others.into_iter().flatten().map(|address| address.port()));
    }

    fn make(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.write.extend(path.parent().map(Path::to_owned));
    }

    fn audit(&mut self, config: &Config) {
        for sink in config.audit.iter().flat_map(|audit| &audit.sinks) {
            match sink {
                AuditSink::File(file) => self.make(&file.path),
                AuditSink::Syslog(syslog) => {
                    let (SyslogAddress::Tcp(address) | SyslogAddress::Tls(address)) =
                        &syslog.address
                    else {
                        continue;
                    };
                    let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
                    self.connect.get_or_insert_default().extend(port);
                }
                AuditSink::Stdout => {}
            }
        }
    }

    /// A program that prints the password inherits the sandbox: it may run what the system has, make temporary
    /// files, read the files that its variables and arguments name, and connect to any port.
    fn command(&mut self, config: &Config) {
        let Some(command) = &config.upstream.auth.command else { return };
        self.connect = None;
        self.execute.extend(["/usr", "/bin", "/lib", "/lib64", "/nix/store"].map(PathBuf::from));
        self.execute.insert(command.program.clone());
        self.write.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
        self.read_file(&command.program);
        for name in &command.environment {
            if let Some(value) = std::env::var_os(name).map(PathBuf::from)
                && value.is_absolute()
            {
                self.read_file(&value);
            }
        }
        let account = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
        if account.exists() {
            self.read_file(account);
        }
        for argument in command.arguments.iter().map(Path::new).filter(|path| path.is_absolute()) {
            self.read_file(argument);
        }
    }

    /// What `other` needs and this does not permit.
    #[must_use]
    pub(crate) fn lacks(&self, other: &Self) -> Vec<PathBuf> {
        let within =
            |set: &BTreeSet<PathBuf>, path: &Path| set.iter().any(|own| path.starts_with(own));
        let mut lacks: Vec<PathBuf> = Vec::new();
        lacks.extend(other.read.iter().filter(|path| !within(&self.read, path)).cloned());
        lacks.extend(other.write.iter().filter(|path| !within(&self.write, path)).cloned());
        lacks
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use std::os::unix::fs::symlink;

    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:6379\"\n[[listener]]\naddress = \"unix:/run/r/s.sock\"\n\
             [upstream]\naddress = \"127.0.0.1:6380\"\ninsecure_plaintext = true\n{more}\n\
             [policy]\npreset = \"full\"\n[telemetry]\naddress = \"127.0.0.1:9379\"\n"
        );
        crate::config::parse(&text, "test", []).unwrap()
    }

    #[test]
    fn ports_and_directories_are_those_of_the_configuration() {
        let reach = Reach::of(&config(""), &[PathBuf::from("/srv/tls/tls.crt")]);
        assert_eq!(reach.bind, [6379, 9379].into());
        assert_eq!(reach.connect, Some([53, 6380].into()));
        assert!(reach.write.contains(Path::new("/run/r")) && reach.execute.is_empty());
        assert!(reach.read.contains(Path::new("/srv/tls")));
        let all = reach.read.iter().chain(&reach.write);
        assert!(all.into_iter().all(|path| path.parent().is_some()), "{reach:?}");
        assert!(!reach.read.contains(Path::new("/run")), "{reach:?}");
    }

    #[test]
    fn program_that_prints_passwords_can_be_run_and_can_connect() {
        let program =
            "[upstream.auth]\npassword_command = [\"/opt/tokens/print\", \"/srv/x/role\"]";
        let reach = Reach::of(&config(program), &[]);
        assert_eq!(reach.connect, None);
        for path in ["/usr", "/opt/tokens/print"] {
            assert!(reach.execute.contains(Path::new(path)), "{path}");
        }
        assert!(
            reach.read.contains(Path::new("/opt/tokens"))
                && reach.read.contains(Path::new("/srv/x"))
        );
    }

    /// Kubernetes replaces a directory within the volume; others replace a link beside the directories.
    #[test]
    fn next_version_of_a_file_is_within_reach() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for version in ["volume/..1", "volume/..2", "v1", "v2"] {
            std::fs::create_dir_all(at(version)).unwrap();
            std::fs::write(at(version).join("key"), "x").unwrap();
        }
        symlink("..1", at("volume/..data")).unwrap();
        symlink("..data/key", at("volume/key")).unwrap();
        symlink("v1", at("current")).unwrap();
        let reach = Reach::of(&config(""), &[at("volume/key"), at("current/key")]);
        let home = home.path().canonicalize().unwrap();
        for next in ["volume/..2/key", "v2/key"] {
            let next = home.join(next);
            assert!(reach.read.iter().any(|path| next.starts_with(path)), "{next:?}: {reach:?}");
        }
    }

    #[test]
    fn files_of_another_configuration_are_named() {
        let reach = |file: &str| Reach::of(&config(""), &[PathBuf::from(file)]);
        assert!(reach("/srv/a/x").lacks(&reach("/srv/a/y")).is_empty());
        assert!(reach("/srv/a/x").lacks(&reach("/srv/a/deeper/y")).is_empty());
        assert_eq!(reach("/srv/a/x").lacks(&reach("/srv/b/y")), [PathBuf::from("/srv/b")]);
    }
}
