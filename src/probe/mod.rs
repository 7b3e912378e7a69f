//! Looks at a server without changing anything there: single connections, each with a deadline.
//!
//! Owns: the list of its parts. Never knows: what is concluded from an answer.

mod hello;
mod question;
mod reach;

pub(crate) use hello::{OldVersion, accepts};
pub(crate) use question::{Asked, Conversation, Question};
pub(crate) use reach::{Exchange, addresses, exchange, probe_plaintext, probe_socket};
