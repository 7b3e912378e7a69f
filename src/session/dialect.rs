//! The dialect of a client: the version of RESP and the database, which choose the shared connection for it.
//!
//! Owns: [`Dialect`]. Never knows: HELLO and SELECT, connections.

use crate::resp::Protocol;
use crate::traffic::PoolKey;

/// At first RESP2 and database 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    key: PoolKey,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { key: PoolKey { protocol: Protocol::Resp2, database: 0 } }
    }
}

impl Dialect {
    /// The shared connections for it.
    pub(super) const fn key(&self) -> PoolKey {
        self.key
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.key.protocol
    }

    pub(super) fn is_resp2(&self) -> bool {
        self.key.protocol == Protocol::Resp2
    }

    pub(super) const fn database(&self) -> u32 {
        self.key.database
    }

    /// HELLO has chosen this version.
    pub(super) const fn set_protocol(&mut self, protocol: Protocol) {
        self.key.protocol = protocol;
    }

    /// SELECT has chosen this database.
    pub(super) const fn select(&mut self, database: u32) {
        debug_assert!(database <= i32::MAX as u32, "no server has so many");
        self.key.database = database;
    }
}
