//! What was seen, without any conclusion.
//!
//! Owns: [`Facts`]. Never knows: how it was seen, what follows.

use std::time::SystemTime;

use crate::config::Verify;
use crate::probe::{Exchange, OldVersion};
use crate::tls::inspect::{Inspection, RevocationList};

/// Something, or why it is not known.
pub(super) type Known<T> = Result<T, String>;

/// Everything that checks look at.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(super) now: SystemTime,
    pub(super) own: OwnFacts,
    /// Spoilt copies of the files that a reload would accept.
    pub(super) copies: Known<Vec<&'static str>>,
    /// Lists of revoked certificates, or why one cannot be read.
    pub(super) revocations: Vec<Known<RevocationList>>,
    pub(super) policies: Vec<PolicyFacts>,
    /// `None`: there is no audit log.
    pub(super) audit: Option<AuditFacts>,
    /// Prefixes that reach into each other, in words.
    pub(super) overlaps: Vec<String>,
    pub(super) server: ServerFacts,
    pub(super) login: LoginFacts,
    pub(super) path: Known<PathFacts>,
}

/// respgate's own configuration and files.
#[derive(Debug)]
pub(super) struct OwnFacts {
    /// The server is reached by a Unix socket.
    pub is_behind_socket: bool,
    /// `None` without TLS.
    pub verify: Option<Verify>,
    /// The name that the server must prove.
    pub server_name: String,
    pub username: Option<String>,
    pub key_mode: Option<u32>,
    pub password: PasswordFact,
    /// Addresses that other machines can reach.
    pub open_addresses: Vec<String>,
    /// Unix sockets that every user may open.
    pub open_sockets: Vec<String>,
    pub telemetry: bool,
    pub log_level: String,
    pub pinned_grace_is_zero: bool,
    /// `None`: there are no files.
    pub watched: Option<bool>,
    /// The result that a reload would have.
    pub reload: Known<()>,
    /// The authorities that the server may be signed by, as their file has them.
    pub authorities: Option<Inspection>,
    /// The client certificate, first of its file.
    pub client: Option<Inspection>,
    /// The ends of the client certificate and of the latest CA.
    pub ends: Option<(SystemTime, SystemTime)>,
}

#[derive(Debug)]
pub(super) enum PasswordFact {
    None,
    Environment,
    /// `password_command`.
    Program,
    /// None is needed: the client certificate names the user.
    Certificate,
    /// The mode of the file.
    File(Option<u32>),
}

/// The audit log.
#[derive(Debug)]
pub(super) struct AuditFacts {
    /// Dangerous commands that pass and are not recorded, each with its policy.
    pub unrecorded: Known<Vec<String>>,
    /// Sinks of the running respgate that take no entries, each with the reason.
    pub sinks: Known<Vec<String>>,
    /// Places in its files where the chain is broken.
    pub broken: Known<Vec<String>>,
}

/// What a policy in use means.
#[derive(Debug)]
pub(super) struct PolicyFacts {
    pub section: String,
    /// `enforce`, `partly`, `observe`.
    pub mode: &'static str,
    /// Dangerous commands that it permits.
    pub dangerous: Vec<&'static str>,
    /// A key that belongs to no application may be read, under its own name.
    pub reaches_all_keys: bool,
    /// The warning about scripts, if there is one.
    pub scripts: Option<String>,
    pub ttl_enforced: bool,
    pub ttl_max: bool,
}

/// What a server shows without a login.
#[derive(Debug)]
pub(super) struct ServerFacts {
    /// Ports, and whether they answer plaintext.
    pub plaintext: Known<Vec<(u16, bool)>>,
    /// `Err`: TLS is not configured, or the server cannot be reached.
    pub tls: Known<TlsFacts>,
    /// The first line of the answer to PING without a login.
    pub anonymous: Known<String>,
}

#[derive(Debug)]
pub(super) struct TlsFacts {
    pub old: Vec<(OldVersion, Option<bool>)>,
    pub own: Exchange,
    pub without_certificate: Exchange,
    pub stranger: Exchange,
    /// Empty when the server showed nothing.
    pub shown: Inspection,
}

/// What the server answers to respgate's user.
#[derive(Debug)]
pub(super) struct LoginFacts {
    pub user: String,
    /// Lines of ACL LIST.
    pub acl: Known<Vec<String>>,
    /// Dangerous commands that the user may run.
    pub dangerous: Known<Vec<&'static str>>,
    pub foreign_key: Known<bool>,
    pub foreign_channel: Known<bool>,
    pub protected_mode: Known<String>,
    /// What differs from the policies.
    pub rules: Known<Vec<String>>,
}

/// What a client of a running respgate is answered.
#[derive(Debug)]
pub(super) struct PathFacts {
    pub address: String,
    /// Dangerous commands that were queued, and so would run.
    pub dangerous: Vec<&'static str>,
    /// The listener's policy adds a prefix: every name is within it.
    pub rewrites: bool,
    pub foreign_key: bool,
    /// Commands about all keys that were answered.
    pub keyless: Vec<&'static str>,
}

/// Commands that harm other clients or the server as a whole, each with arguments that it accepts. Those
/// marked can be queued in a transaction.
pub(super) const DANGEROUS: [(&str, bool); 19] = [
    ("FLUSHALL", true),
    ("FLUSHDB", true),
    ("KEYS *", true),
    ("CONFIG GET *", true),
    ("CONFIG SET maxmemory 0", true),
    ("CONFIG REWRITE", true),
    ("ACL SETUSER stranger", true),
    ("DEBUG SLEEP 0", true),
    ("MODULE LOAD none", true),
    ("REPLICAOF NO ONE", true),
    ("SWAPDB 0 1", true),
    ("SCRIPT FLUSH", true),
    ("FUNCTION FLUSH", true),
    ("CLIENT KILL ID 0", true),
    ("BGREWRITEAOF", true),
    ("SHUTDOWN NOSAVE", false),
    ("MONITOR", false),
    ("SAVE", false),
    ("SYNC", false),
];
/// A key and a channel of no application.
pub(super) const FOREIGN: &str = "respgate-security-test:of-another-application";
