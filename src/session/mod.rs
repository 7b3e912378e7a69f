//! One client's conversation as a pure state machine: requests and replies go in, steps come out.
//!
//! Owns: the way of a request through the files below. Never knows: tokio, sockets, connections,
//! clocks; time and the outcome of every wait are arguments.
//!
//! `interface` is what the shell calls. `request` checks everything that is to be checked and sends each kind of
//! command to its file: `forward`, `hello`, `local`, `multi`, `pubsub`, `script`, `key_scan`, `track`;
//! `dedicated` those of a client with a connection of its own. `reply` takes what the server answers.
//! `state` is what they share: the parts of a session, each a type with a file of its own (`user`,
//! `dialect`, `watch`, `listening`, `replies`, `retries`, `admission`, `outage`, …), and its way to a
//! connection. `queue` keeps replies in order.

mod access;
mod admission;
mod answer_room;
mod array;
mod awaited;
mod block_end;
mod bounds;
mod client_filter;
mod client_info;
mod client_line;
mod client_text;
mod clients;
mod completed;
mod connection_flags;
mod context;
mod dedicated;
mod degraded;
mod dialect;
mod exec_reply;
mod expect;
mod figures;
mod forward;
mod greeted;
mod hello;
mod interface;
mod judged;
mod key_scan;
mod large_replies;
mod late;
mod limit_usage;
mod limiter;
mod limiter_registry;
mod listed;
mod listening;
mod local;
mod login;
mod multi;
mod multi_permission;
mod outage;
mod own;
mod own_queue;
mod own_state;
mod peer;
mod pending_query;
mod pinning;
mod pubsub;
mod queue;
mod queued;
mod recent_commands;
mod remote;
mod replica;
mod replication;
mod replies;
mod reply;
mod reply_mode;
mod request;
mod request_scratch;
mod residue;
mod retries;
mod roster;
mod script;
mod script_cache;
mod seen;
mod state;
mod step;
mod subscriptions;
mod track;
mod tracking;
mod transaction;
mod user;
mod users;
mod watch;
mod wrong_logins;

pub use access::Auth;
pub(crate) use access::{ListenerAccess, Login};
pub use completed::Completed;
pub use context::Context;
pub(crate) use figures::{Figures, Marks};
pub(crate) use judged::Denial;
pub use judged::Judged;
pub(crate) use limiter::HeldSlot;
pub(crate) use limiter_registry::LimiterRegistry;
pub use limiter_registry::Limiters;
pub(crate) use listed::{Choice, Listed};
pub use multi_permission::MultiPermission;
pub(crate) use peer::{Origin, Peer, PeerCertificate, PeerIdentity};
pub(crate) use queue::Class;
pub(crate) use reply::Sorted;
pub use request_scratch::RequestScratch;
pub(crate) use residue::LeaseFate;
pub(crate) use roster::{ClientEntry, Roster, Source};
pub use script_cache::Scripts;
pub(crate) use seen::figures_of;
pub use state::Session;
pub(crate) use step::{Cause, WireLayout};
pub use step::{Route, Step};
pub(crate) use users::{Name, User, Users};
