//! The application's side: accept, read, write; the task around each session.
//!
//! Owns: the meeting of sessions and upstream connections. Never knows: certificates' bytes, how policy
//! decides.

mod access;
mod account;
mod auditor;
mod certificates;
mod client_stream;
mod client_task;
mod clients;
mod connection;
pub(crate) mod conversation;
mod counts;
mod disconnect_guard;
mod encrypted;
mod eviction;
mod handshake_thread;
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

pub(crate) use auditor::{AuditParts, AuditRules};
pub(crate) use clients::Clients;
pub(crate) use handshake_thread::HandshakeThread;
pub(crate) use inherited::Inherited;
pub(crate) use listener::{BindError, Listener, bind};
pub(crate) use unix::{SocketFile, bind as bind_unix};
pub(crate) use worker::{Worker, WorkerParts};
