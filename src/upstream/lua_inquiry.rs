//! When a server is asked about its Lua: at once where nothing is known of it, again after a while where scripts
//! are refused.
//!
//! Owns: [`Inquiry`]. Never knows: clocks, connections, what is asked.

use std::time::Instant;

use crate::base::limits;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The server is asked now.
    Ask,
    /// The server is asked at this time, or as soon as nothing is known of it; `None`: only then.
    Wait(Option<Instant>),
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Scripts can be guarded there.
    Guards,
    /// They cannot.
    Refuses,
    /// There is no answer, or one after which the question is repeated.
    Nothing,
    /// Whatever the answer, a connection to the server was lost meanwhile: it may be another one.
    Outdated,
}

/// The schedule for one server.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// Questions in a row without an answer.
    failures: u32,
    /// Scripts are refused, or there was no answer: the server is asked again then.
    again_at: Option<Instant>,
}

impl Inquiry {
    /// What to do now. `due`: nothing is known of the server. Being woken for no reason changes nothing.
    pub(super) fn poll(&self, due: bool, now: Instant) -> Turn {
        self.check_invariants();
        let latest = now + limits::LUA_REFUSED_RETRY_INTERVAL;
        debug_assert!(self.again_at.is_none_or(|at| at <= latest), "it is asked too late");
        let retries = self.failures > 0;
        match self.again_at {
            None if due => Turn::Ask,
            None => Turn::Wait(None),
            // Another server is asked at once; one that has just not answered is not.
            Some(_) if due && !retries => Turn::Ask,
            Some(at) if now >= at => Turn::Ask,
            Some(at) => Turn::Wait(Some(at)),
        }
    }

    /// What holds whenever the server is, or was asked.
    fn check_invariants(&self) {
        let few = self.failures < limits::LUA_PROBE_ATTEMPTS_MAX;
        debug_assert!(few, "so many questions without an answer are an answer");
        debug_assert!(self.failures == 0 || self.again_at.is_some(), "there is no next question");
    }

    /// The server was asked. Returns whether what was found is to be believed; no answer, often enough, is one.
    pub(super) fn handle_answer(&mut self, answer: Answer, now: Instant) -> bool {
        self.check_invariants();
        let failures = std::mem::take(&mut self.failures);
        self.again_at = None;
        match answer {
            Answer::Guards => true,
            Answer::Nothing if failures + 1 < limits::LUA_PROBE_ATTEMPTS_MAX => {
                self.failures = failures + 1;
                self.again_at = Some(now + limits::LUA_PROBE_RETRY_INTERVAL);
                false
            }
            Answer::Refuses | Answer::Nothing => {
                self.again_at = Some(now + limits::LUA_REFUSED_RETRY_INTERVAL);
                true
            }
            Answer::Outdated => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::entropy::Entropy;

    #[test]
    fn server_that_refuses_is_asked_again_at_its_time_and_not_because_of_a_wake_up() {
        let (mut inquiry, start) = (Inquiry::default(), crate::base::clock::now());
        assert_eq!(inquiry.poll(false, start), Turn::Wait(None), "no script is to be guarded");
        assert_eq!(inquiry.poll(true, start), Turn::Ask);
        assert!(inquiry.handle_answer(Answer::Refuses, start));
        let again = start + limits::LUA_REFUSED_RETRY_INTERVAL;
        for milliseconds in [0, 5, 4_999] {
            let now = start + Duration::from_millis(milliseconds);
            assert_eq!(inquiry.poll(false, now), Turn::Wait(Some(again)), "{milliseconds}");
        }
        assert_eq!(inquiry.poll(false, again), Turn::Ask);
        assert_eq!(inquiry.poll(true, start), Turn::Ask, "another server is asked at once");
        assert!(inquiry.handle_answer(Answer::Guards, again));
        assert_eq!(inquiry.poll(false, again), Turn::Wait(None));
    }

    #[test]
    fn server_that_does_not_answer_is_asked_a_few_times_and_then_refuses() {
        let (mut inquiry, mut now) = (Inquiry::default(), crate::base::clock::now());
        for _ in 1..limits::LUA_PROBE_ATTEMPTS_MAX {
            assert_eq!(inquiry.poll(true, now), Turn::Ask);
            assert!(!inquiry.handle_answer(Answer::Nothing, now));
            let next = now + limits::LUA_PROBE_RETRY_INTERVAL;
            assert_eq!(inquiry.poll(true, now), Turn::Wait(Some(next)), "not at once");
            now = next;
        }
        assert!(inquiry.handle_answer(Answer::Nothing, now), "it refuses");
        let again = now + limits::LUA_REFUSED_RETRY_INTERVAL;
        assert_eq!(inquiry.poll(false, now), Turn::Wait(Some(again)));
        assert!(!inquiry.handle_answer(Answer::Nothing, again), "it is counted anew");
        assert!(!inquiry.handle_answer(Answer::Outdated, again));
        assert_eq!(inquiry.poll(true, again), Turn::Ask, "another server");
    }

    /// Whatever servers answer and whenever they are lost: each is asked in time, none is asked in a loop.
    #[test]
    fn every_server_is_asked_in_time_and_none_in_a_loop() {
        let begin = crate::base::clock::now();
        let tick = Duration::from_millis(50);
        for seed in 0..300 {
            let mut chance = Entropy::from_seed(seed);
            let (mut inquiry, mut now, mut due) = (Inquiry::default(), begin, true);
            // Since when nothing is known, and when the server refused.
            let (mut unknown, mut refused) = (Some(begin), None::<Instant>);
            let (mut asked, mut lost) = (0_u32, 0_u32);
            while now < begin + Duration::from_secs(60) {
                if chance.next_u64().is_multiple_of(100) {
                    (due, unknown, lost) = (true, unknown.or(Some(now)), lost + 1);
                }
                if inquiry.poll(due, now) == Turn::Ask {
                    let answer = match chance.next_u64() % 8 {
                        0 | 1 => Answer::Guards,
                        2 | 3 => Answer::Refuses,
                        4 => {
                            (due, unknown, lost) = (true, unknown.or(Some(now)), lost + 1);
                            Answer::Outdated
                        }
                        _ => Answer::Nothing,
                    };
                    asked += 1;
                    if inquiry.handle_answer(answer, now) {
                        (due, unknown) = (false, None);
                        refused = (answer != Answer::Guards).then_some(now);
                    }
                }
                let retry = limits::LUA_PROBE_RETRY_INTERVAL * limits::LUA_PROBE_ATTEMPTS_MAX;
                let late = |since: Option<Instant>, most| since.is_some_and(|at| now > at + most);
                assert!(!late(unknown, retry * 20), "{seed}: nothing is known of it");
                let most = limits::LUA_REFUSED_RETRY_INTERVAL + retry * 20;
                assert!(!late(refused, most), "{seed}: it is not asked again");
                now += tick;
            }
            let most = (lost + 12) * limits::LUA_PROBE_ATTEMPTS_MAX * 4;
            assert!(asked <= most, "{seed}: it was asked {asked} times, and lost {lost} times");
        }
    }
}
