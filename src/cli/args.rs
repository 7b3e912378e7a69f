//! Flags and subcommands, and what flags mean in terms of configuration keys.
//!
//! Owns: [`Arguments`], the text of the help. Never knows: effects.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigSource, Place, Problem, Setting};

const EXAMPLES: &str = "\
Examples:
  Serve as a configuration file says, after checking it:
    respgate check --config /etc/respgate/respgate.toml
    respgate run --config /etc/respgate/respgate.toml

  Serve without a file; the application can use only keys that begin with app1::
    respgate run --upstream rediss://app1@redis.example.com:6380 \\
      --cert tls.crt --key tls.key --ca ca.crt --password-file password --prefix app1:

  Ask which rule decides about a command:
    respgate explain --config /etc/respgate/respgate.toml 'SORT app1:list BY w_* STORE app1:s'

  Run a demonstration with a temporary server and certificates:
    respgate demo --once

Environment variables override the keys of a file, and flags override them:
    RESPGATE__UPSTREAM__ADDRESS=redis.example.com:6380
    RESPGATE__UPSTREAM__POOL__MAX_CONNECTIONS=64
    RESPGATE__LISTENER__0__ADDRESS=127.0.0.1:6379

Exit codes: 0 success, 1 the configuration is invalid, 2 the command line is invalid.\ncheck --connect: 3 the server cannot be used.\nexplain: 0 the command passes, 1 it is refused.\nacl --diff: 0 the server has the same rules, 1 others.";

/// A sidecar proxy: plain RESP on localhost in, policy, mutual TLS to Redis or Valkey out.
#[derive(Debug, Parser)]
#[command(name = "respgate", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve applications until SIGTERM or SIGINT
    Run(Box<Inputs>),
    /// Validate the configuration: print all errors, or a summary
    Check {
        #[command(flatten)]
        inputs: Box<Inputs>,
        /// Do not read the files that the configuration names
        #[arg(long)]
        skip_files: bool,
        /// Try the server too: resolve, connect, TLS, login, and the rules of its user; 3 when it
        /// cannot be used
        #[arg(long, conflicts_with = "skip_files")]
        connect: bool,
    },
    /// Show what happens to a command, and which rule decides
    Explain {
        #[command(flatten)]
        inputs: Box<Inputs>,
        /// Ask the respgate that runs with this control socket, instead of reading a configuration
        #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "Flags"])]
        socket: Option<PathBuf>,
        /// One of [policies]; without it, [policy]
        #[arg(long, value_name = "NAME", value_parser = policy_name)]
        policy: Option<String>,
        /// The database that the client has selected
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        database: u32,
        /// The command: one text in quotes, or its words
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print the smallest policy that would pass what a running respgate has observed
    Learn {
        /// The control socket of that respgate: [admin] socket
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
    },
    /// Print the policies as rules of the server's own user, or compare them with that user's rules
    Acl {
        #[command(flatten)]
        inputs: Box<Inputs>,
        /// One of [policies]; without it, all that clients can have, together
        #[arg(long, value_name = "NAME", value_parser = policy_name)]
        policy: Option<String>,
        /// Show the differences from the server's rules; with a file or -, the output of ACL LIST is read
        /// from there instead of asking the server
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "")]
        diff: Option<String>,
    },
    /// Run a local demonstration with a temporary server and certificates
    Demo(DemoArguments),
    /// Print the version
    Version,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Run the demonstration and exit: 0 when every step succeeded
    #[arg(long)]
    pub once: bool,
    /// Keep certificates, configuration and logs
    #[arg(long)]
    pub keep: bool,
    /// The server to start: redis-server, valkey-server or a path
    #[arg(long, value_name = "PROGRAM")]
    pub server: Option<String>,
    /// Where applications connect, besides a Unix socket: 127.0.0.1:6379 or the next free port
    /// (default), 127.0.0.1:0 for any free port, or unix:/path; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
}

/// A configuration as a file or as flags.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// The configuration file (TOML)
    #[arg(short, long, value_name = "FILE", conflicts_with = "Flags")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
