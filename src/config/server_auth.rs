//! Settings of the login at the server: user, and where the password is from.
//!
//! Owns: [`ServerAuth`], [`PasswordCommand`], how they are read. Never knows: passwords, connections.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ValueError;
use super::section::{Section, duration, string, strings};
use super::source::{SecretSource, is_variable, secret};
use super::tree::Node;

/// How respgate authenticates to the server; without a password the certificate alone must do.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ServerAuth {
    pub username: Option<String>,
    pub password: Option<SecretSource>,
    /// Instead of `password`.
    pub command: Option<PasswordCommand>,
}

/// A program that prints the password as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCommand {
    /// An absolute path.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Names of the variables of respgate's environment that the program gets; it gets no others.
    pub environment: Vec<String>,
    pub timeout: Duration,
    /// How often it is run when it does not say until when its password holds.
    pub refresh: Duration,
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// A start, a reload and a shutdown may have to wait for a run.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(900);

/// Reads `[upstream.auth]`; the address may name the user, too.
pub(super) fn read(at: &Section<'_>, from_address: Option<String>) -> ServerAuth {
    let username = at.get("username", string);
    if from_address.is_some() && username.is_some() && from_address != username {
        let hint = "keep one of auth.username and the name in the address";
        at.report("username", ValueError::new("contradicts the address").hint(hint));
    }
    let (password, command) = (secret(at), command(at));
    if password.is_some() && command.is_some() {
        let hint = "keep one of password_file, password_env and password_command";
        at.report(
            "password_command",
            ValueError::new("there are two sources of one password").hint(hint),
        );
    }
    ServerAuth { username: username.or(from_address), password, command }
}

fn command(at: &Section<'_>) -> Option<PasswordCommand> {
    let words = at.get("password_command", words);
    let environment = at.get("password_command_env", variables).unwrap_or_default();
    let timeout = at.get("password_command_timeout", timeout).unwrap_or(TIMEOUT);
    let refresh = at.get("password_command_refresh", refresh).unwrap_or(REFRESH);
    let mut words = words?.into_iter();
    let program = PathBuf::from(words.next()?);
    Some(PasswordCommand { program, arguments: words.collect(), environment, timeout, refresh })
}

/// A program and its arguments. An error repeats none of them.
fn words(node: &Node) -> Result<Vec<String>, ValueError> {
    let hint = "write the absolute path of the program, then its arguments: \
                password_command = [\"/usr/local/bin/token\", \"--user\", \"app1\"]";
    let words = strings(node).map_err(|mistake| mistake.hint(hint))?;
    let is_path = words.first().is_some_and(|program| program.starts_with('/'));
    if !is_path || words.iter().any(|word| word.contains('\0')) {
        return Err(ValueError::new("does not begin with an absolute path").hint(hint));
    }
    Ok(words)
}

fn variables(node: &Node) -> Result<Vec<String>, ValueError> {
    let names = strings(node)?;
    if names.iter().all(|name| is_variable(name)) {
        return Ok(names);
    }
    Err(ValueError::new("one is not the name of an environment variable")
        .hint("write names alone: the values are taken from respgate's own environment"))
}

fn timeout(node: &Node) -> Result<Duration, ValueError> {
    let timeout = duration(node)?;
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        return Err(ValueError::new("not between 1ms and 60s")
            .hint("write password_command_timeout = \"10s\""));
    }
    Ok(timeout)
}

fn refresh(node: &Node) -> Result<Duration, ValueError> {
    let refresh = duration(node)?;
    if refresh < Duration::from_secs(1) {
        return Err(
            ValueError::new("shorter than 1s").hint("write password_command_refresh = \"15m\"")
        );
    }
    Ok(refresh)
}
