//! Places where audit entries are written.
//!
//! Owns: which output a sink of the configuration is, and its name. Never knows: the content of an entry.

mod file;
mod output;
mod stream;
mod syslog;

pub(super) use output::Output;

use crate::base::limits;
use crate::config::AuditSink;

/// The output of a sink, nothing opened yet.
pub(super) fn output(settings: &AuditSink) -> Result<Box<dyn Output>, String> {
    Ok(match settings {
        AuditSink::File(file) => Box::new(file::File::new(file.clone())),
        AuditSink::Stdout => Box::new(stream::Stdout::default()),
        AuditSink::Syslog(settings) => Box::new(syslog::Server::new(settings)?),
    })
}

/// What a sink is called in logs and by `respgate status`.
pub(super) fn name(settings: &AuditSink) -> String {
    use crate::config::SyslogAddress as A;
    match settings {
        AuditSink::File(file) => format!("file {}", file.path.display()),
        AuditSink::Stdout => "stdout".to_owned(),
        AuditSink::Syslog(syslog) => match &syslog.address {
            A::Unix(path) => format!("syslog unix:{}", path.display()),
            A::Udp(place) => format!("syslog udp://{place}"),
            A::Tcp(place) => format!("syslog tcp://{place}"),
            A::Tls(place) => format!("syslog tls://{place}"),
        },
    }
}

/// What a sink may hold besides its queue.
pub(super) const fn kept_bytes(settings: &AuditSink) -> usize {
    use crate::config::SyslogAddress as A;
    match settings {
        AuditSink::File(_) | AuditSink::Stdout => 0,
        AuditSink::Syslog(syslog) => match syslog.address {
            A::Unix(_) | A::Udp(_) => 0,
            A::Tcp(_) | A::Tls(_) => limits::SYSLOG_KEPT_BYTES,
        },
    }
}