#[group(id = "Flags", multiple = true)]
#[command(next_help_heading = "Instead of a file")]
struct Flags {
    /// The server: host:port, or rediss://user@host:port
    #[arg(long, value_name = "ADDRESS")]
    upstream: Option<String>,
    /// Client certificate and its chain (PEM), if the server asks for one
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    cert: Option<String>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    key: Option<String>,
    /// Authorities that may sign the server's certificate (PEM), or system for the public ones
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    ca: Option<String>,
    /// The name in the server's certificate, if it is not the host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Connect to the server without TLS
    #[arg(long)]
    insecure_plaintext: bool,
    /// User name for the server
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File that contains the password for the server
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// Environment variable that contains the password for the server
    #[arg(long, value_name = "NAME", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// Where applications connect, as 127.0.0.1:6379 (default) or unix:/path; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Allow --listen addresses that other machines can reach
    #[arg(long, requires = "listen")]
    allow_remote: bool,
    /// Allow keys and channels that begin with this, and no others
    #[arg(long, value_parser = prefix)]
    prefix: Option<String>,
    /// Base rules of the policy: default, cache, readwrite, readonly or full
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Rules of the policy, as Redis's ACL SETUSER takes them
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    acl: Option<String>,
    /// Where metrics and health are served, or off
    #[arg(long, value_name = "ADDRESS")]
    telemetry: Option<String>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Flags that are one key each.
const KEYS: [(&str, &str); 12] = [
    ("--upstream", "upstream.address"),
    ("--cert", "upstream.tls.cert"),
    ("--key", "upstream.tls.key"),
    ("--ca", "upstream.tls.ca"),
    ("--server-name", "upstream.tls.server_name"),
    ("--username", "upstream.auth.username"),
    ("--password-file", "upstream.auth.password_file"),
    ("--password-env", "upstream.auth.password_env"),
    ("--preset", "policy.preset"),
    ("--acl", "policy.acl"),
    ("--telemetry", "telemetry.address"),
    ("--log-level", "telemetry.log_level"),
];

impl Inputs {
    /// What to read, now and at every reload.
    pub(super) fn source(self) -> ConfigSource {
        ConfigSource { path: self.config, flags: self.flags.settings() }
    }
}

impl Flags {
    fn settings(self) -> Vec<Setting> {
        let setting = |flag: &str, key: &str, value: String| {
            Setting::new(Place::Flag(flag.to_owned()), key, value)
        };
        let (preset, acl) = match self.prefix {
            Some(prefix) => {
                let rules = format!("resetkeys ~{prefix}* resetchannels &{prefix}*");
                let acl = self.acl.map_or_else(|| rules.clone(), |acl| format!("{rules} {acl}"));
                (Some(self.preset.unwrap_or_else(|| "default".to_owned())), Some(acl))
            }
            None => (self.preset, self.acl),
        };
        let values = [
            self.upstream,
            self.cert,
            self.key,
            self.ca,
            self.server_name,
            self.username,
            self.password_file,
            self.password_env,
            preset,
            acl,
            self.telemetry,
            self.log_level,
        ];
        let mut settings: Vec<Setting> = KEYS
            .iter()
            .zip(values)
            .filter_map(|((flag, key), value)| value.map(|value| setting(flag, key, value)))
            .collect();
        if self.insecure_plaintext {
            let key = "upstream.insecure_plaintext";
            settings.push(setting("--insecure-plaintext", key, true.to_string()));
        }
        for (index, address) in self.listen.into_iter().enumerate() {
            let key = |name: &str| format!("listener.{index}.{name}");
            settings.push(setting("--listen", &key("address"), address));
            if self.allow_remote {
                settings.push(setting("--allow-remote", &key("allow_remote"), true.to_string()));
            }
        }
        settings
    }
}

/// The start of a key as a glob pattern takes it.
fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("empty".to_owned());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("an ACL pattern cannot contain spaces".to_owned());
    }
    let special = |c: char| matches!(c, '*' | '?' | '[' | '\\');
    Ok(text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect())
}

