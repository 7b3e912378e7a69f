//! Who we are, whom we trust, until when.
//!
//! Owns: identities, their files, their faults. Never knows: Redis, connections.

mod error;
mod explain;
mod files;
mod identity;
mod material;
mod stamp;
mod store;

pub mod expiry;
pub mod provider;
pub mod throwaway;
pub mod watch;

pub use error::{Fault, TlsError};
pub use explain::explain;
pub use identity::Identity;
pub use material::not_after;
pub use store::{Candidate, TlsStore};
