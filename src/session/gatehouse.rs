//! Which gates a client meets: those that it shares, and its own, which are kept when it disconnects.
//!
//! A limit per client would be none if a new connection brought a new bucket. So what a connection has used of
//! its own gates stays behind when it ends, and the next connection of the same peer takes it over. As many
//! connections at once still have as many gates.
//!
//! Owns: [`Gates`], [`Gatehouse`], which peers are one. Never knows: commands, what becomes of those who may
//! not pass.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::gates::Gate;
use super::roster::{Origin, Peer};
use super::wrong_logins::WrongLogins;
use crate::policy::{Limit, Policy};

/// Gates of ended connections that are kept for each listener and policy. One that is refilled is not kept.
const KEPT_MAX: usize = 1024;

/// What is used of a policy's limits, as one client meets them: one gate for each limit, its own or
/// one that it shares.
#[derive(Debug, Default)]
pub struct Gates {
    all: Box<[Rc<Gate>]>,
    logins: Option<Rc<WrongLogins>>,
    /// Where its own gates are kept when it ends.
    home: Option<Home>,
}

#[derive(Debug)]
struct Home {
    house: Rc<House>,
    policy: Weak<Policy>,
    client: Client,
}

/// The gates that the clients of one listener share, and those kept of its clients, by policy.
#[derive(Debug, Default)]
pub struct Gatehouse(Rc<House>);

#[derive(Debug, Default)]
struct House {
    known: RefCell<Vec<Known>>,
    logins: Rc<WrongLogins>,
    /// When a client came last.
    last: Cell<Option<Instant>>,
}

/// The gates of one policy.
#[derive(Debug)]
struct Known {
    policy: Weak<Policy>,
    shared: Box<[Rc<Gate>]>,
    kept: HashMap<Client, Vec<Box<[Rc<Gate>]>>>,
    kept_count: usize,
}

/// A peer, as limits tell one from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Uid(u32),
    At(Origin),
}

impl Client {
    fn of(peer: &Peer) -> Self {
        peer.uid.map_or(Self::At(peer.origin), Self::Uid)
    }
}

impl Gates {
    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Gate>> {
        self.all.iter()
    }

    /// A login was wrong; when that may be answered.
    pub(super) fn note_wrong_login(&self, now: Instant) -> Instant {
        self.logins.as_ref().map_or(now, |logins| logins.answer_at(now))
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.house.keep(&home, std::mem::take(&mut self.all));
        }
    }
}

impl Gatehouse {
    /// For one client with this policy.
    #[must_use]
    pub fn gates(&self, policy: &Arc<Policy>, peer: &Peer, now: Instant) -> Gates {
        let (house, limits) = (&self.0, policy.limits());
        let logins = Some(Rc::clone(&house.logins));
        if limits.is_empty() {
            return Gates { all: Box::default(), logins, home: None };
        }
        house.last.set(Some(now));
        let mut known = house.known.borrow_mut();
        // A policy that is no longer in force keeps its address until here.
        let own = |known: &Known| known.policy.as_ptr() == Arc::as_ptr(policy);
        let at = known.iter().position(own).unwrap_or_else(|| {
            known.retain(|known| known.policy.strong_count() > 0);
            let shared = limits.iter().map(|limit| Gate::new(limit, now)).collect();
            let (policy, kept) = (Arc::downgrade(policy), HashMap::new());
            known.push(Known { policy, shared, kept, kept_count: 0 });
            known.len() - 1
        });
        let Some(known) = known.get_mut(at) else {
            return Gates { all: Box::default(), logins, home: None };
        };
        if !limits.iter().any(|limit| limit.per_client) {
            return Gates { all: known.shared.clone(), logins, home: None };
        }
        let client = Client::of(peer);
        let gate = |(limit, gate): (&Limit, &Rc<Gate>)| {
            if limit.per_client { Gate::new(limit, now) } else { Rc::clone(gate) }
        };
        let all = known.take(client, now);
        let all = all.unwrap_or_else(|| limits.iter().zip(&known.shared).map(gate).collect());
        let (house, policy) = (Rc::clone(house), Weak::clone(&known.policy));
        Gates { all, logins, home: Some(Home { house, policy, client }) }
    }
}

