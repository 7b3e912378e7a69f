//! Settings of the upstream side: where the server is, how it is trusted, how many connections.
//!
//! Owns: [`Upstream`], [`Tls`], [`Pool`], [`Retry`], [`Breaker`], [`OnOutage`]. Never knows: rustls, pools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Algorithms, Revocation, SanPattern, ServerAuth, TlsVersion};

/// The server behind and everything about the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub address: ServerEndpoint,
    /// `None` only with `insecure_plaintext = true`, or for a Unix socket.
    pub tls: Option<Tls>,
    pub auth: ServerAuth,
    pub pool: Pool,
    pub retry: Retry,
    pub breaker: Breaker,
    pub on_outage: OnOutage,
    /// How long a command may wait for a connection while the server cannot be reached.
    pub outage_wait: Duration,
}

/// What a client sees when the server cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnOutage {
    /// Its connection is closed, as by a server that dies.
    #[default]
    Close,
    /// Its connection stays; each command is answered with an error.
    Error,
}

/// Shorter than the timeouts of most drivers, longer than a restart.
pub const OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerEndpoint {
    Tcp(HostPort),
    /// Written `unix:/path/to/socket`; on this machine, so without TLS.
    Unix(PathBuf),
}

impl ServerEndpoint {
    /// The name that the server's certificate must carry.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp(address) => &address.host,
            Self::Unix(_) => "localhost",
        }
    }

    /// `None` for a Unix socket.
    #[must_use]
    pub const fn tcp(&self) -> Option<&HostPort> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for ServerEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `host:port`; the host is a name or an IP address, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// TLS: the client certificate, if the server requires one, and the trusted authorities.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// `None`: the server needs no client certificate, like the managed services.
    pub client: Option<CertificateFiles>,
    /// `None` only with [`Verify::Pin`].
    pub ca: Option<Authorities>,
    /// The name the server's certificate must carry, and SNI; default: the upstream host.
    pub server_name: Option<String>,
    pub verify: Verify,
    /// With [`Verify::Pin`]: SHA-256 of the server's SubjectPublicKeyInfo, 64 hex digits each.
    pub pins: Vec<String>,
    /// The server's certificate must carry one of these names, too; none: any name will do.
    pub allowed_sans: Vec<SanPattern>,
    pub revocation: Option<Revocation>,
    pub min_version: TlsVersion,
    pub algorithms: Algorithms,
}

/// The files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and the intermediates behind it.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The authorities that may sign the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    File(PathBuf),
    /// The public ones that this system trusts.
    System,
}

impl std::fmt::Display for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::System => f.write_str("of this system"),
        }
    }
}

impl Tls {
    /// The files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let client = self.client.iter().flat_map(|client| [&*client.cert, &*client.key]);
        let ca = self.ca.iter().filter_map(|ca| match ca {
            Authorities::File(path) => Some(&**path),
            Authorities::System => None,
        });
        let crl = self.revocation.iter().map(|revocation| &*revocation.crl);
        client.chain(ca).chain(crl)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// Chain and host name.
    #[default]
    Full,
    /// Chain only.
    Ca,
    /// The server's public key is one of `pins`.
    Pin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// Sessions share connections wherever their state allows.
    #[default]
    Shared,
    /// Every session has an upstream connection of its own.
    Session,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub mode: PoolMode,
    /// Shared connections for each database and protocol.
    pub connections: usize,
    /// Pinned connections at once; sessions beyond wait `acquire_timeout`.
    pub max_connections: usize,
    /// Pinned connections kept warm.
    pub min_idle: usize,
    /// Idle pinned connections kept at most.
    pub max_idle: usize,
    pub idle_timeout: Duration,
    pub health_check_interval: Duration,
    pub acquire_timeout: Duration,
    pub connect_timeout: Duration,
    /// A command without a reply for this long is answered with an error; zero: never.
    pub command_timeout: Duration,
    /// A connection silent for this long under commands is probed, then closed.
    pub stall_timeout: Duration,
    /// TCP, TLS and login in progress at once.
    pub max_handshakes: usize,
    /// Connections are replaced at this age; zero: never.
    pub max_age: Duration,
    /// A pinned connection is closed this long after the identity or the password was replaced;
    /// zero: never.
    pub pinned_grace: Duration,
    pub tcp_keepalive: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            mode: PoolMode::Shared,
            connections: 1,
            max_connections: 256,
            min_idle: 1,
            max_idle: 16,
            idle_timeout: Duration::from_secs(300),
            health_check_interval: Duration::from_secs(60),
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            max_handshakes: 8,
            max_age: Duration::ZERO,
            pinned_grace: Duration::from_secs(60),
            tcp_keepalive: Duration::from_secs(15),
        }
    }
}

/// Reconnects, and read-only commands sent again after a lost connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How often one read-only command is sent again; 0: never.
    pub max_retries: u8,
    /// The part of all commands that may be sent again, within ten seconds.
    pub budget: f64,
    pub initial: Duration,
    pub multiplier: f64,
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 3,
            budget: 0.2,
            initial: Duration::from_millis(50),
            multiplier: 1.5,
            max: Duration::from_secs(1),
        }
    }
}

/// When one attempt to connect at a time decides for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failed attempts in a row that open it; of those at one time, one counts.
    pub failures: u32,
    /// No attempt begins earlier once it is open, even where the waits of [`Retry`] are shorter.
    pub open_time: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 1, open_time: Duration::ZERO }
    }
}
