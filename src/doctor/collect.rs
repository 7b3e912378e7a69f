//! Looks at the files, connects to the server as `run` would, and sends a few commands.
//!
//! Owns: [`collect`]. Never knows: what follows from what is seen.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::facts::{Facts, FileFact, Identity, Instead, Reached};
use super::mounts::mount_points;
use crate::base::clock;
use crate::base::limits;
use crate::config::{
    Authorities, Config, SecretFile, ServerAuth, io_cause, is_in_volume, secret_files,
};
use crate::probe::{self, Conversation, Question};
use crate::resp::{Protocol, Value};
use crate::tls::expiry::assess;
use crate::tls::inspect::Inspection;
use crate::tls::watch::Watch;
use crate::tls::{Fault, Looking, TlsStore};
use crate::traffic::PoolKey;
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::{Dialer, ServerConnection};
use crate::upstream::phase::Phase;
use crate::upstream::target::Target;

const KEY: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };

/// Everything but the comparison of rules, which needs more than the configuration.
pub(crate) async fn collect(config: &Config) -> Facts {
    let now = clock::wall();
    let upstream = &config.upstream;
    let files = files(config);
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let watched = (!paths.is_empty()).then(|| Watch::new(paths).watch_up());
    let target = Target::of(upstream);
    let store = upstream.tls.as_ref().map(|tls| {
        let store = TlsStore::open(tls)?;
        target.clone().map(|_| store)
    });
    let credentials = Credentials::open(&upstream.auth);
    let mut facts = Facts {
        server: upstream.address.to_string(),
        user: upstream.auth.username.clone().unwrap_or_else(|| "default".to_owned()),
        files,
        uid: own_uid(),
        watched,
        identity: store.as_ref().map(|store| match store {
            Ok(store) => Ok(identity(store, now)),
            Err(error) => Err(error.clone()),
        }),
        credentials: credentials.as_ref().map(|_| ()).map_err(ToString::to_string),
        dialed: None,
        connected: None,
        shown: None,
        rules: None,
        now,
    };
    let store = store.transpose();
    let known = store.as_ref().ok().cloned();
    if let (Ok(store), Ok(target), Ok(credentials)) = (store, target, credentials) {
        let dialer = Dialer::new(target, upstream, store, credentials);
        facts.dialed = Some(match dialer.dial(KEY).await {
            Ok(link) => Ok(reached(link, upstream.pool.connect_timeout).await),
            Err(error) => Err(Box::new(error)),
        });
    } else if let Ok(nothing) = Credentials::open(&ServerAuth::default()) {
        let nameless = Target { endpoint: upstream.address.clone(), server_name: None };
        let dialer = Dialer::new(nameless, upstream, None, nothing);
        facts.connected = Some(dialer.reach().await.map_err(Box::new));
    }
    if let Some(store) = known.filter(|_| upstream.tls.is_some() && answers_tls(&facts)) {
        facts.shown = shown(config, store.as_ref()).await;
    }
    facts
}

/// Whether it is worth a handshake to see what the server shows.
fn answers_tls(facts: &Facts) -> bool {
    match &facts.dialed {
        Some(Err(error)) => error.phase >= Phase::Tls && error.code != Fault::Plaintext.code(),
        Some(Ok(_)) | None => true,
    }
}

/// The effective user, which is the owner of `/proc/self`.
fn own_uid() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|meta| meta.uid())
}

