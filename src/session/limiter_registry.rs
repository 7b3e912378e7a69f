//! The limiters that apply to a client: those that it shares, and its own, which are kept when it disconnects.
//!
//! A limit per client would be none if a new connection brought a new bucket. So what a connection has used of
//! its own limiters is kept when it ends, and the next connection of the same peer takes it over. As many
//! connections at once still have as many limiters.
//!
//! Owns: [`Limiters`], [`LimiterRegistry`], which peers are one. Never knows: commands, what becomes of
//! requests that may not pass.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::limiter::Limiter;
use super::peer::{Origin, Peer, PeerIdentity};
use super::wrong_logins::WrongLogins;
use crate::base::limits;
use crate::policy::{Limit, Policy};

/// What is used of a policy's limits, as one client meets them: one limiter for each limit, its own or
/// one that it shares.
#[derive(Debug, Default)]
pub struct Limiters {
    /// The limiters of a policy that has limits.
    applied: Option<Box<Applied>>,
    limiter_registry: Option<LimiterRegistry>,
}

#[derive(Debug)]
struct Applied {
    all: Box<[Rc<Limiter>]>,
    /// Where its own limiters are kept when it ends.
    home: Option<Home>,
}

#[derive(Debug)]
struct Home {
    policy: Weak<Policy>,
    client: Client,
}

/// The limiters that the clients of one listener share, and those kept of its clients, by policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimiterRegistry(Rc<Registered>);

#[derive(Debug, Default)]
struct Registered {
    known: RefCell<Vec<Known>>,
    logins: Cell<WrongLogins>,
    /// When a client came last.
    last: Cell<Option<Instant>>,
}

/// The limiters of one policy.
#[derive(Debug)]
struct Known {
    policy: Weak<Policy>,
    shared: Box<[Rc<Limiter>]>,
    kept: HashMap<Client, Vec<Box<[Rc<Limiter>]>>>,
    kept_count: usize,
}

/// A peer, as limits distinguish peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Uid(u32),
    Certificate(Box<str>),
    At(Origin),
}

impl Client {
    fn of(peer: &Peer) -> Self {
        match &peer.identity {
            PeerIdentity::Anonymous => Self::At(peer.origin),
            PeerIdentity::Uid(uid) => Self::Uid(*uid),
            PeerIdentity::Certificate(certificate) => Self::Certificate(certificate.name.clone()),
        }
    }
}

impl Limiters {
    pub(super) const fn is_empty(&self) -> bool {
        self.applied.is_none()
    }

    fn all(&self) -> &[Rc<Limiter>] {
        self.applied.as_ref().map_or(&[], |applied| &applied.all)
    }

    fn logins(&self) -> Option<&Cell<WrongLogins>> {
        self.limiter_registry.as_ref().map(|limiter_registry| &limiter_registry.0.logins)
    }

    /// The limiters of the same client with another policy.
    #[must_use]
    pub(crate) fn of_policy(&self, policy: &Arc<Policy>, peer: &Peer, now: Instant) -> Self {
        let limiter_registry = self.limiter_registry.as_ref();
        limiter_registry.map_or_else(Self::default, |known| known.limiters(policy, peer, now))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Limiter>> {
        self.all().iter()
    }

    /// When a login may be sent whose outcome the server decides.
    pub(super) fn next_login_at(&self, now: Instant) -> Instant {
        self.logins().map_or(now, |logins| logins.get().next_at(now))
    }

    /// A login was wrong; when that may be answered.
    pub(crate) fn note_wrong_login(&self, now: Instant) -> Instant {
        self.logins().map_or(now, |logins| {
            let mut known = logins.get();
            let at = known.answer_at(now);
            logins.set(known);
            at
        })
    }
}

impl Drop for Limiters {
    fn drop(&mut self) {
        if let Some(Applied { all, home: Some(home) }) = self.applied.take().map(|applied| *applied)
            && let Some(LimiterRegistry(registered)) = &self.limiter_registry
        {
            registered.keep(&home, all);
        }
    }
}

impl LimiterRegistry {
    /// For one client with this policy.
    #[must_use]
    pub(crate) fn limiters(&self, policy: &Arc<Policy>, peer: &Peer, now: Instant) -> Limiters {
        let limits = policy.limits();
        let applied = if limits.is_empty() { None } else { self.apply(policy, peer, now) };
        Limiters { applied: applied.map(Box::new), limiter_registry: Some(self.clone()) }
    }

