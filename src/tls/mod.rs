//! Who we are, whom we trust, until when.
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

pub mod dev_certs;
pub mod expiry;
pub mod inspect;
pub mod provider;
pub mod watch;

pub use error::{Fault, TlsError};
pub use expiry::calendar;
pub use explain::{Offer, explain, plaintext};
pub use identity::Identity;
pub use listener::{ListenerIdentity, ListenerStore};
pub use look::Looking;
pub use material::{OwnCertificate, not_after, roots};
pub use peer::Peer;
pub use refusal::{crowded, refusal, too_slow};
pub use store::{Candidate, TlsStore};
