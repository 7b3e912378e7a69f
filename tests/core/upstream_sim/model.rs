//! The requests of sessions and the replies they have received; what must be true of them.
//!
//! Owns: [`Model`]. Never knows: connections.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use respgate::internals::traffic::Loss;

use super::server::Executed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May be executed twice.
    Read,
    Write,
    /// A write that takes so many milliseconds.
    Slow(u64),
    /// Answered with an error.
    Error,
    /// A transaction: two replies are skipped.
    Block,
    /// A read with a large reply.
    Large,
    /// Completes the write before it.
    Companion,
}

impl Kind {
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Slow(_) | Self::Block)
    }

    pub const fn retries(self) -> bool {
        matches!(self, Self::Read | Self::Large | Self::Companion)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered,
    /// The server's error.
    Error,
    Lost(Loss),
}

#[derive(Debug)]
pub struct Asked {
    pub kind: Kind,
    pub at: Instant,
    pub received: Vec<u8>,
    pub end: Option<(Instant, End)>,
}

/// All requests, by session and ticket.
#[derive(Debug, Default)]
pub struct Model {
    pub sessions: Vec<Vec<Asked>>,
    /// One that reads nothing for the moment, and what it has not read.
    slow: Option<(usize, usize)>,
    /// What completes writes and is not sent any more.
    given_up: HashSet<(usize, usize)>,
}

impl Model {
    /// A session sends a request; the ticket.
    pub fn ask(&mut self, session: usize, kind: Kind, at: Instant) -> u64 {
        let asked = Asked { kind, at, received: Vec::new(), end: None };
        self.sessions[session].push(asked);
        self.sessions[session].len() as u64 - 1
    }

    /// A session reads nothing until it [reads again](Self::read_all).
    pub fn stop_reading(&mut self, session: usize) {
        self.slow = Some((session, 0));
    }

    pub fn read_all(&mut self) {
        self.slow = None;
    }

    /// How many bytes a session has not read.
    pub fn unread(&self, session: usize) -> usize {
        self.slow.filter(|(slow, _)| *slow == session).map_or(0, |(_, bytes)| bytes)
    }

    pub fn of(&mut self, session: usize, ticket: u64) -> &mut Asked {
        &mut self.sessions[session][usize::try_from(ticket).unwrap()]
    }

    pub fn in_flight(&self, session: usize) -> usize {
        self.sessions[session].iter().rev().take(64).filter(|asked| asked.end.is_none()).count()
    }

    /// A piece of a reply.
    pub fn receive(&mut self, session: usize, ticket: u64, bytes: &[u8], done: bool, now: Instant) {
        if let Some((_, unread)) = self.slow.as_mut().filter(|(slow, _)| *slow == session) {
            *unread += bytes.len();
        }
        let asked = self.of(session, ticket);
        assert!(asked.end.is_none(), "{session}:{ticket} receives more after its end: {asked:?}");
        asked.received.extend_from_slice(bytes);
        if !done {
            return;
        }
        let own = format!("{session}:{ticket}\r\n");
        let error = asked.received.starts_with(b"-");
        let refused = error && !asked.received.starts_with(b"-ERR ");
        assert!(
            refused || asked.received.ends_with(own.as_bytes()),
            "{session}:{ticket} receives another's reply: {:?}",
            String::from_utf8_lossy(&asked.received)
        );
        asked.end = Some((now, if error { End::Error } else { End::Answered }));
        let before = &self.sessions[session][..usize::try_from(ticket).unwrap()];
        assert!(
            before.iter().rev().take(64).all(|earlier| earlier.end.is_some()),
            "{session}:{ticket} is answered before an earlier request"
        );
    }

    /// The end of a request that gets no reply.
    pub fn lose(&mut self, session: usize, ticket: u64, loss: Loss, now: Instant) {
        let asked = self.of(session, ticket);
        assert!(
            asked.end.is_none(),
            "{session}:{ticket} is lost after its end: {asked:?} {loss:?}"
        );
        asked.end = Some((now, End::Lost(loss)));
    }

    /// No request waits longer than it may.
    pub fn check_deadlines(&self, now: Instant, most: Duration) {
        for (session, asked) in self.sessions.iter().enumerate() {
            for (ticket, asked) in asked.iter().enumerate().rev().take(64) {
                assert!(
                    asked.end.is_some() || now <= asked.at + most,
                    "{session}:{ticket} waits for {:?}: {asked:?}",
                    now - asked.at
                );
            }
        }
    }

