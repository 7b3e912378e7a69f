//! A line without a connection: when the server is dialed for it, what of its requests is given up meanwhile, and
//! what follows each outcome.
//!
//! Owns: [`Connector`], [`Turn`]. Never knows: sockets, clocks, tasks, how a connection is made.

use std::time::Instant;

use super::line::{Line, Need, WAIT_TICK};
use super::outage::{Overdue, Patience};
use crate::base::backoff::Backoff;
use crate::base::limits;

/// What a driver does next. It calls [`Connector::poll`] again after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Begins an attempt to connect.
    Dial,
    /// Ends the attempt that is under way: nothing needs it any more.
    Cancel,
    /// Gives up these requests.
    GiveUp(Overdue),
    /// Waits until this time, or until the attempt that is under way has ended; `None`: until something is asked of
    /// the line.
    Wait(Option<Instant>),
    /// Nothing any more: the line is closed, and no reply is outstanding.
    Done,
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a connection that is logged in.
    Up,
    /// The server reports that it is busy with a script.
    Busy,
    /// The server does not have the database.
    NoDatabase,
    Failed,
}

/// What a driver does about it, before it calls [`Connector::poll`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The connection serves the line.
    Serve,
    /// What waits is answered with the server's line.
    Answer,
    /// What waits is given up, and sessions that asked for the database get the server's line.
    Refuse,
    Nothing,
}

/// The attempts to connect that one line makes, one at a time.
#[derive(Debug, Default)]
pub struct Connector {
    dialing: bool,
    /// When what waits is looked at again.
    look_at: Option<Instant>,
    /// The server has answered, and the answer holds until then: it is not dialed.
    pause: Option<Instant>,
    /// How often in a row it has answered that it does not have the database.
    refused: u32,
}

/// After that answer.
const PAUSE: Backoff =
    Backoff { initial: WAIT_TICK, multiplier: 2.0, cap: limits::NO_DATABASE_DIAL_MAX };

impl Connector {
    /// What to do now. `asked`: a session wants to know whether there is a connection.
    pub fn poll<W>(
        &mut self,
        line: &mut Line<W>,
        asked: bool,
        patience: Patience,
        now: Instant,
    ) -> Turn {
        debug_assert!(!line.is_up(), "only without a connection");
        let need = line.poll_need(asked);
        if need != Need::Connection {
            self.look_at = None;
            if std::mem::take(&mut self.dialing) {
                return Turn::Cancel;
            }
            return if need == Need::Done { Turn::Done } else { Turn::Wait(None) };
        }
        if self.look_at.is_none_or(|at| now >= at) {
            self.look_at = Some(now + WAIT_TICK);
            let overdue = line.overdue(patience, now);
            if overdue != Overdue::Nothing {
                return Turn::GiveUp(overdue);
            }
        }
        let pauses = self.pause.is_some_and(|until| now < until);
        if self.dialing || pauses {
            self.check_invariants(now);
            return Turn::Wait(
                [self.look_at, self.pause.filter(|_| pauses)].into_iter().flatten().min(),
            );
        }
        if self.pause.is_some_and(|until| now >= until + limits::NO_DATABASE_DIAL_MAX) {
            // Nothing needed the database for a while.
            self.refused = 0;
        }
        self.dialing = true;
        self.check_invariants(now);
        Turn::Dial
    }

    /// What holds whenever a method returns.
    fn check_invariants(&self, now: Instant) {
        let look = now + WAIT_TICK;
        debug_assert!(self.look_at.is_none_or(|at| at <= look), "what waits is looked at too late");
        let most = if self.refused > 0 { now + limits::NO_DATABASE_DIAL_MAX } else { look };
        debug_assert!(self.pause.is_none_or(|until| until <= most), "an answer holds for too long");
        let pauses = self.pause.is_some_and(|until| now < until);
        debug_assert!(!self.dialing || !pauses, "a server is dialed that has just answered");
    }

