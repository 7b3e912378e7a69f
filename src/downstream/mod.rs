//! The application's side: accept, read, write; the task around each session.
//!
//! Owns: the meeting of sessions and upstream connections. Never knows: certificates' bytes, how policy
//! decides.

mod access;
mod account;
mod auditor;
mod connection;
pub mod conversation;
mod counts;
mod encrypted;
mod eviction;
mod handshakes;
mod holder;
mod inherited;
mod insight;
mod links;
mod listener;
mod metrics;
mod notes;
mod origin;
mod refusals;
mod shown;
mod unix;
mod worker;

pub use auditor::{AuditParts, AuditRules};
pub use inherited::Inherited;
pub use listener::{BindError, Listener, bind};
pub use unix::{SocketFile, bind as bind_unix};
pub use worker::{Worker, WorkerParts};
