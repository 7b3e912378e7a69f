//! What was agreed in a TLS handshake, for metrics and reports.
//!
//! Owns: [`Handshake`]. Never knows: sockets, certificates in use.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use rustls::{ClientConnection, HandshakeKind};

use crate::tls;

/// What was agreed in one handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub resumed: bool,
    /// `TLSv1_3`.
    pub version: String,
    /// `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
    /// `X25519MLKEM768`; empty when a session was resumed without a key exchange.
    pub group: String,
    pub duration: Duration,
    /// When the server's certificate ends.
    pub peer_not_after: Option<SystemTime>,
}

impl Handshake {
    /// Of a connection whose handshake took so long.
    pub(super) fn of(connection: &ClientConnection, duration: Duration) -> Self {
        let peer = connection.peer_certificates().and_then(<[_]>::first);
        Self {
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            version: name(connection.protocol_version()),
            cipher_suite: name(connection.negotiated_cipher_suite().map(|s| s.suite())),
            group: name(connection.negotiated_key_exchange_group().map(|g| g.name())),
            duration,
            peer_not_after: peer.and_then(|der| tls::not_after(der)),
        }
    }
}

fn name(value: Option<impl Debug>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}
