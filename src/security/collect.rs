//! Looks at the server with handshakes and reads, and puts all facts together.
//!
//! Owns: [`collect`]. Never knows: what follows from the facts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::timeout;

use super::facts::{DANGEROUS, FOREIGN, Facts, Known, LoginFacts, ServerFacts, TlsFacts};
use super::{audited, copies, own, path};
use crate::base::clock;
use crate::base::limits;
use crate::command::Dictionary;
use crate::config::{Config, ServerEndpoint};
use crate::policy;
use crate::probe::{self, Conversation, Exchange, OldVersion, Question};
use crate::resp::{Protocol, Value};
use crate::tls::inspect::{Inspection, RevocationList};
use crate::tls::{Looking, TlsError, TlsStore};
use crate::traffic::PoolKey;
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;
use crate::upstream::target::Target as Server;

const DEFAULT_PORT: u16 = 6379;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub config: &'a Config,
    pub dictionary: &'a Arc<Dictionary>,
    /// Ports of the server that should not answer in plaintext, besides those that are known.
    pub plaintext_ports: &'a [u16],
    /// Lists of revoked certificates.
    pub revocations: &'a [PathBuf],
    /// What differs between the policies and the server's user, if that is known.
    pub rules: Known<Vec<String>>,
    /// Sinks of the audit log of a running respgate that take no entries, if that is known.
    pub sinks: Known<Vec<String>>,
}

/// Everything.
///
/// # Errors
///
/// When the server cannot be reached at all.
pub(crate) async fn collect(target: Target<'_>) -> Result<Facts, String> {
    let config = target.config;
    let limit = config.upstream.pool.connect_timeout.min(limits::SECURITY_TEST_TIMEOUT);
    let way = way(&config.upstream.address, limit).await?;
    let sections = config.sections();
    let mut login = login(config, limit).await;
    let known_port = login.1;
    login.0.rules = target.rules;
    let tls = match &way {
        Way::Tcp(address) => tls(config, *address, limit).await,
        Way::Unix(_) => Err(NO_NETWORK.to_owned()),
    };
    let plaintext = plaintext(config, &way, known_port, target.plaintext_ports, limit).await;
    let anonymous = match (&tls, &way) {
        (Ok(TlsFacts { own: Exchange::Answered { line, .. }, .. }), _) => Ok(line.clone()),
        (Ok(_), _) => {
            Err("no connection with respgate's own certificate; respgate doctor shows why"
                .to_owned())
        }
        (Err(_), Way::Tcp(address)) => {
            probe::probe_plaintext(*address, limit).await.ok_or_else(|| "no answer".to_owned())
        }
        (Err(_), Way::Unix(path)) => {
            probe::probe_socket(path, limit).await.ok_or_else(|| "no answer".to_owned())
        }
    };
    Ok(Facts {
        now: clock::wall(),
        own: own::own(config),
        copies: copies::accepted(config).await,
        revocations: target.revocations.iter().map(|path| RevocationList::read(path)).collect(),
        policies: own::policies(config, target.dictionary),
        audit: audited::look(config, target.dictionary, target.sinks),
        overlaps: policy::overlaps(sections),
        server: ServerFacts { plaintext, tls, anonymous },
        login: login.0,
        path: path::look(config).await,
    })
}

