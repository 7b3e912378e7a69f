//! When the program that prints the password is run again: ahead of the end of its password, after a failure,
//! and when the server has refused what it printed.
//!
//! Owns: [`Refresh`]. Never knows: clocks, programs, passwords.

use std::time::{Duration, Instant, SystemTime};

use crate::base::backoff::Backoff;
use crate::base::limits;

/// Of the time for which a password holds, the parts after which it is replaced, in 1/1000: between them by
/// chance, so that many proxies do not ask together.
const EARLIEST: u32 = 700;
const LATEST: u32 = 800;
/// Pauses after failures.
const RETRY: Backoff = Backoff {
    initial: limits::PASSWORD_RETRY_MIN,
    multiplier: 2.0,
    cap: limits::PASSWORD_RETRY_MAX,
};

/// A time by both clocks; it has come when one of them has reached it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    at: Instant,
    wall: SystemTime,
}

/// The plan for one program.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    plan: Option<Plan>,
    failures: u32,
    /// When the program was last run …
    ran: Option<Instant>,
    /// … and how many runs in a row have brought nothing new.
    vain: u32,
}

impl Refresh {
    /// The program is run.
    pub(super) const fn handle_run(&mut self, now: Instant) {
        self.ran = Some(now);
    }

    /// The program has printed a password that holds for `left`, or for an unknown time: then the next run follows
    /// after `interval`. `new`: the password is another than before.
    pub(super) fn handle_password(
        &mut self,
        left: Option<Duration>,
        interval: Duration,
        new: bool,
        now: (Instant, SystemTime),
        chance: u64,
    ) {
        self.failures = 0;
        self.vain = if new { 0 } else { self.vain.saturating_add(1) };
        let span = u64::from(LATEST - EARLIEST);
        let part = EARLIEST + u32::try_from(chance % (span + 1)).unwrap_or(0);
        debug_assert!((EARLIEST..=LATEST).contains(&part), "it is replaced at another time");
        let wait =
            left.map_or(interval, |left| left / 1000 * part).max(limits::PASSWORD_REFRESH_MIN);
        self.plan(wait, now);
    }

    /// The run has failed.
    pub(super) fn handle_failure(&mut self, now: (Instant, SystemTime), chance: u64) {
        self.plan(RETRY.delay(self.failures, chance).max(limits::PASSWORD_REFRESH_MIN), now);
        self.failures = self.failures.saturating_add(1);
        self.vain = self.vain.saturating_add(1);
    }

    fn plan(&mut self, wait: Duration, (now, wall): (Instant, SystemTime)) {
        debug_assert!(wait >= limits::PASSWORD_REFRESH_MIN, "the program would run all the time");
        self.plan = wall.checked_add(wait).map(|wall| Plan { at: now + wait, wall });
    }

    /// Whether the program is to be run again.
    pub(super) fn is_due(&self, now: Instant, wall: SystemTime) -> bool {
        self.plan.is_some_and(|plan| now >= plan.at || wall >= plan.wall)
    }

    /// When to look at [`Self::is_due`] again.
    pub(super) fn look_at(&self, now: Instant, wall: SystemTime) -> Option<Instant> {
        let Plan { at, wall: planned } = self.plan?;
        let left = planned.duration_since(wall).unwrap_or_default();
        Some(at.min(now + left.min(limits::PASSWORD_CHECK_INTERVAL)))
    }