impl House {
    fn keep(&self, home: &Home, gates: Box<[Rc<Gate>]>) {
        if !gates.iter().any(|gate| gate.is_own_and_used(None)) {
            return;
        }
        let mut known = self.known.borrow_mut();
        let of_it = known.iter_mut().find(|known| known.policy.ptr_eq(&home.policy));
        if let Some(known) = of_it.filter(|known| known.policy.strong_count() > 0) {
            known.keep(home.client, gates, self.last.get());
        }
    }
}

impl Known {
    /// What a connection of this client has left behind, unless that is refilled.
    fn take(&mut self, client: Client, now: Instant) -> Option<Box<[Rc<Gate>]>> {
        let kept = self.kept.get_mut(&client)?;
        let mut found = None;
        while found.is_none()
            && let Some(gates) = kept.pop()
        {
            self.kept_count -= 1;
            found = Some(gates).filter(|gates| is_used(gates, Some(now)));
        }
        if kept.is_empty() {
            self.kept.remove(&client);
        }
        found
    }

    fn keep(&mut self, client: Client, gates: Box<[Rc<Gate>]>, now: Option<Instant>) {
        if self.kept_count >= KEPT_MAX {
            self.kept.retain(|_, kept| {
                kept.retain(|gates| is_used(gates, now));
                !kept.is_empty()
            });
            self.kept_count = self.kept.values().map(Vec::len).sum();
        }
        if self.kept_count >= KEPT_MAX {
            // Whoever has most of them loses the oldest.
            if let Some(kept) = self.kept.values_mut().max_by_key(|kept| kept.len()) {
                kept.remove(0);
                self.kept_count -= 1;
            }
            self.kept.retain(|_, kept| !kept.is_empty());
        }
        self.kept.entry(client).or_default().push(gates);
        self.kept_count += 1;
    }
}

