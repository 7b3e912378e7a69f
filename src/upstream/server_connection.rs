//! A connection to the server that is logged in.
//!
//! Owns: [`ServerConnection`]. Never knows: how it is opened, what is sent on it.

use std::time::Instant;

use super::connection::Freshness;
use super::credentials::Login;
use super::handshake::Handshake;
use super::phase::Spent;
use super::stream::Stream;
use crate::traffic::{Facts, PoolKey};

/// An open connection on which the server has answered everything it was asked.
#[derive(Debug)]
pub struct ServerConnection {
    pub stream: Stream,
    pub key: PoolKey,
    pub opened_at: Instant,
    /// Of the identity it was opened with; 0 without TLS.
    pub generation: u64,
    /// Of the credentials it is logged in with.
    pub credentials_generation: u64,
    pub username: Option<String>,
    pub facts: Facts,
    /// Its number at the server; 0 when that is not known.
    pub client_id: u64,
    /// `None` without TLS.
    pub handshake: Option<Handshake>,
    pub spent: Spent,
}

impl ServerConnection {
    /// How what it was opened with relates to the identity and the login in force.
    pub(super) fn freshness(&self, identity: u64, login: &Login) -> Freshness {
        if self.generation != identity {
            Freshness::Outdated
        } else if self.credentials_generation == login.generation {
            Freshness::Current
        } else if self.username == login.username && login.password.is_some() {
            Freshness::NewPassword
        } else {
            Freshness::Outdated
        }
    }
}