    /// Compares what the server has executed with what the sessions have received.
    pub fn check_executions(&self, executed: &[Executed], replied: &HashSet<Vec<u8>>) {
        for (session, asked) in self.sessions.iter().enumerate() {
            let mut places = vec![Vec::new(); asked.len()];
            for (place, one) in
                executed.iter().enumerate().filter(|(_, one)| one.session == session)
            {
                places[usize::try_from(one.ticket).unwrap()].push(place);
            }
            for (ticket, (asked, places)) in asked.iter().zip(&places).enumerate() {
                let name = format!("{session}:{ticket}");
                let count = places.len();
                if asked.kind == Kind::Companion {
                    let write = format!("W {session} {}\n", ticket - 1);
                    let known = replied.contains(write.as_bytes());
                    self.check_companion((session, ticket), known, places, executed);
                    continue;
                }
                assert!(count <= 1, "{name} was executed {count} times: {asked:?}");
                let (at, how) = asked.end.unwrap_or_else(|| panic!("{name} never ended"));
                match how {
                    End::Answered if asked.kind.writes() => {
                        assert_eq!(count, 1, "{name} was acknowledged and not executed");
                    }
                    End::Error => assert_eq!(count, 0, "{name} was refused and executed"),
                    End::Lost(Loss::Unavailable(_) | Loss::Abandoned) => {
                        assert_eq!(count, 0, "{name} was executed, and reported as not executed");
                    }
                    End::Lost(Loss::OutcomeUnknown | Loss::Truncated) if count > 0 => {
                        let late = executed[places[0]].arrived > at;
                        let ghost = late && self.acknowledged_before(places[0], executed);
                        assert!(
                            !ghost,
                            "{name} came to the server after it was given up, and was \
                             executed behind a later write that was acknowledged"
                        );
                    }
                    End::Answered | End::Lost(_) => {}
                }
            }
        }
    }

    /// What completes a write is executed if that was acknowledged, however long there is no connection or the server
    /// refuses it, unless it is reported as given up. On another connection than that of its write it is executed
    /// only if the reply to that is `known` to respgate; behind a write that was refused it is executed at most where it was sent with it.
    fn check_companion(
        &self,
        (session, ticket): (usize, usize),
        known: bool,
        places: &[usize],
        executed: &[Executed],
    ) {
        let [write, asked] = [ticket - 1, ticket].map(|at| &self.sessions[session][at]);
        let name = format!("{session}:{ticket}");
        let acknowledged = matches!(write.end, Some((_, End::Answered)));
        if acknowledged && places.is_empty() {
            let excused = self.given_up.contains(&(session, ticket));
            assert!(excused, "{name} does not follow an acknowledged write: {asked:?}");
        }
        for place in places {
            if executed[*place].behind_refused {
                continue;
            }
            let before = executed[..*place].iter();
            let write = before.filter(|one| {
                one.session == session && usize::try_from(one.ticket + 1) == Ok(ticket)
            });
            let same = write.clone().any(|one| one.wire == executed[*place].wire);
            assert!(write.count() > 0, "{name} was executed without its write");
            assert!(same || known, "{name} was sent again behind what is unknown");
        }
    }

    /// What completes a write is reported: it is not sent any more, and may be missing.
    pub fn note_given_up(&mut self, request: &[u8]) {
        for line in String::from_utf8_lossy(request).lines() {
            let mut words = line.split(' ');
            if words.next() == Some("C") {
                let [session, ticket] =
                    [words.next(), words.next()].map(|word| word.unwrap().parse().unwrap());
                self.given_up.insert((session, ticket));
            }
        }
    }

    /// Whether a later write of the same session was executed before this one, and acknowledged.
    fn acknowledged_before(&self, place: usize, executed: &[Executed]) -> bool {
        let own = executed[place];
        executed[..place].iter().any(|one| {
            let asked = &self.sessions[one.session][usize::try_from(one.ticket).unwrap()];
            one.session == own.session
                && one.ticket > own.ticket
                && matches!(asked.end, Some((_, End::Answered)))
        })
    }
}
