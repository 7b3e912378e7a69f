//! How far a policy reaches as a whole: whether it changes requests, whether it bounds what may be seen.
//!
//! Owns: those questions. Never knows: single requests.

use super::Policy;
use super::database::Databases;
use super::role::Scope;

impl Policy {
    /// Whether permitted requests go to the server as they are.
    #[must_use]
    pub const fn leaves_requests_alone(&self) -> bool {
        self.namespace.is_none() && self.ttl.is_none()
    }

    /// Whether every key of every database is allowed, so that what others do there may be seen.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        let root = &self.role.root;
        self.namespace.is_none()
            && matches!(root.keys, Scope::All)
            && matches!(root.databases, Databases::All)
    }
}
