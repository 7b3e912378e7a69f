//! Where a configuration comes from: a file, or flags that are one key each.
//!
//! Owns: [`Inputs`], what its flags mean in terms of configuration keys. Never knows: verbs.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::config::{ConfigSource, Place, Problem, Setting};

/// Headings under which the help shows the flags that take the place of a file.
const SERVER: &str = "Instead of a file: the server";
const APPLICATIONS: &str = "Instead of a file: applications";
const POLICY: &str = "Instead of a file: what they may do";
const TELEMETRY: &str = "Instead of a file: telemetry";

/// A configuration as a file or as flags.
#[derive(Debug, Args)]
pub(in crate::cli) struct Inputs {
    /// The configuration file (TOML)
    #[arg(short, long, value_name = "FILE", conflicts_with = "Flags", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
#[group(id = "Flags", multiple = true)]
struct Flags {
    /// The server: host:port, or rediss://user@host:port
    #[arg(long, value_name = "ADDRESS", help_heading = SERVER)]
    upstream: Option<String>,
    /// Client certificate and its chain (PEM), if the server requires one
    #[arg(long, value_name = "FILE", help_heading = SERVER, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    cert: Option<String>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", help_heading = SERVER, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    key: Option<String>,
    /// Authorities that may sign the server's certificate (PEM), or system for the public ones
    #[arg(long, value_name = "FILE", help_heading = SERVER, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    ca: Option<String>,
    /// The name in the server's certificate, if it is not the host
    #[arg(long, value_name = "NAME", help_heading = SERVER)]
    server_name: Option<String>,
    /// Connect to the server without TLS
    #[arg(long, help_heading = SERVER)]
    insecure_plaintext: bool,
    /// User name for the server
    #[arg(long, value_name = "NAME", help_heading = SERVER)]
    username: Option<String>,
    /// File that contains the password for the server
    #[arg(long, value_name = "FILE", help_heading = SERVER, value_hint = ValueHint::FilePath)]
    password_file: Option<String>,
    /// Environment variable that contains the password for the server
    #[arg(long, value_name = "NAME", help_heading = SERVER, conflicts_with = "password_file")]
    password_env: Option<String>,
    /// Where applications connect, as 127.0.0.1:6379 (default) or unix:/path; may be repeated
    #[arg(long, value_name = "ADDRESS", help_heading = APPLICATIONS)]
    listen: Vec<String>,
    /// Allow --listen addresses that other machines can reach
    #[arg(long, help_heading = APPLICATIONS, requires = "listen")]
    allow_remote: bool,
    /// Allow keys and channels that begin with this, and no others
    #[arg(long, help_heading = POLICY, value_parser = prefix)]
    prefix: Option<String>,
    /// Base rules of the policy: default, cache, readwrite, readonly or full
    #[arg(long, value_name = "NAME", help_heading = POLICY)]
    preset: Option<String>,
    /// Rules of the policy, as Redis's ACL SETUSER takes them
    #[arg(long, value_name = "RULES", help_heading = POLICY, allow_hyphen_values = true)]
    acl: Option<String>,
    /// Where metrics and health are served, or off
    #[arg(long, value_name = "ADDRESS", help_heading = TELEMETRY)]
    telemetry: Option<String>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", help_heading = TELEMETRY, conflicts_with_all = ["verbose", "quiet"])]
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
    pub(in crate::cli) fn source(self) -> ConfigSource {
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

/// A problem of a configuration without a file, with a hint about flags.
pub(in crate::cli) fn for_flags(source: &ConfigSource, mut problem: Problem) -> Problem {
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
                 the server needs a client certificate; or --insecure-plaintext to do without"
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
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        _global: crate::cli::args::Global,
        #[command(flatten)]
        inputs: Inputs,
    }

    fn parse(line: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(["respgate"].into_iter().chain(line.split(' ')))
    }

    fn source(line: &str) -> ConfigSource {
        parse(line).unwrap().inputs.source()
    }

    const TLS: &str = "--upstream rediss://app1@redis:6380 --cert c --key k --ca a";

    #[test]
    fn prefix_stands_on_the_default_preset() {
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
    fn hints_name_flags() {
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
    fn file_and_flags_exclude_each_other() {
        for line in ["--config f --upstream h:1", "--config f --listen x", "--allow-remote"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
