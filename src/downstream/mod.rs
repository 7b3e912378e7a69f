//! The application's side: accept, read, write; the shell around each session.
//!
//! Owns: the meeting of sessions and upstream connections. Never knows: TLS, how policy decides.

mod account;
mod auditor;
mod clocks;
mod connection;
mod counts;
mod courtesy;
mod cut;
mod door;
mod eviction;
mod holder;
mod inherited;
mod insight;
mod intake;
mod listener;
mod meter;
mod notes;
mod origin;
mod pinned;
mod present;
mod progress;
mod refusals;
mod replies;
mod shell;
mod shown;
mod unix;

pub use auditor::{AuditParts, AuditRules};
pub use inherited::Inherited;
pub use listener::{BindError, Listener, bind};
pub use shell::{Shell, ShellParts};
pub use unix::{SocketFile, bind as bind_unix};