    fn apply(&self, policy: &Arc<Policy>, peer: &Peer, now: Instant) -> Option<Applied> {
        let (limiter_registry, limits) = (&self.0, policy.limits());
        limiter_registry.last.set(Some(now));
        let mut known = limiter_registry.known.borrow_mut();
        // A policy that is no longer in force keeps its address until here.
        let own = |known: &Known| known.policy.as_ptr() == Arc::as_ptr(policy);
        let at = known.iter().position(own).unwrap_or_else(|| {
            known.retain(|known| known.policy.strong_count() > 0);
            let shared = limits.iter().map(|limit| Limiter::new(limit, now)).collect();
            let (policy, kept) = (Arc::downgrade(policy), HashMap::new());
            known.push(Known { policy, shared, kept, kept_count: 0 });
            known.len() - 1
        });
        let known = known.get_mut(at)?;
        if !limits.iter().any(|limit| limit.per_client) {
            return Some(Applied { all: known.shared.clone(), home: None });
        }
        let client = Client::of(peer);
        let limiter = |(limit, limiter): (&Limit, &Rc<Limiter>)| {
            if limit.per_client { Limiter::new(limit, now) } else { Rc::clone(limiter) }
        };
        let all = known.take(&client, now);
        let all = all.unwrap_or_else(|| limits.iter().zip(&known.shared).map(limiter).collect());
        debug_assert_eq!(all.len(), limits.len(), "limits and limiters are of two policies");
        let home = Some(Home { policy: Weak::clone(&known.policy), client });
        Some(Applied { all, home })
    }
}

impl Registered {
    fn keep(&self, home: &Home, limiters: Box<[Rc<Limiter>]>) {
        if !limiters.iter().any(|limiter| limiter.is_own_and_used(None)) {
            return;
        }
        let mut known = self.known.borrow_mut();
        let of_it = known.iter_mut().find(|known| known.policy.ptr_eq(&home.policy));
        if let Some(known) = of_it.filter(|known| known.policy.strong_count() > 0) {
            known.keep(&home.client, limiters, self.last.get());
        }
    }
}

impl Known {
    /// The limiters of an earlier connection of this client, unless they are refilled.
    fn take(&mut self, client: &Client, now: Instant) -> Option<Box<[Rc<Limiter>]>> {
        let kept = self.kept.get_mut(client)?;
        let mut found = None;
        while found.is_none()
            && let Some(limiters) = kept.pop()
        {
            self.kept_count -= 1;
            found = Some(limiters).filter(|limiters| is_used(limiters, Some(now)));
        }
        if kept.is_empty() {
            self.kept.remove(client);
        }
        self.check_invariants();
        found
    }

    fn check_invariants(&self) {
        debug_assert!(self.kept_count <= limits::LIMITERS_KEPT_MAX, "too many are kept");
        let counted = || self.kept.values().map(Vec::len).sum::<usize>();
        debug_assert_eq!(self.kept_count, counted(), "those kept are miscounted");
        debug_assert!(self.kept.values().all(|kept| !kept.is_empty()), "a client keeps nothing");
    }

    fn keep(&mut self, client: &Client, limiters: Box<[Rc<Limiter>]>, now: Option<Instant>) {
        if self.kept_count >= limits::LIMITERS_KEPT_MAX {
            self.kept.retain(|_, kept| {
                kept.retain(|limiters| is_used(limiters, now));
                !kept.is_empty()
            });
            self.kept_count = self.kept.values().map(Vec::len).sum();
        }
        if self.kept_count >= limits::LIMITERS_KEPT_MAX {
            // The client with most of them loses the oldest.
            if let Some(kept) = self.kept.values_mut().max_by_key(|kept| kept.len()) {
                kept.remove(0);
                self.kept_count -= 1;
            }
            self.kept.retain(|_, kept| !kept.is_empty());
        }
        self.kept.entry(client.clone()).or_default().push(limiters);
        self.kept_count += 1;
        self.check_invariants();
    }
}

fn is_used(limiters: &[Rc<Limiter>], now: Option<Instant>) -> bool {
    limiters.iter().any(|limiter| limiter.is_own_and_used(now))
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
        let identity = uid.map_or(PeerIdentity::Anonymous, PeerIdentity::Uid);
        Peer { origin: Origin::Network([number; 8]), identity, ..Peer::default() }
    }

    fn tokens(limiters: &Limiters, now: Instant) -> usize {
        let limiter = &limiters.all()[0];
        (0..5)
            .take_while(|_| {
                let has = limiter.wait_us(now) == 0;
                if has {
                    limiter.take_token(now);
                }
                has
            })
            .count()
    }

    #[test]
    fn gates_are_shared_or_a_client_s_own() {
        let (now, peer) = (clock::now(), Peer::default());
        for (per, shared) in [(Per::Policy, true), (Per::Client, false)] {
            let (limiter_registry, policy) = (LimiterRegistry::default(), policy(per));
            let (one, two) = (
                limiter_registry.limiters(&policy, &peer, now),
                limiter_registry.limiters(&policy, &peer, now),
            );
            assert_eq!(Rc::ptr_eq(&one.all()[0], &two.all()[0]), shared);
        }
        let limiter_registry = LimiterRegistry::default();
        for per in [Per::Policy, Per::Client] {
            for _ in 0..10 {
                let limiters = limiter_registry.limiters(&policy(per), &peer, now);
                assert!(limiters.all()[0].enter(2).is_some() && tokens(&limiters, now) == 2);
            }
            assert_eq!(
                limiter_registry.0.known.borrow().len(),
                1,
                "policies not in force are forgotten"
            );
        }
    }

