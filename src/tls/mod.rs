//! TLS: certificates, keys, trusted authorities, and when they expire.
//!
//! Owns: identities, their files, their faults; to the server and to applications. Never knows: Redis, connections.

mod error;
mod explain;
mod file_state;
mod files;
mod identity;
mod listener;
mod look;
mod material;
mod peer;
mod pem;
mod refusal;
mod revocation;
mod store;
mod version1;

pub(crate) mod dev_certs;
pub(crate) mod expiry;
pub(crate) mod inspect;
pub(crate) mod provider;
pub(crate) mod watch;

pub(crate) use error::{Fault, TlsError};
pub(crate) use expiry::calendar;
pub(crate) use explain::{Offer, explain, plaintext};
pub use identity::Identity;
pub(crate) use identity::server_name;
pub(crate) use listener::{ListenerIdentity, ListenerStore};
pub(crate) use look::Looking;
pub(crate) use material::{OwnCertificate, not_after, roots};
pub(crate) use refusal::{blocked, broken_off, crowded, refusal, too_slow};
pub(crate) use store::Candidate;
pub use store::TlsStore;
