//! What is known of a server that cannot be reached: since when, why, what waited, how many clients were closed; and
//! how long a request may wait for it.
//!
//! Owns: [`Outage`], [`Patience`], [`Notice`]. Never knows: clocks, sockets, how a line is logged.

use std::time::{Duration, Instant};

use crate::config::OnOutage;
use crate::traffic::Unavailable;

/// How long a request may wait for a connection to the server.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub on_outage: OnOutage,
    /// `upstream.outage_wait`.
    pub wait: Duration,
}

/// The requests in line that have waited long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    Nothing,
    /// The requests put in line before then.
    Before(Instant),
    All,
}

impl Patience {
    /// Whether a request that comes at `now` is refused without a wait: with `on_outage = "error"`,
    /// once the outage has lasted for `outage_wait`.
    pub fn refuses(&self, down_since: Option<Instant>, now: Instant) -> bool {
        self.on_outage == OnOutage::Error
            && down_since.is_some_and(|since| now >= since + self.wait)
    }

    /// What is given up at `now` while the connection is down. The wait of a request begins when
    /// there is no connection for it: at the loss, or when it comes.
    pub fn overdue(&self, down_since: Option<Instant>, now: Instant) -> Overdue {
        debug_assert!(down_since.is_none_or(|since| since <= now), "it will be down");
        if self.refuses(down_since, now) {
            return Overdue::All;
        }
        if down_since.is_some_and(|since| now < since + self.wait) {
            return Overdue::Nothing;
        }
        now.checked_sub(self.wait).map_or(Overdue::Nothing, Overdue::Before)
    }

    /// Until when something that has waited since `start` may go on; without an outage `usual` is its
    /// own limit.
    pub fn deadline(
        &self,
        outage_since: Option<Instant>,
        start: Instant,
        usual: Duration,
    ) -> Instant {
        match (outage_since, self.on_outage) {
            (None, _) => start + usual,
            (Some(since), OnOutage::Error) => since + self.wait,
            (Some(since), OnOutage::Close) => start.max(since) + self.wait,
        }
    }
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection that worked has ended.
    Lost,
    /// There is no connection, or no further one.
    Failed,
    /// The outage goes on, and its cause is now one that does not pass by itself.
    Changed,
    /// The server is reached again.
    Over { lasted: Duration, waited: u64, closed: u64, again: bool },
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// When a connection was made that has not proven itself.
    connected: Option<Instant>,
    waited: u64,
    closed: u64,
    /// Causes that were logged and that an operator has to remove.
    logged: Vec<Unavailable>,
}

/// The one outage that there is, or none.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    trouble: Option<Trouble>,
    /// There was a connection at some time.
    was_connected: bool,
    /// The last connection ended before it had proven itself: being connected proves nothing.
    suspect: bool,
}