/// How the server is reached.
enum Way {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why the checks of TLS are not done.
const NO_NETWORK: &str = "the server is reached by a Unix socket, which no other machine can";

async fn way(endpoint: &ServerEndpoint, limit: Duration) -> Result<Way, String> {
    let host = match endpoint {
        ServerEndpoint::Tcp(host) => host,
        ServerEndpoint::Unix(path) => {
            let connected = timeout(limit, tokio::net::UnixStream::connect(path)).await;
            return match connected {
                Ok(Ok(_)) => Ok(Way::Unix(path.clone())),
                _ => Err(format!("{endpoint} does not answer; respgate doctor shows more")),
            };
        }
    };
    let addresses = probe::addresses(host, limit).await;
    let address = *addresses.first().ok_or_else(|| {
        format!("the name {} has no address; respgate doctor shows more", endpoint.host())
    })?;
    match timeout(limit, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(Way::Tcp(address)),
        _ => Err(format!("{address} does not answer; respgate doctor shows more")),
    }
}

async fn plaintext(
    config: &Config,
    way: &Way,
    known: Option<u16>,
    more: &[u16],
    limit: Duration,
) -> Known<Vec<(u16, bool)>> {
    let listens_there = |port: u16| {
        // respgate itself may have the usual port.
        config.listeners.iter().any(|listener| match &listener.address {
            crate::config::ListenAddress::Tcp(own) => own.port() == port,
            crate::config::ListenAddress::Unix(_) => false,
        })
    };
    let mut ports: BTreeSet<u16> = more.iter().copied().collect();
    let address = match way {
        Way::Tcp(address) => {
            ports.insert(address.port());
            *address
        }
        // The server behind a socket of this machine listens on this machine, if at all.
        Way::Unix(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    match known {
        Some(0) => {}
        Some(port) => drop(ports.insert(port)),
        None if matches!(way, Way::Unix(_)) => {}
        None if address.ip().is_loopback() && listens_there(DEFAULT_PORT) => {}
        None => drop(ports.insert(DEFAULT_PORT)),
    }
    let mut seen = Vec::new();
    for port in ports {
        let there = SocketAddr::new(address.ip(), port);
        seen.push((port, probe::probe_plaintext(there, limit).await.is_some()));
    }
    Ok(seen)
}

async fn tls(config: &Config, address: SocketAddr, limit: Duration) -> Known<TlsFacts> {
    let settings = config.upstream.tls.as_ref().ok_or("upstream.tls is not set")?;
    let store = TlsStore::open(settings).ok();
    let identity = store.as_ref().map(TlsStore::current);
    let name = Server::of(&config.upstream).ok().and_then(|target| target.server_name);
    let name = name.unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
    let unusable = || "no TLS client can be made".to_owned();
    let bare = Looking::without_certificate().ok_or_else(unusable)?;
    let own = match &identity {
        Some(identity) => Looking::as_identity(identity).ok_or_else(unusable)?,
        None => Looking::without_certificate().ok_or_else(unusable)?,
    };
    let user = config.upstream.auth.username.as_deref().unwrap_or("default");
    let stranger = Looking::as_stranger(user, clock::wall()).ok_or_else(unusable)?;
    let mut old = Vec::new();
    for version in OldVersion::ALL {
        old.push((version, probe::accepts(address, version, limit).await));
    }
    let exchange = async |looking| probe::exchange(address, &name, looking, limit).await;
    Ok(TlsFacts {
        old,
        without_certificate: exchange(&bare).await,
        stranger: exchange(&stranger).await,
        own: exchange(&own).await,
        shown: Inspection::of_server(&config.upstream.address.to_string(), &own.chain()),
    })
}

/// What the server answers to respgate's user, and the plaintext port that its settings name.
async fn login(config: &Config, limit: Duration) -> (LoginFacts, Option<u16>) {
    let user = config.upstream.auth.username.as_deref().unwrap_or("default");
    let mut conversation = match open_conversation(config, limit).await {
        Ok(conversation) => conversation,
        Err(why) => return (unknown(user, &why), None),
    };
    let setting = async |conversation: &mut Conversation, name| {
        let asked = conversation.ask(&Question::ConfigGet(name)).await;
        let value = asked.value().and_then(|value| value.elements()?.get(1)?.as_bytes());
        let text = value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        text.ok_or_else(|| format!("CONFIG GET {name}: {}", why(&asked)))
    };
    let port = setting(&mut conversation, "port").await;
    let protected_mode = setting(&mut conversation, "protected-mode").await;
    let asked = conversation.ask(&Question::AclList).await;
    let acl = match asked.value().and_then(Value::elements) {
        Some(lines) => {
            let lines = lines.iter().filter_map(Value::as_bytes).map(String::from_utf8_lossy);
            Ok(lines.map(std::borrow::Cow::into_owned).collect())
        }
        None => Err(format!("ACL LIST: {}", why(&asked))),
    };
    let mut dangerous = Ok(Vec::new());
    for (command, _) in DANGEROUS {
        match (dry_run(&mut conversation, user, command).await, &mut dangerous) {
            (Ok(true), Ok(list)) => list.push(command),
            (Ok(_), _) | (_, Err(_)) => {}
            (Err(why), _) => dangerous = Err(why),
        }
    }
    let facts = LoginFacts {
        user: user.to_owned(),
        acl,
        dangerous,
        foreign_key: dry_run(&mut conversation, user, &format!("GET {FOREIGN}")).await,
        foreign_channel: dry_run(&mut conversation, user, &format!("PUBLISH {FOREIGN} x")).await,
        protected_mode,
        rules: Err(String::new()),
    };
    conversation.close().await;
    (facts, port.ok().and_then(|port| port.parse().ok()))
}

async fn open_conversation(config: &Config, limit: Duration) -> Known<Conversation> {
    let unusable = |error: TlsError| error.to_string();
    let store = config.upstream.tls.as_ref().map(TlsStore::open).transpose().map_err(unusable)?;
    let target = Server::of(&config.upstream).map_err(unusable)?;
    let credentials =
        Credentials::open(&config.upstream.auth).map_err(|error| error.to_string())?;
    let dialer = Dialer::new(target, &config.upstream, store, credentials);
    let key = PoolKey { protocol: Protocol::Resp2, database: 0 };
    let link = dialer.dial(key).await.map_err(|error| error.to_string())?;
    Ok(Conversation::new(link, limit))
}

fn unknown(user: &str, why: &str) -> LoginFacts {
    let why = format!("respgate cannot log in: {why}");
    LoginFacts {
        user: user.to_owned(),
        acl: Err(why.clone()),
        dangerous: Err(why.clone()),
        foreign_key: Err(why.clone()),
        foreign_channel: Err(why.clone()),
        protected_mode: Err(why.clone()),
        rules: Err(why),
    }
}

/// Whether the server would let the user run a command; it is not run.
async fn dry_run(conversation: &mut Conversation, user: &str, command: &str) -> Known<bool> {
    let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let asked = conversation.ask(&Question::DryRun { user: user.to_owned(), command }).await;
    match (asked.value(), asked.error()) {
        // Allowed: OK; refused: a text with the reason.
        (Some(value), _) => Ok(value.as_bytes() == Some(b"OK")),
        // A command that this server does not have cannot hurt.
        (None, Some(line)) if line.contains("not found") => Ok(false),
        (None, _) => Err(format!(
            "ACL DRYRUN: {}; grant +acl|dryrun, or run the test as a user that has it",
            why(&asked)
        )),
    }
}

fn why(asked: &probe::Asked) -> String {
    asked.error().unwrap_or_else(|| "no answer".to_owned())
}
