//! Settings of the downstream side: addresses, what a client may cost, the drain.
//!
//! Owns: [`Listener`], [`ClientLimits`], [`Drain`]. Never knows: sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{AskClient, ListenerTls, SecretSource};

/// One place where applications connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub address: ListenAddress,
    /// Permits a TCP address that is not loopback.
    pub allow_remote: bool,
    /// Permission bits of a Unix socket.
    pub mode: u32,
    /// Group that owns a Unix socket, by name or number.
    pub group: Option<String>,
    /// The login that an application must send before it is served.
    pub auth: ClientAuth,
    /// One of `[policies]`; without it, `[policy]`.
    pub policy: Option<String>,
    /// `None`: plaintext.
    pub tls: Option<ListenerTls>,
}

impl Listener {
    /// Whether only applications with a certificate can connect.
    #[must_use]
    pub fn requires_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_auth == AskClient::Require)
    }

    /// Whether an application can show a certificate.
    #[must_use]
    pub fn requests_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_auth != AskClient::Off)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    /// Written `unix:/path/to/socket`.
    Unix(PathBuf),
}

/// Authentication of applications towards respgate.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum ClientAuth {
    /// Clients need no login, as at a Redis whose default user has no password.
    #[default]
    Off,
    /// Any `AUTH` is answered `+OK` and changes nothing.
    Ignore,
    /// Clients log in with one password, as at a Redis with `requirepass`.
    Password(SecretSource),
    /// Clients log in as one of the users of the configuration.
    Users,
}

/// What one client, and all clients together, may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientLimits {
    pub max_clients: usize,
    /// A client that sends nothing for this long is disconnected; zero: never.
    pub idle_timeout: Duration,
    /// A client that must log in is disconnected when it has not after this long; zero: never.
    pub login_timeout: Duration,
    /// A client that has sent a part of a request, or does not read its replies, is disconnected when nothing
    /// moves for this long; zero: never.
    pub transfer_timeout: Duration,
    pub max_args: u32,
    /// The longest argument, bytes. A longer one is consumed, answered with an error, and not stored.
    pub max_bulk_bytes: u64,
    pub max_inline_bytes: usize,
    /// Arguments and replies from this size on travel on a pinned connection, unstored.
    pub large_bytes: u64,
    /// Commands of one session in flight at once.
    pub max_in_flight: usize,
    /// Bytes of one session's requests in flight at once.
    pub max_in_flight_bytes: usize,
    /// Bytes of commands queued by one MULTI.
    pub max_transaction_bytes: usize,
    /// Keys that one session may watch at once.
    pub max_watched: usize,
    /// Patterns that one session may subscribe to at once, and prefixes that it may track.
    pub max_patterns: usize,
    /// Elements that one command may ask for that may repeat.
    pub max_repeated: usize,
    /// Unread replies of one client: disconnected at once above `hard`, and after `soft_time` above `soft`.
    pub output_hard_bytes: usize,
    pub output_soft_bytes: usize,
    pub output_soft_time: Duration,
    /// All buffers of all sessions together.
    pub memory_budget_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            idle_timeout: Duration::ZERO,
            login_timeout: Duration::from_secs(30),
            transfer_timeout: Duration::from_secs(300),
            max_args: 1_048_576,
            max_bulk_bytes: 64 << 20,
            max_inline_bytes: 64 << 10,
            large_bytes: 64 << 10,
            max_in_flight: 1024,
            max_in_flight_bytes: 1 << 20,
            max_transaction_bytes: 64 << 20,
            max_watched: 1024,
            max_patterns: 1024,
            max_repeated: 100_000,
            output_hard_bytes: 64 << 20,
            output_soft_bytes: 8 << 20,
            output_soft_time: Duration::from_secs(30),
            memory_budget_bytes: 256 << 20,
        }
    }
}

/// When the process counts as started.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Startup {
    /// Not before the server was reached.
    pub require_upstream: bool,
}

/// How the process drains after SIGTERM.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// Keep serving at least this long.
    pub min: Duration,
    /// Exit after this long, with clients still connected.
    pub max: Duration,
    /// Without clients for this long, none is expected any more.
    pub quiet: Duration,
    /// The process is started again whenever it exits, as a native sidecar of Kubernetes is.
    pub native_sidecar: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::from_secs(20),
            quiet: Duration::from_secs(1),
            native_sidecar: false,
        }
    }
}
