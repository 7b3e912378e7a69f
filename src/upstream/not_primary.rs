//! Whether the server is still the primary: what its errors show, and what it replies to a check of its
//! role.
//!
//! Owns: [`Sign`], [`Question`], [`Suspicion`]. Never knows: connections, clocks, what the verdict changes.

use std::time::{Duration, Instant};

use crate::base::limits;
use crate::resp::{Protocol, Value};

/// What an error shows about the server (Redis server.c `processCommand`). A script can send the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The server is a replica.
    ReadOnly,
    /// The server has lost its primary, or reads its data after a start.
    NotServing,
}

/// The command that checks the server before a sign counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// `HELLO` without arguments changes nothing and returns the role.
    Hello,
    /// The role, where the server's rules forbid HELLO.
    Role,
    /// The server refuses it as long as it does not serve.
    Ping,
}

/// What the reply to a check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ask(Question),
    /// The server is the primary and serves: the sign was a script's.
    Stay,
    /// Another server must be found.
    Move,
}

/// What the first bytes of a reply show.
pub(super) fn sign(reply: &[u8]) -> Option<Sign> {
    let error = reply.strip_prefix(b"-")?;
    if error.starts_with(b"READONLY ") {
        Some(Sign::ReadOnly)
    } else if error.starts_with(b"MASTERDOWN ") || error.starts_with(b"LOADING ") {
        Some(Sign::NotServing)
    } else {
        None
    }
}

/// The first sign among the elements of EXEC's array. A value may look like one, so the server is checked.
pub(super) fn sign_within(array: &[u8]) -> Option<Sign> {
    memchr::memchr_iter(b'\n', array).find_map(|at| sign(array.get(at + 1..)?))
}

/// Whether a role in the reply to HELLO is that of a primary; in doubt it is.
pub(super) fn is_primary(role: &[u8]) -> bool {
    !matches!(role, b"replica" | b"slave")
}

impl Question {
    pub(super) const fn wire(self) -> &'static [u8] {
        match self {
            Self::Hello => b"*1\r\n$5\r\nhElLo\r\n",
            Self::Role => b"*1\r\n$4\r\nrOlE\r\n",
            Self::Ping => b"*1\r\n$4\r\npInG\r\n",
        }
    }

    pub(super) const fn about(sign: Sign) -> Self {
        match sign {
            Sign::ReadOnly => Self::Hello,
            Sign::NotServing => Self::Ping,
        }
    }

    /// What the reply means. A server whose reply to HELLO has no role is sent ROLE.
    pub(super) fn judge(self, reply: &[u8], protocol: Protocol) -> Verdict {
        let value = || Value::decode(reply, protocol).ok();
        let primary = match self {
            Self::Hello => match value().as_ref().and_then(|value| value.get("role")?.as_bytes()) {
                Some(role) => is_primary(role),
                None => return Verdict::Ask(Self::Role),
            },
            Self::Role => value()
                .as_ref()
                .and_then(|value| value.elements()?.first()?.as_bytes())
                .is_some_and(is_primary),
            Self::Ping => sign(reply) != Some(Sign::NotServing),
        };
        if primary { Verdict::Stay } else { Verdict::Move }
    }
}

/// One connection's checks whether its server is the right one: one at a time, and not often.
#[derive(Debug)]
pub(super) struct Suspicion {
    asked: Option<Question>,
    /// Seen too early: it counts then.
    waiting: Option<Sign>,
    not_before: Instant,
    pause: Duration,
}

impl Suspicion {
    /// While there is no other server, each one is kept for a while.
    pub(super) fn new(opened_at: Instant) -> Self {
        Self {
            asked: None,
            waiting: None,
            not_before: opened_at + limits::PRIMARY_CHECK_INTERVAL_MIN,
            pause: limits::PRIMARY_CHECK_INTERVAL_MIN,
        }
    }

