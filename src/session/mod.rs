//! One client's conversation as a pure state machine: requests and replies go in, steps come out.
//!
//! Owns: the way of a request through the files below. Never knows: tokio, sockets, connections,
//! clocks; time and the outcome of every wait are arguments.
//!
//! `request` asks everything that is to be asked and sends each kind of command to its file: `hello`,
//! `local`, `multi`, `pubsub`, `script`, `walk`. `remote` takes what the server answers. `state` is what they share,
//! `queue` keeps replies in order.

mod about;
mod admission;
mod answer;
mod array;
mod auth;
mod bounds;
mod client_filter;
mod client_line;
mod clients;
mod completed;
mod dedicated;
mod desk;
mod executed;
mod gatehouse;
mod gates;
mod greeted;
mod hello;
mod identity;
mod late;
mod lease;
mod listed;
mod local;
mod login;
mod manners;
mod multi;
mod own;
mod own_queue;
mod pubsub;
mod queue;
mod queued;
mod remote;
mod replay;
mod replica;
mod replication;
mod request;
mod roster;
mod script;
mod state;
mod subscriptions;
mod tracking;
mod transaction;
mod transacts;
mod users;
mod walk;
mod walking;
mod words;
mod wrong_logins;

pub use auth::{Auth, Door, Login};
pub use completed::Completed;
pub use desk::Desk;
pub use gatehouse::{Gatehouse, Gates};
pub use gates::Held;
pub use listed::{Choice, Listed};
pub use queue::Class;
pub use replay::Scripts;
pub use roster::{Figures, Marks, Origin, Peer, Roster, Seat};
pub use state::{Cause, Context, LeaseNeed, Route, Session, Step, Surplus, Wire};
pub use transacts::Transacts;
pub use users::{Name, User, Users};