impl Outage {
    pub(crate) fn since(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.since)
    }

    /// A command has to wait for the server.
    pub(crate) fn note_waiting(&mut self, count: u64) {
        if let Some(trouble) = &mut self.trouble {
            trouble.waited += count;
            self.check_invariants();
        }
    }

    /// The connection of a client was closed because the server cannot be reached.
    pub(crate) fn note_closed(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.closed += 1;
        }
        self.check_invariants();
    }

    /// A shared connection has ended that should not have.
    pub(crate) fn handle_lost(&mut self, proven: bool, now: Instant) -> Option<Notice> {
        self.suspect = !proven;
        if let Some(trouble) = &mut self.trouble {
            debug_assert!(trouble.since <= now, "an outage goes on that has not begun");
            trouble.connected = None;
            self.check_invariants();
            return None;
        }
        self.begin(now);
        Some(Notice::Lost)
    }

    /// An attempt to connect has failed.
    pub(crate) fn handle_failed(&mut self, why: Unavailable, now: Instant) -> Option<Notice> {
        let first = self.trouble.is_none();
        if first {
            self.begin(now);
        }
        debug_assert!(self.since().is_some_and(|since| since <= now), "a failure is no outage");
        let acts = matches!(why, Unavailable::Auth | Unavailable::Tls | Unavailable::Protocol);
        let logged = &mut self.trouble.as_mut()?.logged;
        let new = acts && !logged.contains(&why);
        if new {
            logged.push(why);
        }
        self.check_invariants();
        match (first, new) {
            (true, _) => Some(Notice::Failed),
            (false, true) => Some(Notice::Changed),
            (false, false) => None,
        }
    }

    /// A connection is there and logged in.
    pub(crate) fn handle_connected(&mut self, now: Instant) -> Option<Notice> {
        if let Some(trouble) = &mut self.trouble {
            debug_assert!(trouble.since <= now, "a connection ends an outage that has not begun");
            trouble.connected.get_or_insert(now);
        }
        self.check_invariants();
        if self.suspect {
            return None;
        }
        self.end(now)
    }

    /// A connection has answered a request, or has lived for long enough.
    pub(crate) fn handle_proven(&mut self, now: Instant) -> Option<Notice> {
        self.suspect = false;
        self.check_invariants();
        // An old connection answers on while new ones fail.
        self.trouble.as_ref()?.connected?;
        self.end(now)
    }

    /// The server answers on an old connection, and no further one is wanted.
    pub(crate) fn handle_alive(&mut self, now: Instant) -> Option<Notice> {
        self.suspect = false;
        let notice = self.end(now);
        debug_assert!(self.since().is_none(), "the outage goes on");
        notice
    }

    fn begin(&mut self, since: Instant) {
        debug_assert!(self.trouble.is_none(), "there is one outage at a time");
        self.trouble =
            Some(Trouble { since, connected: None, waited: 0, closed: 0, logged: Vec::new() });
        self.check_invariants();
    }

    /// What holds whenever a `handle_…` returns.
    fn check_invariants(&self) {
        let Some(Trouble { since, connected, logged, .. }) = &self.trouble else { return };
        debug_assert!(connected.is_none_or(|at| at >= *since), "it was over before it began");
        let twice = |(at, why): (usize, &Unavailable)| logged.iter().take(at).any(|it| it == why);
        debug_assert!(!logged.iter().enumerate().any(twice), "a cause is logged twice");
    }

    fn end(&mut self, now: Instant) -> Option<Notice> {
        let again = std::mem::replace(&mut self.was_connected, true);
        let trouble = self.trouble.take()?;
        debug_assert!(trouble.since <= now, "an outage ends after its begin");
        debug_assert!(trouble.connected.is_none_or(|at| at <= now), "it ends later");
        let lasted = trouble.connected.unwrap_or(now).saturating_duration_since(trouble.since);
        Some(Notice::Over { lasted, waited: trouble.waited, closed: trouble.closed, again })
    }
}

