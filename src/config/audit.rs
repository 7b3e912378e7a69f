//! Settings of the audit log.
//!
//! Owns: [`Audit`], [`AuditSink`] and how they are written. Never knows: events, files, sockets.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ValueError;
use super::quoting::quoted;
use super::section::{
    Section, boolean, choice, count, duration, mode, path, size, string, strings, text,
};
use crate::base::limits;

/// The audit log of a process; it is on when it has a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Commands that are written although they pass: words of the ACL language.
    pub sensitive: Vec<String>,
    /// How keys are written.
    pub keys: KeyForm,
    /// At least 32 bytes; with it, keys are hashed and the chain is sealed.
    pub key_file: Option<PathBuf>,
    /// A refused client reads the id of the event in its error.
    pub reference: bool,
    /// Opened and closed connections are written.
    pub connections: bool,
    /// Every so many commands one is written; 0: none.
    pub sample_every: u64,
    pub on_overflow: OnOverflow,
    /// Bytes of events that wait for each sink.
    pub queue_bytes: usize,
    /// How long the commands of a client together wait at most for room, with [`OnOverflow::Block`].
    pub wait: Duration,
    pub sinks: Vec<AuditSink>,
}

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyForm {
    /// HMAC-SHA-256 with the bytes of the key file.
    Hmac,
    /// The part before the first separator.
    #[default]
    Prefix,
    Plain,
    Drop,
}

/// What happens when a sink cannot take events as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnOverflow {
    /// Commands wait for room, at most [`Audit::wait`]; then they are refused.
    Block,
    /// Events are dropped and counted, and the sink gets an entry with their number.
    #[default]
    Drop,
    /// Commands are refused until there is room.
    FailClosed,
}

/// Where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    File(AuditFile),
    Stdout,
    Syslog(Syslog),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFile {
    pub path: PathBuf,
    /// Permission bits of new files.
    pub mode: u32,
    /// A file that would grow beyond this is rotated; 0: never.
    pub max_bytes: u64,
    /// A file that is older is rotated; zero: never.
    pub max_age: Duration,
    /// Files kept besides the present one.
    pub max_files: u32,
    pub fsync: Fsync,
}

/// When what was written is forced onto the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fsync {
    Never,
    /// Once a second.
    #[default]
    Second,
    /// After each batch of entries, before the next one is taken.
    Batch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub address: SyslogAddress,
    /// The number of the facility (RFC 5424, section 6.2.1).
    pub facility: u8,
    /// With TLS: the file with the authorities; without it, those of the system.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// Datagrams to a Unix socket.
    Unix(PathBuf),
    /// `host:port` each; TCP and TLS with octet counting (RFC 6587, RFC 5425).
    Udp(String),
    Tcp(String),
    Tls(String),
}

const QUEUE_BYTES: usize = 4 << 20;
const WAIT: Duration = Duration::from_secs(5);
const FILE_BYTES: u64 = 100 << 20;
const FILES: u32 = 10;
const MODE: u32 = 0o640;
const SENSITIVE: [&str; 13] = [
    "acl",
    "config",
    "debug",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
    "flushall",
    "flushdb",
    "function",
    "script",
];

pub(super) fn read(at: &Section<'_>) -> Option<Audit> {
    let forms = [
        ("hmac", KeyForm::Hmac),
        ("prefix", KeyForm::Prefix),
        ("plain", KeyForm::Plain),
        ("drop", KeyForm::Drop),
    ];
    let overflow = [
        ("block", OnOverflow::Block),
        ("drop", OnOverflow::Drop),
        ("fail_closed", OnOverflow::FailClosed),
    ];
    let sensitive = at.get("sensitive", strings);
    let audit = Audit {
        sensitive: sensitive.unwrap_or_else(|| SENSITIVE.map(str::to_owned).to_vec()),
        keys: at.get("keys", choice(&forms)).unwrap_or_default(),
        key_file: at.get("key_file", path),
        reference: at.get("reference", boolean).unwrap_or(false),
        connections: at.get("connections", boolean).unwrap_or(true),
        sample_every: at.get("sample_every", count).unwrap_or(0),
        on_overflow: at.get("on_overflow", choice(&overflow)).unwrap_or_default(),
        queue_bytes: at.get("queue", size).unwrap_or(QUEUE_BYTES),
        wait: at.get("wait", duration).unwrap_or(WAIT),
        sinks: at.list("sink").iter().filter_map(sink).collect(),
    };
    if audit.keys == KeyForm::Hmac && audit.key_file.is_none() && !at.has("key_file") {
        let hint = "head -c 32 /dev/urandom > FILE makes one; or write keys = \"prefix\"";
        at.report("key_file", ValueError::new("missing: keys = \"hmac\" needs it").hint(hint));
    }
    if audit.queue_bytes < limits::AUDIT_QUEUE_BYTES_MIN {
        at.report("queue", ValueError::new("too small").hint("write at least \"64KiB\""));
    }
    if at.list("sink").is_empty() {
        let keys = [
            "sensitive",
            "keys",
            "key_file",
            "reference",
            "connections",
            "sample_every",
            "on_overflow",
            "queue",
            "wait",
        ];
        for key in keys.iter().filter(|key| at.has(key)) {
            let mistake = ValueError::new("without effect: the audit log has no sink");
            at.report(key, mistake.hint("add [[audit.sink]], or remove it"));
        }
    }
    (!audit.sinks.is_empty()).then_some(audit)
}

