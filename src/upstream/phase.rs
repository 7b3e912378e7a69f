//! The steps on the way to a connection, in their order.
//!
//! Owns: [`Phase`], [`Reached`], [`Spent`]. Never knows: what is done in a step.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

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
#[derive(Clone, Copy)]
pub(super) struct Reached {
    phase: Phase,
    since: Instant,
    spent: Spent,
    /// Where it is connected.
    pub(super) peer: Option<SocketAddr>,
}

/// The time that an attempt took, by step, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent([u32; 4]);

impl Spent {
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        let micros = self.0.get(phase as usize).copied().unwrap_or_default();
        Duration::from_micros(u64::from(micros))
    }

    fn add(&mut self, phase: Phase, time: Duration) {
        if let Some(sum) = self.0.get_mut(phase as usize) {
            *sum = sum.saturating_add(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        }
    }
}

impl Reached {
    pub(super) fn begin(now: Instant) -> Self {
        Self { phase: Phase::Resolve, since: now, spent: Spent::default(), peer: None }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// The next step begins.
    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        debug_assert!(phase >= self.phase, "no step comes back");
        let counted = self.spent.of(phase);
        debug_assert!(phase == self.phase || counted.is_zero(), "its time is counted before");
        debug_assert!(now >= self.since, "time passes");
        self.spent.add(self.phase, now.saturating_duration_since(self.since));
        (self.phase, self.since) = (phase, now);
    }

    /// The attempt has ended.
    pub(super) fn end(&mut self, now: Instant) -> Spent {
        self.enter(self.phase, now);
        debug_assert!(self.since == now, "time is counted that has not passed");
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_belongs_to_the_step_in_which_it_passed() {
        let start = crate::base::clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut reached = Reached::begin(start);
        reached.enter(Phase::Connect, at(3));
        reached.enter(Phase::Login, at(10));
        let spent = reached.end(at(15));
        let all = [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Login];
        assert_eq!(all.map(|phase| spent.of(phase).as_millis()), [3, 7, 0, 5]);
        assert_eq!(reached.phase(), Phase::Login);
    }
}
