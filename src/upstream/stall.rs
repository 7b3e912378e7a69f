//! When a shared connection is held up by the request at the head of its line: what then is not written
//! behind it, and when another connection carries on.
//!
//! Owns: [`Stall`], [`Advice`]. Never knows: connections, clocks, what is in line.

use std::time::{Duration, Instant};

use crate::base::limits;

const HOLD_TRIPS: u32 = 4;
const RELIEF_TRIPS: u32 = 8;

/// What to do about the silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Go on.
    Flow,
    /// Write nothing more: what is not written can be sent on another connection.
    Hold,
    /// Write nothing more, and dial another connection, which proves that the server serves others.
    Relieve,
}

/// What one connection knows about its own pace.
#[derive(Debug, Default)]
pub(super) struct Stall {
    fastest: Option<Duration>,
    not_before: Option<Instant>,
    /// When the reply began that has come in part.
    reply_since: Option<Instant>,
}

impl Stall {
    /// A reply was complete so long after its request was put in line.
    pub(super) fn note_reply(&mut self, took: Duration) {
        self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        debug_assert!(self.fastest.is_some_and(|fastest| fastest <= took), "one was faster");
    }

    /// So many bytes have `come`; with them, that much of a reply has which goes on. Returns whether the line flows: a
    /// reply that goes on for long holds up what is behind it, however often a byte of it comes.
    pub(super) fn note_arrival(&mut self, reply: Option<usize>, come: usize, now: Instant) -> bool {
        debug_assert!(self.reply_since.is_none_or(|since| since <= now), "a reply begins later");
        let since = |all: usize| self.reply_since.filter(|_| all > come).unwrap_or(now);
        self.reply_since = reply.map(since);
        !self.reply_is_long(now)
    }

    fn reply_is_long(&self, now: Instant) -> bool {
        self.reply_since.is_some() && !self.reply_is_younger(limits::STALL_REPLY_AGE, now)
    }

    /// Whether a reply is under way that began within this time.
    pub(super) fn reply_is_younger(&self, age: Duration, now: Instant) -> bool {
        self.reply_since.is_some_and(|since| now.saturating_duration_since(since) < age)
    }

    /// Another connection is being dialed.
    pub(super) fn note_attempt(&mut self, now: Instant) {
        debug_assert!(self.not_before.is_none_or(|at| at <= now), "attempts keep their pause");
        self.not_before = Some(now + limits::STALL_DIAL_INTERVAL);
    }

    /// What follows when nothing has arrived since `silent_since`, although a reply is outstanding.
    pub(super) fn advise(&self, now: Instant, silent_since: Instant) -> Advice {
        debug_assert!(silent_since <= now, "silence has begun");
        let silent_since = match self.reply_since.filter(|_| self.reply_is_long(now)) {
            Some(since) => since.min(silent_since),
            None => silent_since,
        };
        let latest = now + limits::STALL_DIAL_INTERVAL;
        debug_assert!(self.not_before.is_none_or(|at| at <= latest), "relief is put off too long");
        let silent = now.saturating_duration_since(silent_since);
        let trip = self.fastest.unwrap_or_default().min(limits::ROUND_TRIP_MAX);
        if silent < limits::STALL_HOLD_MIN.max(trip * HOLD_TRIPS) {
            Advice::Flow
        } else if silent < limits::STALL_RELIEF_MIN.max(trip * RELIEF_TRIPS)
            || self.not_before.is_some_and(|at| now < at)
        {
            Advice::Hold
        } else {
            Advice::Relieve
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn silence_first_holds_back_and_then_requests_relief() {
        let since = crate::base::clock::now();
        let mut stall = Stall::default();
        for (silent, advice) in [
            (0, Advice::Flow),
            (24, Advice::Flow),
            (25, Advice::Hold),
            (249, Advice::Hold),
            (250, Advice::Relieve),
            (9_000, Advice::Relieve),
        ] {
            assert_eq!(stall.advise(since + ms(silent), since), advice, "{silent}");
        }
        stall.note_attempt(since + ms(250));
        assert_eq!(stall.advise(since + ms(1249), since), Advice::Hold, "one is under way");
        assert_eq!(stall.advise(since + ms(1250), since), Advice::Relieve);
    }

    #[test]
    fn reply_that_goes_on_for_long_requests_relief_however_often_bytes_come() {
        let since = crate::base::clock::now();
        let mut stall = Stall::default();
        let age = u64::try_from(limits::STALL_REPLY_AGE.as_millis()).unwrap();
        assert!(stall.note_arrival(Some(10), 10, since));
        for (at, long) in [(age / 2, false), (age - 1, false), (age, true), (age * 9, true)] {
            let now = since + ms(at);
            assert_eq!(stall.note_arrival(Some(11), 1, now), !long, "{at}");
            let advice = if long { Advice::Relieve } else { Advice::Flow };
            assert_eq!(stall.advise(now, now), advice, "{at}");
        }
        // The next one begins in the same reading.
        assert!(stall.note_arrival(Some(10), 20, since + ms(age * 9)));
        assert!(stall.note_arrival(Some(11), 1, since + ms(age * 10 - 1)));
        assert!(stall.note_arrival(None, 5, since + ms(age * 20)), "it has ended");
        assert_eq!(stall.advise(since + ms(age * 20), since + ms(age * 20)), Advice::Flow);
    }

    #[test]
    fn slow_network_is_no_stall() {
        let since = crate::base::clock::now();
        let mut stall = Stall::default();
        stall.note_reply(ms(900));
        stall.note_reply(ms(100));
        stall.note_reply(ms(300));
        for (silent, advice) in
            [(399, Advice::Flow), (400, Advice::Hold), (799, Advice::Hold), (800, Advice::Relieve)]
        {
            assert_eq!(stall.advise(since + ms(silent), since), advice, "{silent}");
        }
        let mut slow = Stall::default();
        slow.note_reply(Duration::from_secs(60));
        assert_eq!(slow.advise(since + ms(2_000), since), Advice::Relieve, "whatever was seen");
    }
}