fn sink(at: &Section<'_>) -> Option<AuditSink> {
    let hint = "write type = \"file\", \"stdout\" or \"syslog\"";
    let kind = at.need("type", hint, choice(&[("file", 0), ("stdout", 1), ("syslog", 2)]));
    let file = AuditFile {
        path: at.get("path", path).unwrap_or_default(),
        mode: at.get("mode", mode).unwrap_or(MODE),
        max_bytes: at.get("max_bytes", size).unwrap_or(FILE_BYTES),
        max_age: at.get("max_age", duration).unwrap_or(Duration::ZERO),
        max_files: at.get("max_files", count).unwrap_or(FILES),
        fsync: at
            .get(
                "fsync",
                choice(&[
                    ("never", Fsync::Never),
                    ("second", Fsync::Second),
                    ("batch", Fsync::Batch),
                ]),
            )
            .unwrap_or_default(),
    };
    let address = at.get("address", |node| address(text(node)?));
    let facility = at.get("facility", |node| facility(&string(node)?));
    let ca = at.get("ca", path);
    let own = match kind? {
        0 => ["path", "mode", "max_bytes", "max_age", "max_files", "fsync"].as_slice(),
        1 => &[],
        _ => &["address", "facility", "ca"],
    };
    let all =
        ["path", "mode", "max_bytes", "max_age", "max_files", "fsync", "address", "facility", "ca"];
    for key in all.iter().filter(|key| !own.contains(key) && at.has(key)) {
        let mistake = ValueError::new("without effect: a sink of this type does not have it");
        at.report(key, mistake.hint("remove it"));
    }
    Some(match kind? {
        0 => {
            if !at.has("path") {
                let hint = "write path = \"/var/log/respgate/audit.log\"";
                at.report("path", ValueError::new("missing").hint(hint));
            }
            AuditSink::File(file)
        }
        1 => AuditSink::Stdout,
        _ => {
            if !at.has("address") {
                let hint = "write address = \"unix:/dev/log\"";
                at.report("address", ValueError::new("missing").hint(hint));
            }
            let address = address?;
            if ca.is_some() && !matches!(address, SyslogAddress::Tls(_)) {
                let mistake = ValueError::new("without effect: the address is not tls://");
                at.report("ca", mistake.hint("remove it, or write tls://HOST:PORT"));
            }
            AuditSink::Syslog(Syslog { address, facility: facility.unwrap_or(10), ca })
        }
    })
}

fn address(written: &str) -> Result<SyslogAddress, ValueError> {
    let wrong = || {
        ValueError::new(format!("{} is not an address of a syslog server", quoted(written)))
            .hint("write unix:/dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514")
    };
    if let Some(path) = written.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(SyslogAddress::Unix(PathBuf::from(path)));
    }
    let (scheme, place) = written.split_once("://").ok_or_else(wrong)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    match scheme {
        "udp" => Ok(SyslogAddress::Udp(place.to_owned())),
        "tcp" => Ok(SyslogAddress::Tcp(place.to_owned())),
        "tls" => Ok(SyslogAddress::Tls(place.to_owned())),
        _ => Err(wrong()),
    }
}

/// RFC 5424, section 6.2.1.
fn facility(name: &str) -> Result<u8, ValueError> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
    let at = NAMES.iter().position(|known| *known == name);
    at.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| {
        ValueError::new(format!("{} is not a facility of syslog", quoted(name)))
            .hint("write \"authpriv\", \"auth\", \"daemon\" or \"local0\" to \"local7\"")
    })
}