    pub(super) const fn note_sign(&mut self, sign: Sign) {
        if self.asked.is_none() {
            self.waiting = Some(sign);
        }
        debug_assert!(self.asked.is_none() || !self.is_waiting(), "a sign waits for none");
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether an answer is outstanding.
    pub(super) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// What to ask now.
    pub(super) fn question(&mut self, now: Instant) -> Option<Question> {
        let latest = now + limits::PRIMARY_CHECK_INTERVAL_MAX;
        debug_assert!(self.not_before <= latest, "the server is asked too late");
        if now < self.not_before || self.asked.is_some() {
            return None;
        }
        self.asked = self.waiting.take().map(Question::about);
        self.check_invariants();
        self.asked
    }

    /// The server answers.
    pub(super) fn take_answer(
        &mut self,
        reply: &[u8],
        protocol: Protocol,
        now: Instant,
    ) -> Verdict {
        debug_assert!(self.asked.is_some(), "the answer to no question");
        let Some(question) = self.asked.take() else { return Verdict::Stay };
        let verdict = question.judge(reply, protocol);
        match verdict {
            Verdict::Ask(question) => self.asked = Some(question),
            Verdict::Stay | Verdict::Move => self.back_off(now),
        }
        let is_asked = matches!(verdict, Verdict::Ask(_));
        debug_assert_eq!(self.asked.is_some(), is_asked, "one question at a time");
        self.check_invariants();
        verdict
    }

    /// There is nothing better, for the time being.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(limits::PRIMARY_CHECK_INTERVAL_MAX);
        debug_assert!(self.not_before > now, "the question is repeated at once");
        self.check_invariants();
    }

    /// What holds whenever a method returns.
    fn check_invariants(&self) {
        debug_assert!(
            self.pause >= limits::PRIMARY_CHECK_INTERVAL_MIN,
            "the question comes too often"
        );
        debug_assert!(
            self.pause <= limits::PRIMARY_CHECK_INTERVAL_MAX,
            "the question comes too seldom"
        );
        debug_assert!(self.asked.is_none() || self.waiting.is_none(), "a sign waits for none");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs() {
        let lines = [
            ("-READONLY You can't write against a read only replica.\r\n", Some(Sign::ReadOnly)),
            ("-MASTERDOWN Link with MASTER is down\r\n", Some(Sign::NotServing)),
            ("-LOADING Redis is loading the dataset in memory\r\n", Some(Sign::NotServing)),
            ("-ERR READONLY\r\n", None),
            ("-READONLYX a\r\n", None),
            ("+READONLY \r\n", None),
        ];
        for (line, expected) in lines {
            assert_eq!(sign(line.as_bytes()), expected, "{line}");
            let array = format!("*2\r\n:1\r\n{line}");
            assert_eq!(sign_within(array.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn questions_are_in_respgates_own_letters() {
        for question in [Question::Hello, Question::Role, Question::Ping] {
            let word = question.wire().split(|byte| *byte == b'\n').nth(2).unwrap();
            assert!(crate::traffic::own::begins(word.trim_ascii_end()), "{question:?}");
        }
    }

    #[test]
    fn answers_decide_whether_to_move() {
        let hello = |role: &str| {
            format!("*4\r\n$5\r\nproto\r\n:2\r\n$4\r\nrole\r\n${}\r\n{role}\r\n", role.len())
        };
        let cases = [
            (Question::Hello, hello("master"), Verdict::Stay),
            (Question::Hello, hello("replica"), Verdict::Move),
            (Question::Hello, "-NOPERM no\r\n".to_owned(), Verdict::Ask(Question::Role)),
            (Question::Role, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned(), Verdict::Stay),
            (Question::Role, "*1\r\n$5\r\nslave\r\n".to_owned(), Verdict::Move),
            (Question::Role, "-NOPERM no\r\n".to_owned(), Verdict::Move),
            (Question::Ping, "+PONG\r\n".to_owned(), Verdict::Stay),
            (Question::Ping, "-LOADING a\r\n".to_owned(), Verdict::Move),
            (Question::Ping, "-MASTERDOWN a\r\n".to_owned(), Verdict::Move),
            (Question::Ping, "-NOPERM a\r\n".to_owned(), Verdict::Stay),
        ];
        for (question, reply, verdict) in cases {
            assert_eq!(question.judge(reply.as_bytes(), Protocol::Resp2), verdict, "{reply}");
        }
    }

    #[test]
    fn primary_is_asked_for_one_at_a_time_and_ever_less_often() {
        let opened_at = crate::base::clock::now();
        let mut suspicion = Suspicion::new(opened_at);
        suspicion.note_sign(Sign::ReadOnly);
        assert_eq!(suspicion.question(opened_at), None, "too early");
        assert!(suspicion.is_waiting());
        let mut now = opened_at + limits::PRIMARY_CHECK_INTERVAL_MIN;
        for pause in [1, 2, 4, 8, 8] {
            assert_eq!(suspicion.question(now), Some(Question::Hello));
            suspicion.note_sign(Sign::NotServing);
            assert_eq!(suspicion.question(now), None, "one is in flight");
            let forged = b"*2\r\n+role\r\n+master\r\n";
            assert_eq!(suspicion.take_answer(forged, Protocol::Resp2, now), Verdict::Stay);
            suspicion.note_sign(Sign::ReadOnly);
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            assert_eq!(suspicion.question(now), None);
            now += Duration::from_millis(1);
        }
    }
}
