//! `acl`: the policy as rules of the server's own user, which hold where a proxy cannot look.
//!
//! Owns: the command to type, the comparison with the user that the server has. Never knows: how rules
//! are applied.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::args::Acl;
use super::output::Output;
use super::verb::Verb;
use super::{examine, exit};
use crate::base::limits;
use crate::base::small_file::{self, Kind};
use crate::command::Dictionary;
use crate::config::{
    ClientAuth, Config, ConfigSource, Document, Listener, Problem, Rules, environment, read_cause,
};
use crate::policy::{self, ServerRole};
use crate::resp::{Protocol, RequestBuf, Value};
use crate::tls::{TlsError, TlsStore};
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;
use crate::upstream::target::Target;

impl Verb for Acl {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        acl(output, &self.inputs.source(), self.policy.as_deref(), self.diff.as_deref())
    }
}

/// Prints the `ACL SETUSER` for the user that respgate authenticates as, or with `diff` what the
/// server's rules of that user lack or have besides: 0 when nothing, 1 otherwise. `diff` names a file
/// with the reply to `ACL LIST`, is `-` for standard input, or is empty: then respgate sends `ACL LIST` itself. Without
/// the name of a policy, every policy that clients can have is included.
fn acl(output: Output, source: &ConfigSource, name: Option<&str>, diff: Option<&str>) -> ExitCode {
    let fail = |problem: &str| output.fail(exit::USAGE, problem);
    let document = source.document(environment());
    let read = document.and_then(|document| document.config().map(|config| (document, config)));
    let read = read.and_then(|(document, config)| {
        let dictionary = examine::dictionary(&document, &config)?;
        Ok((document, config, dictionary))
    });
    let (document, config, dictionary) = match read {
        Ok(read) => read,
        Err(problems) => return output.complain(source, problems),
    };
    let policies = match name {
        None => in_use(&document, &config, &dictionary),
        Some(_) => match config.rules(name) {
            Ok((section, rules)) => Ok(vec![(section, rules.clone())]),
            Err(problem) => return fail(&problem),
        },
    };
    let roles = policies.and_then(|policies| roles(&document, &policies, &dictionary));
    let roles = match roles {
        Ok(roles) => roles,
        Err(problems) => return output.complain(source, problems),
    };
    let words = match policy::server_rules(&roles) {
        Ok(words) => words,
        Err(word) => {
            let instead = "print each policy by itself, with --policy NAME";
            return fail(&format!("{word} cannot be in a selector of the server; {instead}"));
        }
    };
    let user = config.upstream.auth.username.as_deref().unwrap_or("default");
    let Some(diff) = diff else {
        output.print(&format!("ACL SETUSER {user} on {}", words.join(" ")));
        output.json(|| json!({ "user": user, "rules": words }));
        return ExitCode::SUCCESS;
    };
    let progress = output.progress("comparing the rules of the server's user");
    let compared = compare(&config, user, &words, &dictionary, diff);
    drop(progress);
    if let Ok(differences) = &compared {
        let same = differences.is_empty();
        output.json(|| json!({ "user": user, "same": same, "differences": differences }));
    }
    match compared {
        Ok(differences) if differences.is_empty() => {
            let policies = if roles.len() == 1 { "policy" } else { "policies" };
            output.print(&format!("the server's user {user} has the rules of the {policies}"));
            ExitCode::SUCCESS
        }
        Ok(differences) => {
            output.print(&differences.join("\n"));
            ExitCode::FAILURE
        }
        Err(problem) => fail(&problem),
    }
}

