//! Certificates that connected clients have shown: which of these connections are to end, and why.
//!
//! Owns: [`Certificates`], [`Shown`]. Never knows: sockets, clocks, how a chain is judged.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use crate::telemetry::ClientDisconnect;

/// The certificate of a client, and those that it has sent with it.
pub(super) type Chain = Arc<[CertificateDer<'static>]>;

/// What one or more clients of a listener have shown.
#[derive(Debug)]
pub(super) struct Shown<J> {
    /// The address of the listener.
    pub(super) listener: Arc<str>,
    pub(super) chain: Chain,
    pub(super) not_after: SystemTime,
    /// What decides whether the chain is accepted now.
    pub(super) judge: J,
    /// Why the connections of those that have shown it are to end.
    ends: Cell<Option<ClientDisconnect>>,
}

impl<J> Shown<J> {
    pub(super) const fn new(
        listener: Arc<str>,
        chain: Chain,
        not_after: SystemTime,
        judge: J,
    ) -> Self {
        Self { listener, chain, not_after, judge, ends: Cell::new(None) }
    }

    fn key(&self) -> (Arc<str>, Chain) {
        (Arc::clone(&self.listener), Arc::clone(&self.chain))
    }
}

/// Each chain is kept once, however many clients have shown it.
#[derive(Debug)]
pub(super) struct Certificates<J> {
    clients: BTreeMap<u64, Rc<Shown<J>>>,
    chains: HashMap<(Arc<str>, Chain), Rc<Shown<J>>>,
    /// Whether any connection is to end.
    any_ends: bool,
}

impl<J> Default for Certificates<J> {
    fn default() -> Self {
        Self { clients: BTreeMap::new(), chains: HashMap::new(), any_ends: false }
    }
}

impl<J> Certificates<J> {
    /// A client has shown it, and it was accepted.
    pub(super) fn enter(&mut self, client: u64, shown: Shown<J>) {
        let key = shown.key();
        let known = self.chains.get(&key).filter(|known| known.ends.get().is_none());
        let shown = known.map_or_else(|| Rc::new(shown), Rc::clone);
        self.chains.insert(key, Rc::clone(&shown));
        self.clients.insert(client, shown);
    }

    /// A client has disconnected.
    pub(super) fn remove(&mut self, client: u64) {
        let Some(shown) = self.clients.remove(&client) else { return };
        let key = shown.key();
        // The last two: this one, and that of the map.
        if Rc::strong_count(&shown) == 2
            && self.chains.get(&key).is_some_and(|known| Rc::ptr_eq(known, &shown))
        {
            self.chains.remove(&key);
        }
        self.any_ends &= !self.clients.is_empty();
    }

    /// Every chain, once for each listener.
    pub(super) fn all(&self) -> impl Iterator<Item = &Shown<J>> {
        self.chains.values().map(|shown| &**shown)
    }

    /// The chain is not accepted any more by a listener; returns how many clients have shown it.
    pub(super) fn refuse(&mut self, listener: &Arc<str>, chain: &Chain) -> usize {
        let Some(shown) = self.chains.get(&(Arc::clone(listener), Arc::clone(chain))) else {
            return 0;
        };
        shown.ends.set(Some(ClientDisconnect::CertificateRefused));
        self.any_ends = true;
        shown_by(shown)
    }

    /// Finds what has ended at `now`; returns how many clients have shown it.
    pub(super) fn note_time(&mut self, now: SystemTime) -> usize {
        let mut count = 0;
        for shown in self.chains.values() {
            if shown.not_after < now && shown.ends.get().is_none() {
                shown.ends.set(Some(ClientDisconnect::CertificateExpired));
                count += shown_by(shown);
            }
        }
        self.any_ends |= count > 0;
        count
    }

    /// The clients whose connections are to end.
    pub(super) fn ending(&self) -> Vec<(u64, ClientDisconnect)> {
        if !self.any_ends {
            return Vec::new();
        }
        let ending = |(client, shown): (&u64, &Rc<Shown<J>>)| Some((*client, shown.ends.get()?));
        self.clients.iter().filter_map(ending).collect()
    }
}

/// How many clients have shown what `chains` has: each of them has it, too.
fn shown_by<J>(shown: &Rc<Shown<J>>) -> usize {
    Rc::strong_count(shown) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(listener: &str, chain: &[u8], seconds: u64) -> Shown<()> {
        let chain: Chain = Arc::new([CertificateDer::from(chain.to_vec())]);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Shown::new(listener.into(), chain, end, ())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn connections_end_after_their_certificates_and_not_before() {
        let mut all = Certificates::default();
        all.enter(1, shown("a", b"x", 10));
        all.enter(2, shown("a", b"x", 10));
        all.enter(3, shown("b", b"y", 20));
        assert_eq!(all.all().count(), 2);
        assert_eq!(all.note_time(at(10)), 0);
        assert!(all.ending().is_empty());
        assert_eq!(all.note_time(at(11)), 2);
        assert_eq!(all.note_time(at(12)), 0, "they are known");
        let why = ClientDisconnect::CertificateExpired;
        assert_eq!(all.ending(), [(1, why), (2, why)]);
        all.remove(1);
        all.remove(2);
        assert!(all.ending().is_empty() && all.all().count() == 1);
    }

    #[test]
    fn refused_chain_ends_those_of_its_listener_and_none_that_come_later() {
        let mut all = Certificates::default();
        all.enter(1, shown("a", b"x", 10));
        all.enter(2, shown("b", b"x", 10));
        let own = shown("a", b"x", 10);
        assert_eq!(all.refuse(&own.listener, &own.chain), 1);
        let ending = [(1, ClientDisconnect::CertificateRefused)];
        assert_eq!(all.ending(), ending);
        // The list was wrong, and another one is in force.
        all.enter(3, shown("a", b"x", 10));
        assert_eq!(all.ending(), ending);
        for client in [1, 3, 2] {
            all.remove(client);
        }
        assert!(all.all().next().is_none() && all.clients.is_empty() && !all.any_ends);
    }
}
