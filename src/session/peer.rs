//! The peer of a client's connection, as far as the connection itself proves it.
//!
//! Owns: [`Peer`], [`PeerIdentity`], [`Origin`]. Never knows: sockets, certificates' bytes, users.

use std::sync::Arc;

use crate::config::{San, SanPattern};

/// Where a client comes from, as limits distinguish peers: a host that can choose among many addresses
/// is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This machine.
    #[default]
    Here,
    /// An address of version 4, or the network of one of version 6.
    Network([u8; 8]),
}

/// What the connection proves of a client before it sends anything.
#[derive(Clone, Debug, Default)]
pub enum PeerIdentity {
    #[default]
    Anonymous,
    /// The system's user at the other end of a Unix socket.
    Uid(u32),
    /// The certificate that a client has shown, which an authority of the listener has signed.
    Certificate(Arc<PeerCertificate>),
}

/// A certificate, as far as it shows whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub names: Vec<San>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: Box<str>,
    /// What it is called in logs, and one client for limits, whatever its certificate is renewed to: the first
    /// URI, or else the first name; without any name the fingerprint.
    pub name: Box<str>,
}

impl PeerCertificate {
    #[must_use]
    pub fn new(names: Vec<San>, fingerprint: &str) -> Self {
        let uri = names.iter().find(|name| matches!(name, San::Uri(_)));
        let name = uri.or_else(|| names.first()).map(San::to_string);
        let name = name.unwrap_or_else(|| format!("sha256:{fingerprint}")).into();
        Self { names, fingerprint: fingerprint.into(), name }
    }

    /// Whether it carries a name that is meant.
    #[must_use]
    pub fn fits(&self, pattern: &SanPattern) -> bool {
        self.names.iter().any(|name| pattern.fits(name))
    }
}

/// A client as it comes in.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where its connection begins and, unless that is the listener's address, where it ends, one behind the other.
    pub(super) ends: Box<str>,
    /// Bytes of the first.
    pub(super) address_bytes: u16,
    pub is_unix: bool,
    pub origin: Origin,
    /// Its file descriptor.
    pub fd: i32,
    pub identity: PeerIdentity,
    /// The address of the listener, as the configuration has it.
    pub listener: Arc<str>,
}

impl Peer {
    /// A client of this listener whose connection leads from `address` to `local`, which are shorter than 64 KiB; it
    /// proves nothing.
    #[must_use]
    pub fn between(address: &str, local: &str, listener: Arc<str>) -> Self {
        let address_bytes = u16::try_from(address.len()).unwrap_or_default();
        let own_local = if *local == *listener { "" } else { local };
        debug_assert_eq!(usize::from(address_bytes), address.len(), "an address is no document");
        Self {
            ends: [address, own_local].concat().into(),
            address_bytes,
            is_unix: false,
            origin: Origin::Here,
            fd: -1,
            identity: PeerIdentity::Anonymous,
            listener,
        }
    }

    /// Where its connection begins, as CLIENT LIST shows it (redis networking.c `genClientAddrString`).
    #[must_use]
    pub fn address(&self) -> &str {
        self.ends.get(..usize::from(self.address_bytes)).unwrap_or_default()
    }

    /// Where its connection ends, in the same form.
    #[must_use]
    pub fn local(&self) -> &str {
        let own = self.ends.get(usize::from(self.address_bytes)..).unwrap_or_default();
        if own.is_empty() { &self.listener } else { own }
    }

    /// The system's user at the other end of a Unix socket.
    #[must_use]
    pub const fn uid(&self) -> Option<u32> {
        match self.identity {
            PeerIdentity::Uid(uid) => Some(uid),
            PeerIdentity::Anonymous | PeerIdentity::Certificate(_) => None,
        }
    }

    #[must_use]
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        match &self.identity {
            PeerIdentity::Certificate(certificate) => Some(certificate),
            PeerIdentity::Anonymous | PeerIdentity::Uid(_) => None,
        }
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::between("127.0.0.1:0", "127.0.0.1:0", Arc::from(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_connection_is_kept_where_it_is_not_the_address_of_the_listener() {
        for (local, bytes) in [("127.0.0.1:6379", 11), ("10.0.0.1:6379", 24)] {
            let peer = Peer::between("127.0.0.2:1", local, "127.0.0.1:6379".into());
            assert_eq!((peer.address(), peer.local()), ("127.0.0.2:1", local));
            assert_eq!(peer.ends.len(), bytes);
        }
    }

    #[test]
    fn certificate_is_called_by_its_uri_or_its_first_name() {
        let (uri, dns) = (San::Uri("spiffe://a/b".into()), San::Dns("x".into()));
        for (names, name) in [
            (vec![dns.clone(), uri], "spiffe://a/b"),
            (vec![dns, San::CommonName("y".into())], "dns:x"),
            (vec![San::CommonName("y".into())], "cn:y"),
            (vec![], "sha256:00"),
        ] {
            assert_eq!(&*PeerCertificate::new(names, "00").name, name);
        }
    }
}