fn files(config: &Config) -> Vec<FileFact> {
    let mut files = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mount_points(&mounts);
    let mut add = |key, path: &Path, secret, fault| {
        let seen = std::fs::metadata(path);
        // A pipe would wait for its writer.
        let is_other = seen.as_ref().is_ok_and(|meta| !meta.is_file());
        let mode = if is_other {
            Err("it is not a regular file")
        } else {
            let opened = std::fs::File::open(path).and_then(|file| file.metadata());
            opened.map(|meta| meta.mode() & 0o7777).map_err(|error| io_cause(&error))
        };
        let owner = seen.ok().map(|meta| (meta.mode() & 0o7777, meta.uid()));
        let mounted = path.canonicalize().is_ok_and(|own| mounts.contains(&own));
        let (path, in_volume) = (path.to_path_buf(), is_in_volume(path));
        files.push(FileFact { key, path, secret, in_volume, fault, mode, mounted, owner });
    };
    if let Some(tls) = &config.upstream.tls {
        let unreadable = Some(Fault::Unreadable);
        if let Some(client) = &tls.client {
            add("upstream.tls.cert", &client.cert, false, unreadable);
            add("upstream.tls.key", &client.key, true, unreadable);
        }
        if let Some(Authorities::File(path)) = &tls.ca {
            add("upstream.tls.ca", path, false, unreadable);
        }
        if let Some(revocation) = &tls.revocation {
            add("upstream.tls.crl", &revocation.crl, false, unreadable);
        }
    }
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        add("listener.tls.cert", &tls.own.cert, false, None);
        if let Some(path) = &tls.client_ca {
            add("listener.tls.client_ca", path, false, None);
        }
        if let Some(revocation) = &tls.revocation {
            add("listener.tls.crl", &revocation.crl, false, None);
        }
    }
    for SecretFile { key, path } in secret_files(config) {
        if key != "upstream.tls.key" {
            add(key, &path, true, None);
        }
    }
    files
}

fn identity(store: &TlsStore, now: SystemTime) -> Identity {
    let current = store.current();
    Identity {
        client: current.client.as_ref().map(|client| {
            let end = client.chain_not_after;
            (end, assess(client.not_before, end, now))
        }),
    }
}

/// The certificates that the server shows, whether or not they are good.
async fn shown(config: &Config, store: Option<&TlsStore>) -> Option<Inspection> {
    let limit = config.upstream.pool.connect_timeout.min(limits::DOCTOR_CERTIFICATE_TIMEOUT);
    let address = *probe::addresses(config.upstream.address.tcp()?, limit).await.first()?;
    let identity = store.map(TlsStore::current);
    let looking = match &identity {
        Some(identity) => Looking::as_identity(identity)?,
        None => Looking::without_certificate()?,
    };
    let name = Target::of(&config.upstream).ok().and_then(|target| target.server_name);
    let by_address = || rustls::pki_types::ServerName::IpAddress(address.ip().into());
    let name = name.unwrap_or_else(by_address);
    let _ = probe::exchange(address, &name, &looking, limit).await;
    let chain = looking.chain();
    let server = config.upstream.address.to_string();
    (!chain.is_empty()).then(|| Inspection::of_server(&server, &chain))
}

async fn reached(link: ServerConnection, limit: Duration) -> Reached {
    let facts = &link.facts;
    let mut reached = Reached {
        tls: link.handshake.as_ref().map(|handshake| {
            [handshake.version.clone(), handshake.cipher_suite.clone(), handshake.group.clone()]
        }),
        description: format!("{} {} {}", facts.server, facts.version, facts.mode).trim().to_owned(),
        role: facts.role.clone(),
        spent: link.spent,
        ping: None,
        clock: None,
    };
    let mut conversation = Conversation::new(link, limit);
    let ping = conversation.ask(&Question::Ping).await;
    reached.ping = Some(match (ping.value(), ping.error()) {
        (Some(_), _) => Ok(ping.took),
        (None, Some(line)) => Err(Instead::Line(line)),
        (None, None) if ping.ended => Err(Instead::End),
        (None, None) => Err(Instead::Silence),
    });
    let time = conversation.ask(&Question::Time).await;
    reached.clock = Some(match (time.value().and_then(milliseconds), time.error()) {
        (Some(server), _) => {
            let own = time.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let ahead = server.saturating_sub(i64::try_from(own.as_millis()).unwrap_or(i64::MAX));
            let doubt = u64::try_from(time.took.as_millis()).unwrap_or(u64::MAX) / 2 + 1;
            Ok((ahead, doubt))
        }
        (None, Some(line)) => Err(line),
        (None, None) => Err("no answer".to_owned()),
    });
    conversation.close().await;
    reached
}

/// The reply to `TIME`: seconds and microseconds.
fn milliseconds(value: &Value) -> Option<i64> {
    let number = |value: &Value| std::str::from_utf8(value.as_bytes()?).ok()?.parse::<i64>().ok();
    let [seconds, micros] = value.elements()? else { return None };
    number(seconds)?.checked_mul(1000)?.checked_add(number(micros)? / 1000)
}
