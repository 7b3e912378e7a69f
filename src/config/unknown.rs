//! Keys that do not exist, and what their writer probably meant.
//!
//! Owns: the search for them. Never knows: which keys exist.

use std::collections::BTreeMap;

use super::error::{Place, Problem, VARIABLE_PREFIX, ValueError};
use super::nearest::nearest;
use super::section::ANY_NAME;
use super::tree::{Entry, Node, Value};

/// Names that promise a secret.
const SECRETS: [&str; 5] = ["password", "pass", "requirepass", "secret", "token"];

/// Names by which other programs do without verification of the server, or of its name.
const UNVERIFIED: [&str; 12] = [
    "verify_hostname",
    "check_hostname",
    "ssl_check_hostname",
    "skip_verify",
    "insecure",
    "insecure_skip_verify",
    "tls_insecure_skip_verify",
    "reject_unauthorized",
    "verify_peer",
    "verify_mode",
    "ssl_cert_reqs",
    "verify_server",
];

/// Names that pools, drivers and libraries for recovery have, and the key of the same meaning.
const ELSEWHERE: [(&str, &str); 21] = [
    ("pool_size", "upstream.pool.max_connections"),
    ("max_pool_size", "upstream.pool.max_connections"),
    ("max_size", "upstream.pool.max_connections"),
    ("min_pool_size", "upstream.pool.min_idle"),
    ("pool_timeout", "upstream.pool.acquire_timeout"),
    ("checkout_timeout", "upstream.pool.acquire_timeout"),
    ("socket_connect_timeout", "upstream.pool.connect_timeout"),
    ("connection_timeout", "upstream.pool.connect_timeout"),
    ("socket_timeout", "upstream.pool.command_timeout"),
    ("read_timeout", "upstream.pool.command_timeout"),
    ("response_timeout", "upstream.pool.command_timeout"),
    ("max_lifetime", "upstream.pool.max_age"),
    ("max_connection_age", "upstream.pool.max_age"),
    ("keepalive", "upstream.pool.tcp_keepalive"),
    ("retry_attempts", "upstream.retry.max_retries"),
    ("retry_budget", "upstream.retry.budget"),
    ("failure_threshold", "upstream.breaker.failures"),
    ("max_failures", "upstream.breaker.failures"),
    ("reset_timeout", "upstream.breaker.open_time"),
    ("recovery_timeout", "upstream.breaker.open_time"),
    ("circuit_breaker", "upstream.breaker"),
];

/// Reports every key under `root` that is not in `known`: names without list positions, true for
/// those that hold a value.
pub(super) fn unknown(root: &Node, known: &BTreeMap<String, bool>) -> Vec<Problem> {
    let mut search = Search { known, problems: Vec::new() };
    search.visit(root, "", "");
    search.problems
}

struct Search<'a> {
    known: &'a BTreeMap<String, bool>,
    problems: Vec<Problem>,
}

impl Search<'_> {
    /// `name` is the full name of `node` and `plain` the same without list positions.
    /// The depth of the recursion is that of the tree, which its readers limit.
    fn visit(&mut self, node: &Node, name: &str, plain: &str) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    self.visit(node, &join(name, &index.to_string()), plain);
                }
            }
            Value::Table(entries) => {
                for entry in entries {
                    let own = join(plain, ANY_NAME);
                    let full =
                        if self.known.contains_key(&own) { own } else { join(plain, &entry.name) };
                    // A quoted name with a dot is no path.
                    let found = self.known.get(&full).filter(|_| !entry.name.contains('.'));
                    match found {
                        Some(true) => {}
                        Some(false) => self.visit(&entry.node, &join(name, &entry.name), &full),
                        None => self.report(entry, name, plain),
                    }
                }
            }
        }
    }

    fn report(&mut self, entry: &Entry, section: &str, plain: &str) {
        let name = entry.name.as_str();
        let mistake = if SECRETS.contains(&name) {
            ValueError::new("a password does not belong in a configuration").hint(
                "put it into a file and name that with password_file, \
                 or into a variable and name that with password_env",
            )
        } else if UNVERIFIED.contains(&name) {
            ValueError::new("unknown key: a server that is not verified may be an attacker's").hint(
                "write verify = \"ca\" with ca = \"FILE\" for a certificate without the server's name \
                 (and allowed_sans for the names that it has), server_name = \"NAME\" for one with another \
                 name, or verify = \"pin\" with pins for one that no authority signed",
            )
        } else {
            ValueError::new("unknown key").hint(self.hint(entry, section, plain))
        };
        self.problems.push(mistake.at(entry.place.clone(), join(section, name)));
    }

    fn hint(&self, entry: &Entry, section: &str, plain: &str) -> String {
        let near = plain.is_empty() || plain.starts_with("upstream");
        let same = ELSEWHERE.iter().find(|(name, _)| near && *name == entry.name);
        if let Some((_, meant)) = same {
            return format!("did you mean {meant}?");
        }
        let here: Vec<&str> = self
            .known
            .keys()
            .map(|key| split(key))
            .filter(|key| key.0 == plain)
            .map(|key| key.1)
            .collect();
        if let Some(meant) = nearest(&entry.name, here.iter().copied()) {
            return match &entry.place {
                Place::Variable(_) => format!("did you mean {}?", variable(&join(section, meant))),
                Place::Text { .. } | Place::Flag(_) => format!("did you mean {meant}?"),
            };
        }
        match self.known.keys().find(|key| split(key).1 == entry.name) {
            Some(elsewhere) => format!("did you mean {elsewhere}?"),
            None => format!("known here: {}", here.join(", ")),
        }
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// A full name as section and key.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The environment variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}
