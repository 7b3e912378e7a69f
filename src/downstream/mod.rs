//! The application's side: accept, read, write; the task around each session.
//!
//! Owns: the meeting of sessions and upstream connections. Never knows: certificates' bytes, how policy decides.

mod access;
mod account;
mod auditor;
mod bulk_pacer;
mod clocks;
mod connection;
mod counts;
mod cut;
mod dispatch;
mod encrypted;
mod eviction;
mod handshakes;
mod holder;
mod inherited;
mod insight;
mod listener;
mod metrics;
mod notes;
mod origin;
mod pinned;
mod progress;
mod read;
mod refusals;
mod replies;
mod shown;
mod unix;
mod worker;

pub use auditor::{AuditParts, AuditRules};
pub use inherited::Inherited;
pub use listener::{BindError, Listener, bind};
pub use unix::{SocketFile, bind as bind_unix};
pub use worker::{Worker, WorkerParts};
