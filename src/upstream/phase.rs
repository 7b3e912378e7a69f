//! The steps on the way to a connection, in their order.
//!
//! Owns: [`Phase`], [`Reached`]. Never knows: what is done in a step.

use std::net::SocketAddr;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Resolve,
    Connect,
    Tls,
    Login,
}

impl Phase {
    /// What it means that the time ended in this step.
    pub(super) const fn silence(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::Resolve, _) => "the name is not resolved; is the DNS server reachable?",
            (Self::Connect, _) => "no connection; is a firewall between?",
            (Self::Tls, _) => "no answer to the TLS handshake; is it the server's tls-port?",
            (Self::Login, true) => "no answer to the login; is the server stopped or overloaded?",
            (Self::Login, false) => "no answer to the login; is it a TLS port?",
        }
    }
}

/// How far an attempt has come.
pub(super) struct Reached {
    pub(super) phase: Phase,
    /// Where it is connected.
    pub(super) peer: Option<SocketAddr>,
}

impl Default for Reached {
    fn default() -> Self {
        Self { phase: Phase::Resolve, peer: None }
    }
}
