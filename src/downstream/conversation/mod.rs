//! One client's connection as a pure state machine: what arrives, and the time, are arguments; what is to
//! happen goes to a [`Host`] or is asked for.
//!
//! Owns: the way from bytes to requests, from replies to bytes, and what ends a connection. Never knows:
//! tokio, sockets, clocks, wakers, connections to the server.
//!
//! `requests` begins things, `arrivals` answers them, `state` and `loan` end them, `clocks` says when. The task in `downstream::connection`, the
//! session simulation and the core benchmark drive the same code.

mod arrivals;
mod bulk_pacer;
mod clocks;
mod host;
mod inbound;
mod invariants;
mod judging;
mod leased;
mod loan;
mod progress;
mod requests;
mod sending;
mod state;

pub use arrivals::Arrivals;
pub(crate) use clocks::{deadline, expire};
pub(crate) use host::{Hold, Notice, PolicyChange};
pub use host::{Host, LeaseEnd, Moment, PendingStep, Piece};
pub use invariants::check_invariants;
pub use loan::{lose_lease, release_if_free};
pub(crate) use requests::Through;
pub use state::Conversation;