/// A time for a person: `230 ms`, `1.2 s`, `45 s`.
pub(crate) fn show(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        1000..10_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} s", time.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds since the beginning of a test, as moments.
    fn clock() -> impl Fn(u64) -> Instant {
        let start = crate::base::clock::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    fn over(lasted: u64, waited: u64, closed: u64, again: bool) -> Option<Notice> {
        Some(Notice::Over { lasted: Duration::from_secs(lasted), waited, closed, again })
    }

    #[test]
    fn outage_is_logged_once_at_its_begin_and_once_at_its_end() {
        let at = clock();
        let mut outage = Outage::default();
        assert_eq!(outage.handle_connected(at(0)), None);
        assert_eq!(outage.handle_lost(true, at(5)), Some(Notice::Lost));
        assert_eq!(outage.handle_lost(true, at(5)), None, "another connection, the same outage");
        for second in 6..50 {
            assert_eq!(outage.handle_failed(Unavailable::Connect, at(second)), None);
        }
        outage.note_waiting(139);
        outage.note_waiting(1);
        (0..3).for_each(|_| outage.note_closed());
        assert_eq!(outage.handle_connected(at(50)), over(45, 140, 3, true));
        assert_eq!(outage.handle_connected(at(51)), None);
        assert_eq!(outage.handle_proven(at(51)), None);
        assert_eq!(outage.handle_lost(true, at(60)), Some(Notice::Lost));
        assert_eq!(outage.handle_connected(at(61)), over(1, 0, 0, true), "counted anew");
    }

    #[test]
    fn outage_at_the_start_is_one_too() {
        let at = clock();
        let mut outage = Outage::default();
        assert_eq!(outage.handle_failed(Unavailable::Connect, at(0)), Some(Notice::Failed));
        assert_eq!(outage.handle_failed(Unavailable::Timeout, at(1)), None);
        assert_eq!(outage.since(), Some(at(0)));
        assert_eq!(outage.handle_connected(at(3)), over(3, 0, 0, false));
        assert_eq!(outage.since(), None);
    }

    #[test]
    fn outage_names_each_cause_that_needs_an_operator_once() {
        let at = clock();
        let mut outage = Outage::default();
        outage.handle_lost(true, at(0));
        assert_eq!(outage.handle_failed(Unavailable::Auth, at(1)), Some(Notice::Changed));
        assert_eq!(outage.handle_failed(Unavailable::Connect, at(2)), None);
        assert_eq!(outage.handle_failed(Unavailable::Auth, at(3)), None);
        assert_eq!(outage.handle_failed(Unavailable::Tls, at(4)), Some(Notice::Changed));
    }

    #[test]
    fn server_that_greets_and_hangs_up_is_one_outage() {
        let at = clock();
        let mut outage = Outage::default();
        let mut lines = Vec::new();
        for second in 0..100 {
            lines.extend(outage.handle_connected(at(second)));
            lines.extend(outage.handle_lost(false, at(second)));
        }
        assert_eq!(lines, [Notice::Lost]);
        assert_eq!(outage.handle_connected(at(200)), None);
        assert_eq!(outage.handle_proven(at(203)), over(200, 0, 0, true));
    }

    #[test]
    fn old_connection_that_answers_ends_no_outage_of_new_ones() {
        let at = clock();
        let mut outage = Outage::default();
        assert_eq!(outage.handle_connected(at(0)), None);
        assert_eq!(outage.handle_failed(Unavailable::Auth, at(1)), Some(Notice::Failed));
        assert_eq!(outage.handle_proven(at(2)), None);
        assert!(outage.since().is_some());
    }

    #[test]
    fn close_lets_each_request_wait_its_time() {
        let at = clock();
        let patience = Patience { on_outage: OnOutage::Close, wait: 5 * SECOND };
        assert_eq!(patience.overdue(Some(at(0)), at(4)), Overdue::Nothing);
        assert_eq!(patience.overdue(Some(at(0)), at(5)), Overdue::Before(at(0)));
        assert_eq!(patience.overdue(Some(at(0)), at(60)), Overdue::Before(at(55)));
        assert_eq!(patience.overdue(None, at(60)), Overdue::Before(at(55)), "the first connection");
        assert!(!patience.refuses(Some(at(0)), at(60)));
        assert_eq!(patience.deadline(None, at(1), SECOND), at(2));
        assert_eq!(patience.deadline(Some(at(3)), at(1), SECOND), at(8));
        assert_eq!(patience.deadline(Some(at(3)), at(20), SECOND), at(25));
    }

    #[test]
    fn error_refuses_at_once_when_the_outage_is_old() {
        let at = clock();
        let patience = Patience { on_outage: OnOutage::Error, wait: 5 * SECOND };
        assert_eq!(patience.overdue(Some(at(0)), at(4)), Overdue::Nothing);
        assert_eq!(patience.overdue(Some(at(0)), at(5)), Overdue::All);
        assert!(patience.refuses(Some(at(0)), at(5)) && !patience.refuses(Some(at(0)), at(4)));
        assert_eq!(patience.deadline(Some(at(3)), at(20), SECOND), at(8), "over already");
    }

    #[test]
    fn times_are_short() {
        let texts = [230, 1_234, 45_900].map(|ms| show(Duration::from_millis(ms)));
        assert_eq!(texts, ["230 ms", "1.2 s", "45 s"]);
    }
}