/// A name that a policy can have.
fn policy_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || !text.bytes().all(fits) {
        return Err("a name consists of letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

/// A problem of a configuration without a file, with a hint that speaks of flags.
pub(super) fn for_flags(source: &ConfigSource, mut problem: Problem) -> Problem {
    if source.path.is_some() || matches!(problem.place, Place::Variable(_)) {
        return problem;
    }
    let flag = KEYS.iter().find(|(_, key)| *key == problem.key).map(|(flag, _)| *flag);
    let hint = match (problem.key.as_str(), flag) {
        ("upstream.address", _) if problem.problem == "missing" => {
            Some("give --upstream HOST:PORT, or --config FILE".to_owned())
        }
        ("upstream.tls", _) => Some(
            "give --ca FILE, or --ca system for public authorities, with --cert and --key if \
                 the server asks for a client certificate; or --insecure-plaintext to do without"
                .to_owned(),
        ),
        (_, Some(flag)) if problem.problem == "missing" => Some(format!("give {flag}")),
        (key, _) if key.starts_with("listener.") && problem.place == listen() => {
            problem.hint.map(|hint| hint.replace("add allow_remote = true", "add --allow-remote"))
        }
        _ => problem.hint,
    };
    problem.hint = hint;
    problem
}

fn listen() -> Place {
    Place::Flag("--listen".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn source(line: &str) -> ConfigSource {
        let words = ["respgate", "run"].into_iter().chain(line.split(' '));
        match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
            Ok(Command::Run(inputs)) => inputs.source(),
            other => panic!("{other:?}"),
        }
    }

    const TLS: &str = "--upstream rediss://app1@redis:6380 --cert c --key k --ca a";

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_prefix_stands_on_the_default_preset() {
        for (flags, preset, acl) in [
            ("--prefix app1:", Some("default"), Some("resetkeys ~app1:* resetchannels &app1:*")),
            ("--prefix a[b", Some("default"), Some("resetkeys ~a\\[b* resetchannels &a\\[b*")),
            (
                "--prefix a --preset cache --acl -get",
                Some("cache"),
                Some("resetkeys ~a* resetchannels &a* -get"),
            ),
            ("--acl -get", None, Some("-get")),
            ("--log-level debug", None, None),
        ] {
            let config = source(&format!("{TLS} {flags}")).load(Vec::new()).unwrap();
            assert_eq!(config.policy.preset.as_deref(), preset, "{flags}");
            assert_eq!(config.policy.acl.as_deref(), acl, "{flags}");
        }
        for bad in ["", "a b", "a\n"] {
            assert!(prefix(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_flag_reaches_its_key() {
        let all = "--server-name n --password-file p --listen unix:x --listen 0.0.0.0:1 \
                   --allow-remote --telemetry off --log-level trace";
        let config = source(&format!("{TLS} {all}")).load(Vec::new()).unwrap();
        let tls = config.upstream.tls.unwrap();
        let paths: Vec<_> = tls.files().collect();
        assert_eq!(paths, ["c", "k", "a"].map(std::path::Path::new));
        assert_eq!(tls.server_name.as_deref(), Some("n"));
        assert_eq!(config.listeners.len(), 2);
        assert!(config.listeners[1].allow_remote);
        assert_eq!(config.telemetry.address, None);
        assert_eq!(config.telemetry.log_level, "trace");
        let plain = "--upstream h:1 --insecure-plaintext --username u --password-env P";
        let config = source(plain).load(Vec::new()).unwrap();
        assert!(config.upstream.tls.is_none());
        assert_eq!(config.upstream.auth.username.as_deref(), Some("u"));
    }

    #[test]
    fn hints_speak_of_flags() {
        for (flags, expected) in [
            ("--listen 0.0.0.0:1", "--allow-remote"),
            ("--cert c", "--upstream HOST:PORT"),
            ("--cert c", "give --key"),
            ("--upstream h:1", "--insecure-plaintext"),
        ] {
            let source = source(flags);
            let problems = source.load(Vec::new()).unwrap_err();
            let text: Vec<String> =
                problems.into_iter().map(|p| for_flags(&source, p).to_string()).collect();
            assert!(text.join("\n").contains(expected), "{text:?}");
        }
    }

    #[test]
    fn a_file_and_flags_exclude_each_other() {
        for line in ["--config f --upstream h:1", "--config f --listen x", "--allow-remote"] {
            let words = ["respgate", "run"].into_iter().chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
