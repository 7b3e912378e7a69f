//! One client's conversation as a pure state machine: requests and replies go in, steps come out.
//!
//! Owns: the way of a request through the files below. Never knows: tokio, sockets, connections,
//! clocks; time and the outcome of every wait are arguments.
//!
//! `request` asks everything that is to be asked and sends each kind of command to its file: `hello`,
//! `local`, `multi`, `pubsub`, `script`, `walk`. `remote` takes what the server answers. `state` is what they share,
//! `queue` keeps replies in order.

mod access;
mod admission;
mod array;
mod bounds;
mod client_filter;
mod client_info;
mod client_line;
mod client_text;
mod clients;
mod completed;
mod connection_flags;
mod dedicated;
mod degraded;
mod exec_reply;
mod greeted;
mod hello;
mod key_scan;
mod late;
mod lease;
mod limiter;
mod limiter_registry;
mod listed;
mod local;
mod local_reply;
mod login;
mod multi;
mod multi_permission;
mod outage;
mod own;
mod own_queue;
mod peer;
mod pending_query;
mod pubsub;
mod queue;
mod queued;
mod replica;
mod replication;
mod reply;
mod request;
mod request_scratch;
mod residue;
mod roster;
mod script;
mod script_cache;
mod state;
mod subscriptions;
mod tracking;
mod transaction;
mod user;
mod users;
mod wrong_logins;

pub use access::Auth;
pub(crate) use access::{ListenerAccess, Login};
pub use completed::Completed;
pub(crate) use limiter::Held;
pub(crate) use limiter_registry::LimiterRegistry;
pub use limiter_registry::Limiters;
pub(crate) use listed::{Choice, Listed};
pub use multi_permission::MultiPermission;
pub(crate) use peer::{Origin, Peer, PeerCertificate, PeerIdentity};
pub(crate) use queue::Class;
pub use request_scratch::RequestScratch;
pub(crate) use residue::LeaseFate;
pub(crate) use roster::{Marks, Roster, Seat};
pub use script_cache::Scripts;
pub(crate) use state::{Cause, WireLayout};
pub use state::{Context, Route, Session, Step};
pub(crate) use users::{Name, User, Users};
