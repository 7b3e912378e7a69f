//! Settings of the login at the server: user, and where the password is from.
//!
//! Owns: [`ServerAuth`], [`PasswordCommand`], [`CertificateLogin`], how they are read. Never knows:
//! passwords, connections.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ValueError;
use super::section::{Section, boolean, choice, duration, string, strings};
use super::source::{SecretSource, is_variable, secret};
use super::tree::Node;
use crate::base::limits;

/// How respgate authenticates to the server; without a password the certificate alone must do.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ServerAuth {
    pub username: Option<String>,
    pub password: Option<SecretSource>,
    /// Instead of `password`.
    pub command: Option<PasswordCommand>,
    /// Instead of both.
    pub certificate: Option<CertificateLogin>,
}

/// The server takes the user from the client certificate; no login is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CertificateLogin {
    /// The server may take it for the user `default`.
    pub allow_default: bool,
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
    /// How often it is run when its output has no time at which the password expires.
    pub refresh: Duration,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(900);

/// Reads `auth` of `[upstream]`; the address may name the user, too.
pub(super) fn read(upstream: &Section<'_>, from_address: Option<String>) -> ServerAuth {
    if upstream.has_value("auth") {
        let certificate =
            upstream.get("auth", choice(&[("certificate", CertificateLogin::default())]));
        return ServerAuth { username: from_address, certificate, ..ServerAuth::default() };
    }
    let at = &upstream.section("auth");
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
    let certificate = certificate(at);
    if certificate.is_some() && (password.is_some() || command.is_some()) {
        let hint = "remove the password, or certificate = true";
        at.report("certificate", ValueError::new("contradicts the password").hint(hint));
    }
    ServerAuth { username: username.or(from_address), password, command, certificate }
}

fn certificate(at: &Section<'_>) -> Option<CertificateLogin> {
    let certificate = at.get("certificate", boolean).unwrap_or(false);
    let allow_default = at.get("allow_default", boolean).unwrap_or(false);
    certificate.then_some(CertificateLogin { allow_default })
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
    if timeout.is_zero() || timeout > limits::PASSWORD_COMMAND_TIMEOUT_MAX {
        return Err(ValueError::new("not between 1ms and 60s")
            .hint("write password_command_timeout = \"10s\""));
    }
    Ok(timeout)
}

fn refresh(node: &Node) -> Result<Duration, ValueError> {
    let refresh = duration(node)?;
    if refresh < limits::PASSWORD_REFRESH_MIN {
        return Err(
            ValueError::new("shorter than 1s").hint("write password_command_refresh = \"15m\"")
        );
    }
    Ok(refresh)
}
