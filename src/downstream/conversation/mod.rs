//! One client's connection as a pure state machine: what arrives, and the time, are arguments; what is to
//! happen goes to a [`Host`] or is asked for.
//!
//! Owns: the way from bytes to requests, from replies to bytes, and what ends a connection. Never knows:
//! tokio, sockets, clocks, wakers, how a connection to the server is had.
//!
//! `requests` handles what clients send, `arrivals` and `loan` what arrives on shared and pinned connections, `state`
//! and `loan` end things, `clocks` decides when. The task in `downstream::connection`, the session simulation and the
//! core benchmark drive the same code.

mod arrivals;
mod bulk_pacer;
mod clocks;
mod ending;
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
pub use host::{Host, LeaseEnd, Moment, PendingStep};
pub use invariants::check_invariants;
pub(crate) use loan::Through;
pub use loan::{handle_pinned, handle_through, lose_lease, release_if_free};
pub use state::Conversation;