    /// The attempt has ended.
    pub fn handle_dialed<W>(
        &mut self,
        line: &mut Line<W>,
        outcome: Outcome,
        now: Instant,
    ) -> After {
        debug_assert!(self.dialing, "only what was begun ends");
        self.dialing = false;
        match outcome {
            Outcome::Up => {
                *self = Self::default();
                After::Serve
            }
            Outcome::NoDatabase => {
                self.pause = Some(now + PAUSE.delay(self.refused, u64::MAX));
                self.refused = self.refused.saturating_add(1);
                self.check_invariants(now);
                After::Refuse
            }
            Outcome::Busy => {
                (self.pause, self.refused) = (Some(now + WAIT_TICK), 0);
                self.check_invariants(now);
                After::Answer
            }
            Outcome::Failed => {
                self.refused = 0;
                line.handle_failed(now);
                self.check_invariants(now);
                After::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::OnOutage;
    use crate::resp::Protocol;
    use crate::traffic::{Skips, Ticket};
    use crate::upstream::owner::Owner;

    const PATIENCE: Patience =
        Patience { on_outage: OnOutage::Error, wait: Duration::from_secs(1) };

    fn line(waits: bool) -> (Line<u32>, Instant) {
        let (mut line, now) = (Line::new(Protocol::Resp2, false), crate::base::clock::now());
        if waits {
            line.pipeline.push(Owner::Session(1), Ticket(1), b"a", Skips::NONE, true, now);
        }
        (line, now)
    }

    /// What is to be done but to give up what is overdue.
    fn poll(connector: &mut Connector, line: &mut Line<u32>, now: Instant) -> Turn {
        loop {
            let turn = connector.poll(line, false, PATIENCE, now);
            let Turn::GiveUp(overdue) = turn else { return turn };
            line.give_up(overdue, |_, _, _| {});
        }
    }

    #[test]
    fn line_is_dialed_for_when_something_waits_and_no_longer() {
        let ((mut line, now), mut connector) = (line(true), Connector::default());
        assert_eq!(poll(&mut connector, &mut line, now), Turn::Dial);
        let look = now + WAIT_TICK;
        assert_eq!(poll(&mut connector, &mut line, now), Turn::Wait(Some(look)), "one at a time");
        assert_eq!(connector.handle_dialed(&mut line, Outcome::Failed, now), After::Nothing);
        assert_eq!(poll(&mut connector, &mut line, now), Turn::Dial);
        let late = now + PATIENCE.wait;
        assert_eq!(poll(&mut connector, &mut line, late), Turn::Cancel, "it is given up");
        assert_eq!(poll(&mut connector, &mut line, late), Turn::Wait(None));
        line.closing = true;
        assert_eq!(poll(&mut connector, &mut line, late), Turn::Done);
    }

    #[test]
    fn answer_of_the_server_holds_for_a_while() {
        for outcome in [Outcome::Busy, Outcome::NoDatabase] {
            let ((mut line, now), mut connector) = (line(true), Connector::default());
            assert_eq!(poll(&mut connector, &mut line, now), Turn::Dial);
            let after = connector.handle_dialed(&mut line, outcome, now);
            assert_eq!(after == After::Answer, outcome == Outcome::Busy);
            // Something has come meanwhile.
            assert!(matches!(poll(&mut connector, &mut line, now), Turn::Wait(Some(_))));
            assert_eq!(poll(&mut connector, &mut line, now + WAIT_TICK), Turn::Dial);
        }
        // What the server does not have is looked for ever more rarely, and soon again behind a pause.
        let ((mut other, begin), mut connector) = (line(true), Connector::default());
        let (mut now, mut pauses) = (begin, Vec::new());
        for _ in 0..7 {
            let refused_at = now;
            while poll(&mut connector, &mut other, now) != Turn::Dial {
                now += WAIT_TICK;
            }
            pauses.push((now - refused_at).as_millis());
            other.refuse(|_, _, _| {});
            connector.handle_dialed(&mut other, Outcome::NoDatabase, now);
            other.pipeline.push(Owner::Session(1), Ticket(1), b"a", Skips::NONE, true, now);
        }
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1000]);
        now += limits::NO_DATABASE_DIAL_MAX * 2;
        other.refuse(|_, _, _| {});
        other.pipeline.push(Owner::Session(1), Ticket(1), b"a", Skips::NONE, true, now);
        assert_eq!(poll(&mut connector, &mut other, now), Turn::Dial);
        connector.handle_dialed(&mut other, Outcome::NoDatabase, now);
        assert_eq!(poll(&mut connector, &mut other, now + WAIT_TICK), Turn::Dial);
        let ((mut line, now), mut connector) = (line(false), Connector::default());
        assert_eq!(poll(&mut connector, &mut line, now), Turn::Wait(None), "nothing waits");
        assert_eq!(
            connector.poll(&mut line, true, PATIENCE, now),
            Turn::GiveUp(line.overdue(PATIENCE, now))
        );
        assert_eq!(
            connector.poll(&mut line, true, PATIENCE, now),
            Turn::Dial,
            "a session waits for one"
        );
    }
}
