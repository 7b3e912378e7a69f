//! Who we are, whom we trust, until when.
//!
//! Owns: identities, their files, their faults. Never knows: Redis, connections.

mod error;
mod explain;
mod file_state;
mod files;
mod identity;
mod look;
mod material;
mod pem;
mod store;
mod version1;

pub mod dev_certs;
pub mod expiry;
pub mod inspect;
pub mod provider;
pub mod watch;

pub use error::{Fault, TlsError};
pub use explain::{Offer, explain, plaintext};
pub use identity::{ClientFacts, Identity};
pub use look::Looking;
pub use material::{calendar, not_after, roots};
pub use store::{Candidate, TlsStore};