fn is_used(gates: &[Rc<Gate>], now: Option<Instant>) -> bool {
    gates.iter().any(|gate| gate.is_own_and_used(now))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]
    use std::time::Duration;

    use super::*;
    use crate::base::clock;
    use crate::config::{LimitRule, Per, Rate, Rules};
    use crate::policy::compile;

    fn policy(per: Per) -> Arc<Policy> {
        let rate = Rate { count: 1, period: Duration::from_secs(10), burst: 2 };
        let (commands, rate) = ("@all".to_owned(), Some(rate));
        let limit = LimitRule { commands, rate, concurrency: Some(2), per, ..LimitRule::default() };
        Arc::new(compile(&Rules { limits: vec![limit], ..Rules::default() }).unwrap())
    }

    fn peer(number: u8, uid: Option<u32>) -> Peer {
        Peer { origin: Origin::Network([number; 8]), uid, ..Peer::default() }
    }

    fn tokens(gates: &Gates, now: Instant) -> usize {
        let gate = &gates.all[0];
        (0..5)
            .take_while(|_| {
                let has = gate.wait_us(now) == 0;
                if has {
                    gate.take_token(now);
                }
                has
            })
            .count()
    }

    #[test]
    fn gates_are_shared_or_a_client_s_own() {
        let (now, peer) = (clock::now(), Peer::default());
        for (per, shared) in [(Per::Policy, true), (Per::Client, false)] {
            let (house, policy) = (Gatehouse::default(), policy(per));
            let (one, two) = (house.gates(&policy, &peer, now), house.gates(&policy, &peer, now));
            assert_eq!(Rc::ptr_eq(&one.all[0], &two.all[0]), shared);
        }
        let house = Gatehouse::default();
        for per in [Per::Policy, Per::Client] {
            for _ in 0..10 {
                let gates = house.gates(&policy(per), &peer, now);
                assert!(gates.all[0].enter(2).is_some() && tokens(&gates, now) == 2);
            }
            assert_eq!(house.0.known.borrow().len(), 1, "policies not in force are forgotten");
        }
    }

    #[test]
    fn connection_takes_over_what_an_ended_one_of_its_peer_has_used() {
        let (now, later) = (clock::now(), clock::now() + Duration::from_secs(20));
        let (house, policy) = (Gatehouse::default(), policy(Per::Client));
        let gates = |peer: &Peer, now| house.gates(&policy, peer, now);
        for (one, other, is_same) in [
            (peer(1, None), peer(1, None), true),
            (peer(2, None), peer(3, None), false),
            (peer(1, Some(1)), peer(2, Some(1)), true),
            (peer(1, Some(2)), peer(1, Some(3)), false),
            (Peer::default(), Peer::default(), true),
            (Peer::default(), peer(1, None), false),
        ] {
            let first = gates(&one, now);
            assert_eq!(tokens(&first, now), 2, "{one:?}");
            drop(first);
            assert_eq!(tokens(&gates(&other, now), now), if is_same { 0 } else { 2 }, "{one:?}");
            // Refilled, it is not kept.
            assert_eq!(tokens(&gates(&one, later), later), 2);
            house.0.known.borrow_mut().clear();
        }
    }

    #[test]
    fn connections_at_once_have_as_many_gates_and_no_more_by_connecting_again() {
        let (now, peer) = (clock::now(), Peer::default());
        let (house, policy) = (Gatehouse::default(), policy(Per::Client));
        let both = || (house.gates(&policy, &peer, now), house.gates(&policy, &peer, now));
        let served = |pair: &(Gates, Gates)| tokens(&pair.0, now) + tokens(&pair.1, now);
        assert_eq!(served(&both()), 4);
        for _ in 0..5 {
            assert_eq!(served(&both()), 0);
        }
        // One that has used nothing leaves nothing behind.
        let other = Peer { uid: Some(7), ..Peer::default() };
        drop(house.gates(&policy, &other, now));
        assert_eq!(house.0.known.borrow()[0].kept_count, 2);
    }

    #[test]
    fn slot_of_an_ended_connection_is_taken_over_until_it_is_free() {
        let (now, peer) = (clock::now(), Peer::default());
        let (house, policy) = (Gatehouse::default(), policy(Per::Client));
        let gates = house.gates(&policy, &peer, now);
        let slots = (gates.all[0].enter(2).unwrap(), gates.all[0].enter(2).unwrap());
        drop(gates);
        let gates = house.gates(&policy, &peer, now);
        assert!(gates.all[0].enter(2).is_none());
        drop(slots);
        assert!(gates.all[0].enter(2).is_some());
        drop(gates);
        assert!(house.0.known.borrow()[0].kept.is_empty(), "nothing is kept of what is free");
    }

    #[test]
    fn what_is_kept_is_bounded_and_whoever_has_most_loses_first() {
        let now = clock::now();
        let (house, policy) = (Gatehouse::default(), policy(Per::Client));
        let (many, few) = (Peer::default(), Peer { uid: Some(7), ..Peer::default() });
        let used = |peer: &Peer, at: Instant| {
            let gates = house.gates(&policy, peer, at);
            gates.all[0].take_token(at);
            gates
        };
        drop(used(&few, now));
        let all: Vec<_> = (0..KEPT_MAX + 50).map(|_| used(&many, now)).collect();
        drop(all);
        let count = || house.0.known.borrow()[0].kept.values().map(Vec::len).sum::<usize>();
        assert_eq!((count(), house.0.known.borrow()[0].kept_count), (KEPT_MAX, KEPT_MAX));
        assert_eq!(tokens(&house.gates(&policy, &few, now), now), 1, "the other one's is kept");
        // Those that are refilled give room.
        let later = now + Duration::from_secs(60);
        let all: Vec<_> = (0..3).map(|_| used(&few, later)).collect();
        drop(all);
        assert!(count() <= 4, "{}", count());
    }
}
