//! What was seen on the way to a server, without any conclusion.
//!
//! Owns: [`Facts`]. Never knows: how it was seen, what follows.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::tls::expiry::Expiry;
use crate::tls::inspect::Inspection;
use crate::tls::{Fault, TlsError};
use crate::upstream::failure::DialError;
use crate::upstream::phase::Spent;

/// Everything that is known of one configuration and its server.
#[derive(Debug)]
pub(crate) struct Facts {
    /// `redis.example.com:6380`.
    pub server: String,
    /// The user that respgate logs in as.
    pub user: String,
    pub files: Vec<FileFact>,
    /// The user that this process runs as.
    pub uid: Option<u32>,
    /// Whether changes of the files are noticed at once; `None`: there are no files.
    pub watched: Option<bool>,
    /// `None`: TLS is not configured.
    pub identity: Option<Result<Identity, TlsError>>,
    /// Why there is no password, where one is configured.
    pub credentials: Result<(), String>,
    /// `None`: not tried, since something before is missing.
    pub dialed: Option<Result<Reached, Box<DialError>>>,
    /// Whether the server can be connected to, where nothing more was tried.
    pub connected: Option<Result<(), Box<DialError>>>,
    /// What the server showed in a handshake that accepts everything.
    pub shown: Option<Inspection>,
    /// The differences from the policies, or why they are not known; `None`: not asked.
    pub rules: Option<Result<Vec<String>, String>>,
    pub now: SystemTime,
}

/// A file that the configuration names.
#[derive(Clone, Debug)]
pub(crate) struct FileFact {
    /// The key of the configuration.
    pub key: &'static str,
    pub path: PathBuf,
    /// Only respgate should read it.
    pub secret: bool,
    /// The file is in a volume of Kubernetes, whose modes do not show which containers have it.
    pub in_volume: bool,
    /// How a missing one is logged: the files of TLS have a code of their own.
    pub fault: Option<Fault>,
    /// Permission bits, or why it cannot be read.
    pub mode: Result<u32, &'static str>,
    /// The file is a mount of its own, of which a new version never arrives.
    pub mounted: bool,
    /// Bits and owner as far as they can be seen of one that cannot be read.
    pub owner: Option<(u32, u32)>,
}

/// The identity that would be used.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// `None` without a client certificate.
    pub client: Option<(SystemTime, Expiry)>,
}

/// What came instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// An error.
    Line(String),
    /// Nothing, in time.
    Silence,
    /// The end of the connection.
    End,
}

/// A server that has accepted the login.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// Version, suite and key exchange of TLS.
    pub tls: Option<[String; 3]>,
    /// `redis 7.0.15 standalone`.
    pub description: String,
    /// `master`, `replica`.
    pub role: String,
    /// What each step on the way took.
    pub spent: Spent,
    /// The time of one PING, or what came instead.
    pub ping: Option<Result<Duration, Instead>>,
    /// How far the server's clock is ahead (positive) or behind, in milliseconds, and by how much that
    /// may be wrong; or why it is not known.
    pub clock: Option<Result<(i64, u64), String>>,
}
