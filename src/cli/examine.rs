//! Everything that is wrong with a configuration: its keys, its rules, the files that it names.
//!
//! Owns: [`examine`], the look at those files. Never knows: a runtime, what is printed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin::read_token;
use crate::audit;
use crate::command::{DefinitionError, Dictionary};
use crate::config::{
    Authorities, ClientAuth, Config, ConfigSource, Document, ListenerTls, Place, Problem, Rules,
    SecretSource, Tls, Upstream, environment, io_cause, read_acl_file,
};
use crate::policy::{self, AccountError, AclUser, RuleError};
use crate::tls::{Fault, ListenerStore, TlsStore};
use crate::upstream::target::Target;

const ACL_FILE: &str = "users.acl_file";

/// The settings, or everything that is wrong with them.
pub(super) fn examine(source: &ConfigSource, skip_files: bool) -> Result<Config, Vec<Problem>> {
    let document = source.document(environment())?;
    let config = document.config()?;
    let dictionary = dictionary(&document, &config)?;
    let mut problems = Vec::new();
    for (section, rules) in config.sections() {
        problems.extend(rule_problems(&document, &section, rules, &dictionary));
    }
    if let Some(settings) = &config.audit {
        let errors = policy::commands("audit.sensitive", &settings.sensitive, &dictionary).err();
        problems.extend(errors.unwrap_or_default().into_iter().map(|error| {
            let hint = error.nearest.map(|nearest| format!("did you mean {nearest}?"));
            let what = format!("'{}': {}", error.word, error.problem);
            document.problem("audit.sensitive", what, hint)
        }));
    }
    if !skip_files {
        problems.extend(file_problems(&document, &config, &dictionary));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The commands that the configuration declares.
///
/// # Errors
///
/// Every command that cannot be declared so.
pub(super) fn dictionary(
    document: &Document,
    config: &Config,
) -> Result<Arc<Dictionary>, Vec<Problem>> {
    let problem = |error: DefinitionError| {
        document.problem(&error.key, error.problem, Some(error.hint.to_owned()))
    };
    Dictionary::of(&config.commands)
        .map(Arc::new)
        .map_err(|errors| errors.into_iter().map(problem).collect())
}

/// Rules of the policy that cannot be applied.
pub(super) fn rule_problems(
    document: &Document,
    section: &str,
    rules: &Rules,
    dictionary: &Arc<Dictionary>,
) -> Vec<Problem> {
    let errors = policy::compile_with(rules, dictionary).err().unwrap_or_default();
    let problem = |error: RuleError| {
        let hint = error.nearest.map(|nearest| format!("did you mean {nearest}?"));
        let what = format!("'{}': {}", error.word, error.problem);
        document.problem(&format!("{section}.{}", error.setting), what, hint)
    };
    errors.into_iter().map(problem).collect()
}

/// Files and variables that cannot be read.
fn file_problems(
    document: &Document,
    config: &Config,
    dictionary: &Arc<Dictionary>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(tls) = &config.upstream.tls {
        problems.extend(tls_problems(document, tls, &config.upstream));
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let tls = listener.tls.as_ref();
        problems.extend(tls.map(|tls| listener_problems(document, tls, index)).unwrap_or_default());
    }
    let mut report = |key: String, error: Option<String>| {
        problems.extend(error.map(|error| document.problem(&key, error, None)));
    };
    for (section, rules) in config.sections() {
        let scripts = rules.scripts.with_files().err().map(|error| error.to_string());
        report(format!("{section}.scripts.directory"), scripts);
    }
    if let Some(path) = &config.admin.token_file {
        report("admin.token_file".to_owned(), read_token(path.clone()).err());
    }
    let key_file = config.audit.as_ref().and_then(|audit| audit.key_file.as_deref());
    report("audit.key_file".to_owned(), key_file.and_then(|path| audit::read_key(path).err()));
    if let Some(command) = &config.upstream.auth.command {
        let key = "upstream.auth.password_command".to_owned();
        report(key, not_executable(&command.program));
    }
    let mut secret = |section: &str, source: &SecretSource| {
        let key = match source {
            SecretSource::File(_) => "password_file",
            SecretSource::Env(_) => "password_env",
        };
        report(format!("{section}.{key}"), source.read().err().map(|error| error.to_string()));
    };
    if let Some(password) = &config.upstream.auth.password {
        secret("upstream.auth", password);
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        if let ClientAuth::Password(password) = &listener.auth {
            secret(&format!("listener.{index}"), password);
        }
    }
    for (index, user) in config.users.iter().enumerate() {
        if let Some(password) = &user.password {
            secret(&format!("user.{index}"), password);
        }
    }
    if let Some(path) = &config.acl_file {
        problems.extend(account_problems(document, config, path, dictionary));
    }
    problems
}

/// Why a program cannot be run. It is not run here.
fn not_executable(program: &Path) -> Option<String> {
    let name = program.display();
    match std::fs::metadata(program) {
        Err(error) => Some(format!("{name}: {}", io_cause(&error))),
        Ok(found) if !found.is_file() || found.mode() & 0o111 == 0 => {
            Some(format!("{name} is not an executable file; chmod 0755 {name}"))
        }
        Ok(found) if found.mode() & 0o002 != 0 => {
            Some(format!("{name}: every user of this machine may change it; chmod o-w {name}"))
        }
        Ok(_) => None,
    }
}

/// What is wrong with the users of an ACL file.
fn account_problems(
    document: &Document,
    config: &Config,
    path: &Path,
    dictionary: &Arc<Dictionary>,
) -> Vec<Problem> {
    let accounts = match accounts(document, config, path, dictionary) {
        Ok(accounts) => accounts,
        Err(problems) => return problems,
    };
    let twice = |account: &&AclUser| config.users.iter().any(|u| u.name == account.name);
    let problem = |account: &AclUser| {
        let what = format!("its user {} is in the configuration too", account.name);
        document.problem(ACL_FILE, what, None)
    };
    accounts.iter().filter(twice).map(problem).collect()
}

/// The users of an ACL file.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(super) fn accounts(
    document: &Document,
    config: &Config,
    path: &Path,
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<AclUser>, Vec<Problem>> {
    let text = read_acl_file(path)
        .map_err(|error| vec![document.problem(ACL_FILE, error.to_string(), None)])?;
    let name: Arc<str> = path.display().to_string().into();
    let problem = |error: AccountError| Problem {
        place: Place::Text { name: Arc::clone(&name), position: Some((error.line, error.column)) },
        key: String::new(),
        problem: error.problem,
        hint: error.nearest.map(|nearest| format!("did you mean {nearest}?")),
    };
    policy::read_accounts(text.expose(), &config.policy, dictionary)
        .map_err(|errors| errors.into_iter().map(problem).collect())
}

/// Like [`tls_problems`], for a listener.
fn listener_problems(document: &Document, tls: &ListenerTls, index: usize) -> Vec<Problem> {
    let key = |key: &str| format!("listener.{index}.tls.{key}");
    let mut files = vec![("cert", &tls.own.cert), ("key", &tls.own.key)];
    files.extend(tls.client_ca.iter().map(|path| ("client_ca", path)));
    files.extend(tls.revocation.iter().map(|own| ("crl", &own.crl)));
    let missing = |(name, path): &(&str, &PathBuf)| {
        let what = format!("{}: {}", path.display(), io_cause(&std::fs::metadata(path).err()?));
        Some(document.problem(&key(name), what, None))
    };
    let missing: Vec<_> = files.iter().filter_map(missing).collect();
    let Some(error) = ListenerStore::open(tls).err().filter(|_| missing.is_empty()) else {
        return missing;
    };
    let is_at = |path: &PathBuf| error.place.starts_with(&*path.to_string_lossy());
    let name = files.iter().find(|(_, path)| is_at(path)).map_or("client_ca", |(name, _)| name);
    vec![document.problem(&key(name), error.to_string(), Some(error.hint().to_owned()))]
}

/// Every file of TLS that is not there; or else what `run` would find wrong with them, at the key
/// that names the file.
fn tls_problems(document: &Document, tls: &Tls, upstream: &Upstream) -> Vec<Problem> {
    let client = tls.client.iter();
    let mut files: Vec<_> = client.flat_map(|c| [("cert", &c.cert), ("key", &c.key)]).collect();
    files.extend(tls.ca.iter().filter_map(|ca| match ca {
        Authorities::File(path) => Some(("ca", path)),
        Authorities::System => None,
    }));
    files.extend(tls.revocation.iter().map(|own| ("crl", &own.crl)));
    let missing = |(key, path): (&str, &PathBuf)| {
        let what = format!("{}: {}", path.display(), io_cause(&std::fs::metadata(path).err()?));
        Some(document.problem(&format!("upstream.tls.{key}"), what, None))
    };
    let missing: Vec<_> = files.into_iter().filter_map(missing).collect();
    if missing.is_empty() {
        tls_problem(document, tls, upstream).into_iter().collect()
    } else {
        missing
    }
}

fn tls_problem(document: &Document, tls: &Tls, upstream: &Upstream) -> Option<Problem> {
    let error = TlsStore::open(tls).err().or_else(|| Target::of(upstream).err())?;
    let is_at = |path: &Path| error.place.starts_with(&*path.to_string_lossy());
    let key = match (&tls.client, &tls.ca) {
        _ if error.fault == Fault::BadServerName => "server_name",
        _ if error.fault == Fault::BadPin => "pins",
        _ if tls.revocation.as_ref().is_some_and(|own| is_at(&own.crl)) => "crl",
        (Some(client), _) if is_at(&client.cert) => "cert",
        (Some(client), _) if is_at(&client.key) => "key",
        _ => "ca",
    };
    let hint = Some(error.hint().to_owned());
    Some(document.problem(&format!("upstream.tls.{key}"), error.to_string(), hint))
}