    #[test]
    fn connection_takes_over_what_an_ended_one_of_its_peer_has_used() {
        let (now, later) = (clock::now(), clock::now() + Duration::from_secs(20));
        let (limiter_registry, policy) = (LimiterRegistry::default(), policy(Per::Client));
        let limiters = |peer: &Peer, now| limiter_registry.limiters(&policy, peer, now);
        for (one, other, is_same) in [
            (peer(1, None), peer(1, None), true),
            (peer(2, None), peer(3, None), false),
            (peer(1, Some(1)), peer(2, Some(1)), true),
            (peer(1, Some(2)), peer(1, Some(3)), false),
            (Peer::default(), Peer::default(), true),
            (Peer::default(), peer(1, None), false),
        ] {
            let first = limiters(&one, now);
            assert_eq!(tokens(&first, now), 2, "{one:?}");
            drop(first);
            assert_eq!(tokens(&limiters(&other, now), now), if is_same { 0 } else { 2 }, "{one:?}");
            // Refilled, it is not kept.
            assert_eq!(tokens(&limiters(&one, later), later), 2);
            limiter_registry.0.known.borrow_mut().clear();
        }
    }

    #[test]
    fn connections_at_once_have_as_many_gates_and_no_more_by_connecting_again() {
        let (now, peer) = (clock::now(), Peer::default());
        let (limiter_registry, policy) = (LimiterRegistry::default(), policy(Per::Client));
        let both = || {
            (
                limiter_registry.limiters(&policy, &peer, now),
                limiter_registry.limiters(&policy, &peer, now),
            )
        };
        let served = |pair: &(Limiters, Limiters)| tokens(&pair.0, now) + tokens(&pair.1, now);
        assert_eq!(served(&both()), 4);
        for _ in 0..5 {
            assert_eq!(served(&both()), 0);
        }
        // One that has used nothing is not kept.
        let other = Peer { identity: PeerIdentity::Uid(7), ..Peer::default() };
        drop(limiter_registry.limiters(&policy, &other, now));
        assert_eq!(limiter_registry.0.known.borrow()[0].kept_count, 2);
    }

    #[test]
    fn slot_of_an_ended_connection_is_taken_over_until_it_is_free() {
        let (now, peer) = (clock::now(), Peer::default());
        let (limiter_registry, policy) = (LimiterRegistry::default(), policy(Per::Client));
        let limiters = limiter_registry.limiters(&policy, &peer, now);
        let slots = (limiters.all()[0].enter(2).unwrap(), limiters.all()[0].enter(2).unwrap());
        drop(limiters);
        let limiters = limiter_registry.limiters(&policy, &peer, now);
        assert!(limiters.all()[0].enter(2).is_none());
        drop(slots);
        assert!(limiters.all()[0].enter(2).is_some());
        drop(limiters);
        assert!(
            limiter_registry.0.known.borrow()[0].kept.is_empty(),
            "nothing is kept of what is free"
        );
    }

    #[test]
    fn kept_limiters_are_bounded_and_the_largest_holder_loses_first() {
        let now = clock::now();
        let (limiter_registry, policy) = (LimiterRegistry::default(), policy(Per::Client));
        let (many, few) =
            (Peer::default(), Peer { identity: PeerIdentity::Uid(7), ..Peer::default() });
        let used = |peer: &Peer, at: Instant| {
            let limiters = limiter_registry.limiters(&policy, peer, at);
            limiters.all()[0].take_token(at);
            limiters
        };
        drop(used(&few, now));
        let all: Vec<_> = (0..limits::LIMITERS_KEPT_MAX + 50).map(|_| used(&many, now)).collect();
        drop(all);
        let count =
            || limiter_registry.0.known.borrow()[0].kept.values().map(Vec::len).sum::<usize>();
        assert_eq!(
            (count(), limiter_registry.0.known.borrow()[0].kept_count),
            (limits::LIMITERS_KEPT_MAX, limits::LIMITERS_KEPT_MAX)
        );
        assert_eq!(
            tokens(&limiter_registry.limiters(&policy, &few, now), now),
            1,
            "the other one's is kept"
        );
        // Those that are refilled give room.
        let later = now + Duration::from_secs(60);
        let all: Vec<_> = (0..3).map(|_| used(&few, later)).collect();
        drop(all);
        assert!(count() <= 4, "{}", count());
    }
}