    /// Whether the program may be run because the server has refused its password.
    pub(super) fn may_run_after_refusal(&self, now: Instant) -> bool {
        let pause = limits::PASSWORD_REFUSED_RETRY_MIN
            .saturating_mul(1 << self.vain.min(10))
            .min(limits::PASSWORD_REFUSED_RETRY_MAX);
        self.ran.is_none_or(|ran| now.saturating_duration_since(ran) >= pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::entropy::Entropy;

    const INTERVAL: Duration = Duration::from_secs(900);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn password_is_replaced_ahead_of_its_end_by_chance() {
        let (now, wall) = (clock::now(), clock::wall());
        let mut entropy = Entropy::from_seed(7);
        let mut waits = Vec::new();
        for _ in 0..1000 {
            let mut refresh = Refresh::default();
            let left = Some(seconds(900));
            refresh.handle_password(left, INTERVAL, true, (now, wall), entropy.next_u64());
            let wait = (1..=900).find(|&at| refresh.is_due(now + seconds(at), wall)).unwrap();
            assert!((630..=720).contains(&wait), "{wait}");
            waits.push(wait);
        }
        let early = waits.iter().filter(|wait| **wait < 675).count();
        assert!((300..700).contains(&early), "{early} in the first half");
    }

    #[test]
    fn password_of_unknown_end_is_asked_for_at_the_interval() {
        let (now, wall) = (clock::now(), clock::wall());
        let mut refresh = Refresh::default();
        assert_eq!(refresh.look_at(now, wall), None, "nothing was printed yet");
        refresh.handle_password(None, INTERVAL, true, (now, wall), 0);
        assert!(!refresh.is_due(now + INTERVAL - seconds(1), wall));
        assert!(refresh.is_due(now + INTERVAL, wall));
        refresh.handle_password(Some(Duration::ZERO), INTERVAL, true, (now, wall), 0);
        assert!(
            !refresh.is_due(now, wall) && refresh.is_due(now + limits::PASSWORD_REFRESH_MIN, wall)
        );
    }

    #[test]
    fn clock_that_is_set_and_sleep_of_the_system_are_noticed() {
        let (now, wall) = (clock::now(), clock::wall());
        let mut refresh = Refresh::default();
        refresh.handle_password(Some(seconds(3600)), INTERVAL, true, (now, wall), 0);
        assert_eq!(refresh.look_at(now, wall), Some(now + limits::PASSWORD_CHECK_INTERVAL));
        // Asleep, the monotonic clock does not move.
        assert!(refresh.is_due(now + seconds(1), wall + seconds(3000)));
        let set_back = wall - seconds(100_000);
        assert!(!refresh.is_due(now + seconds(2000), set_back));
        assert!(refresh.is_due(now + seconds(2881), set_back));
        assert_eq!(refresh.look_at(now + seconds(9), wall + seconds(9000)), Some(now + seconds(9)));
    }

    #[test]
    fn failures_are_retried_ever_less_often() {
        let (mut now, wall) = (clock::now(), clock::wall());
        let start = now;
        let mut refresh = Refresh::default();
        let mut count = 0;
        while now < start + seconds(3600) {
            refresh.handle_failure((now, wall), u64::MAX / 2);
            let next = refresh.look_at(now, wall).unwrap();
            assert!(
                next - now >= limits::PASSWORD_REFRESH_MIN && next - now <= seconds(30),
                "{:?}",
                next - now
            );
            (now, count) = (next, count + 1);
        }
        assert!((120..300).contains(&count), "{count} runs in an hour");
        refresh.handle_password(Some(seconds(900)), INTERVAL, true, (now, wall), 0);
        refresh.handle_failure((now, wall), u64::MAX);
        assert!(refresh.look_at(now, wall).unwrap() <= now + seconds(2), "it begins anew");
    }

    #[test]
    fn refusals_run_the_program_at_once_and_then_ever_less_often() {
        let (mut now, wall) = (clock::now(), clock::wall());
        let mut refresh = Refresh::default();
        let mut runs = 0;
        for _ in 0..600 {
            if refresh.may_run_after_refusal(now) {
                refresh.handle_run(now);
                refresh.handle_password(None, INTERVAL, false, (now, wall), 0);
                runs += 1;
            }
            now += Duration::from_millis(100);
        }
        assert!((5..8).contains(&runs), "{runs} runs in a minute");
        refresh.handle_password(None, INTERVAL, true, (now, wall), 0);
        assert!(refresh.may_run_after_refusal(now + limits::PASSWORD_REFUSED_RETRY_MIN));
    }
}