/// Every policy that some client can have: those of the listeners, and where users log in theirs.
fn in_use(
    document: &Document,
    config: &Config,
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<(String, Rules)>, Vec<Problem>> {
    let enabled = || config.users.iter().filter(|user| user.enabled);
    let (asking, open): (Vec<&Listener>, Vec<&Listener>) =
        config.listeners.iter().partition(|listener| listener.auth == ClientAuth::Users);
    let mut names: BTreeSet<Option<&str>> =
        open.iter().map(|listener| listener.policy.as_deref()).collect();
    if !asking.is_empty() {
        names.extend(enabled().filter_map(|user| user.policy.as_deref()).map(Some));
    }
    if enabled().any(|user| user.policy.is_none()) {
        names.extend(asking.iter().map(|listener| listener.policy.as_deref()));
    }
    // That each name is there is known by now.
    let named = names.into_iter().filter_map(|name| config.rules(name).ok());
    let mut policies: Vec<_> = named.map(|(section, rules)| (section, rules.clone())).collect();
    if let Some(path) = config.acl_file.as_ref().filter(|_| !asking.is_empty()) {
        let accounts = examine::accounts(document, config, path, dictionary)?;
        let enabled = accounts.into_iter().filter(|account| account.enabled);
        policies.extend(enabled.map(|account| ("policy".to_owned(), account.rules)));
    }
    Ok(policies)
}

fn roles(
    document: &Document,
    policies: &[(String, Rules)],
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<ServerRole>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut roles = Vec::new();
    for (section, rules) in policies {
        match ServerRole::new(rules, dictionary) {
            Ok(role) => roles.push(role),
            Err(_) => {
                problems.extend(examine::rule_problems(document, section, rules, dictionary));
            }
        }
    }
    if problems.is_empty() { Ok(roles) } else { Err(problems) }
}

fn compare(
    config: &Config,
    user: &str,
    words: &[String],
    dictionary: &Arc<Dictionary>,
    diff: &str,
) -> Result<Vec<String>, String> {
    let listed = match diff {
        "" => ask(config)?,
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| format!("standard input: {error}"))?;
            text
        }
        file => {
            let wrong = |cause: &str| format!("{file}: {cause}");
            let max = limits::ACL_FILE_BYTES_MAX;
            let mut bytes = small_file::read(Path::new(file), max, Kind::Stream)
                .map_err(|error| wrong(&read_cause(&error)))?;
            String::from_utf8(std::mem::take(&mut *bytes))
                .map_err(|_| wrong("it is not UTF-8 text"))?
        }
    };
    let own = |line: &&str| line.split_ascii_whitespace().take(2).eq(["user", user]);
    let line = listed.lines().find(own).ok_or_else(|| format!("the server has no user {user}"))?;
    let nothing = Rules::default();
    let read = |line: &str| {
        let accounts = policy::read_accounts(line.as_bytes(), &nothing, dictionary);
        let accounts = accounts.map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("the rules of user {user} cannot be read: {}", all.join("; "))
        })?;
        accounts.into_iter().next().ok_or_else(|| format!("the server has no user {user}"))
    };
    let live = read(line)?;
    let wanted = read(&format!("user {user} on {}", words.join(" ")))?;
    let mut differences = policy::differences(&wanted.policy, &live.policy);
    if !live.enabled {
        differences.push(format!("the server's user {user} is off"));
    }
    if diff.is_empty() {
        differences = differences.into_iter().filter_map(|line| of_server(config, line)).collect();
    }
    Ok(differences)
}

/// A difference without the commands that the server does not have; `None` when no other is left. The
/// server lists its own commands where the rules name a category.
fn of_server(config: &Config, line: String) -> Option<String> {
    let Some((what, names)) = line.split_once(": ") else { return Some(line) };
    if !["the server refuses", "the server permits besides"].contains(&what) {
        return Some(line);
    }
    let names: Vec<&str> = names.split(' ').collect();
    let question = RequestBuf::from_args(["COMMAND", "INFO"].into_iter().chain(names.clone()));
    let known = reply(config, &question).ok();
    let Some(known) = known.as_ref().and_then(Value::elements) else { return Some(line) };
    let is_known = |(name, known): (&str, &Value)| {
        known.elements().is_some_and(|known| !known.is_empty()).then(|| name.to_owned())
    };
    let names: Vec<String> = names.into_iter().zip(known).filter_map(is_known).collect();
    (!names.is_empty()).then(|| format!("{what}: {}", names.join(" ")))
}

/// What the server answers to a question.
fn reply(config: &Config, question: &RequestBuf) -> Result<Value, String> {
    let dialer = dialer(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {error}"))?;
    let reply = runtime.block_on(dialer.reply_to(question.as_request().raw()));
    let reply = reply.map_err(|error| error.to_string())?;
    Value::decode(&reply, Protocol::Resp2).map_err(|_| "the answer is no RESP".to_owned())
}

/// The server's reply to `ACL LIST`, a user in each line.
fn ask(config: &Config) -> Result<String, String> {
    let reply = reply(config, &RequestBuf::from_args(["ACL", "LIST"]))?;
    let Some(lines) = reply.elements() else {
        let listed = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
        let instead = "run as a user that may ACL LIST: redis-cli ACL LIST | respgate acl --diff -";
        return Err(format!("the server answers ACL LIST: {listed}; {instead}"));
    };
    let lines = lines.iter().filter_map(Value::as_bytes).map(String::from_utf8_lossy);
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// What the server's user lacks or has besides the rules of the policies, as `acl --diff` shows it.
///
/// # Errors
///
/// Why nothing can be compared.
pub(super) fn server_differences(
    document: &Document,
    config: &Config,
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<String>, String> {
    let numbered = |problems: Vec<Problem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let policies = in_use(document, config, dictionary).map_err(numbered)?;
    let roles = roles(document, &policies, dictionary).map_err(numbered)?;
    let words = policy::server_rules(&roles)
        .map_err(|word| format!("{word} cannot be in a selector of the server"))?;
    let user = config.upstream.auth.username.as_deref().unwrap_or("default");
    compare(config, user, &words, dictionary, "")
}

/// What it takes to ask the server.
///
/// # Errors
///
/// The file that cannot be read, and why.
pub(super) fn dialer(config: &Config) -> Result<Dialer, String> {
    let unusable = |error: TlsError| format!("upstream.tls: {error}; {}", error.hint());
    let tls = config.upstream.tls.as_ref().map(TlsStore::open).transpose().map_err(unusable)?;
    let target = Target::of(&config.upstream).map_err(unusable)?;
    let credentials = Credentials::open(&config.upstream.auth)
        .map_err(|error| format!("upstream.auth: {error}"))?;
    Ok(Dialer::new(target, &config.upstream, tls, credentials))
}
