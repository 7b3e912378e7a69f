//! The steps on the way to a connection, in their order.
//!
//! Owns: [`Phase`], [`Reached`]. Never knows: what is done in a step.

use std::net::SocketAddr;

use super::fault::Fault;

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
    pub(super) const fn silence(self) -> Fault {
        match self {
            Self::Resolve => Fault::ResolveSilent,
            Self::Connect => Fault::ConnectSilent,
            Self::Tls => Fault::TlsSilent,
            Self::Login => Fault::LoginSilent,
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
