//! The types that a session and an upstream connection exchange, so that neither depends on the other.
//!
//! Owns: [`Outgoing`], [`Ticket`], [`PoolKey`], [`Skips`], [`Loss`] and what a client may make of one.
//! Never knows: sessions, connections.

use std::time::Instant;

use crate::resp::Protocol;

/// The first words of respgate's own requests, in a mix of cases that no client uses: servers accept any case, and
/// MONITOR's lines about them are known by them.
pub mod own {
    pub const ACL: &[u8] = b"aCl";
    pub const AUTH: &[u8] = b"aUtH";
    pub const CLIENT: &[u8] = b"cLiEnT";
    pub const COMMAND: &[u8] = b"cOmMaNd";
    pub const EVAL: &[u8] = b"eVaL";
    pub const EXEC: &[u8] = b"eXeC";
    pub const HELLO: &[u8] = b"hElLo";
    pub const MULTI: &[u8] = b"mUlTi";
    pub const PING: &[u8] = b"pInG";
    pub const ROLE: &[u8] = b"rOlE";
    pub const SELECT: &[u8] = b"sElEcT";
    pub const UNWATCH: &[u8] = b"uNwAtCh";

    /// Whether a request that begins with this word is one of them.
    #[must_use]
    pub fn begins(word: &[u8]) -> bool {
        [ACL, AUTH, CLIENT, COMMAND, EVAL, EXEC, HELLO, MULTI, PING, ROLE, SELECT, UNWATCH]
            .contains(&word)
    }
}

/// A request for a shared connection.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub ticket: Ticket,
    pub bytes: &'a [u8],
    pub skips: Skips,
    /// May be executed twice without harm.
    pub retry: bool,
    /// The request completes the one sent just before, and is repeated only together with it.
    pub companion: bool,
    /// Bytes that its session has in flight, this request among them.
    pub share: usize,
    pub at: Instant,
    /// The request is answered without the server while that cannot be reached: once an outage has lasted for
    /// `upstream.outage_wait` it is refused at once.
    pub eager: bool,
}

/// The number of a request within its session; replies are matched by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// The replies to one request that come before the one that counts: that to MULTI and those to queued commands, or
/// to what respgate sends ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skips(u32);

impl Skips {
    pub(crate) const NONE: Self = Self(0);
    /// The first one answers MULTI.
    const TRANSACTS: u32 = !(u32::MAX >> 1);

    /// The replies to so many requests that are sent ahead.
    #[must_use]
    pub const fn ahead(due: u32) -> Self {
        debug_assert!(due < Self::TRANSACTS, "no request is so long");
        Self(due)
    }

    /// The replies to MULTI and to what is queued behind it.
    #[must_use]
    pub const fn of_transaction(due: u32) -> Self {
        debug_assert!(due > 0 && due < Self::TRANSACTS, "a transaction begins with MULTI");
        Self(due | Self::TRANSACTS)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0 & !Self::TRANSACTS
    }

    const fn transact(self) -> bool {
        self.0 >= Self::TRANSACTS
    }
}

/// How many of [`Skips`] have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    due: u32,
    seen: u32,
    transacts: bool,
    refused: bool,
}

impl Skipped {
    #[inline(always)]
    pub(crate) const fn none_of(skips: Skips) -> Self {
        Self { due: skips.count(), seen: 0, transacts: skips.transact(), refused: false }
    }

    /// Whether what counts is the answer to EXEC.
    #[inline(always)]
    pub(crate) const fn transacts(self) -> bool {
        self.transacts
    }

    /// Whether the next reply is one of them.
    #[inline(always)]
    pub(crate) const fn are_due(self) -> bool {
        self.seen < self.due
    }

    pub(crate) const fn have_begun(self) -> bool {
        self.seen > 0
    }

    /// One of them has come, or a piece of it.
    pub(crate) fn take(&mut self, kind: u8, done: bool) {
        debug_assert!(self.are_due(), "the reply that counts is not skipped");
        self.refused |= self.transacts && self.seen == 0 && kind != b'+';
        self.seen += u32::from(done);
    }

    /// Whether MULTI was refused: what follows did not run as a transaction.
    #[inline(always)]
    pub(crate) const fn are_refused(self) -> bool {
        self.refused
    }

    /// The replies to skip when the same request is sent again.
    pub(crate) const fn anew(self) -> Self {
        Self { seen: 0, refused: false, ..self }
    }
}

/// What two sessions must agree on to share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub protocol: Protocol,
    pub database: u32,
}

/// The kind and version of the server, as far as the server reports them; all zero where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    pub valkey: bool,
    pub major: u16,
    pub minor: u16,
}

impl Server {
    /// From the words of its answer to HELLO.
    #[must_use]
    pub fn named(name: &str, version: &str) -> Self {
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { valkey: name == "valkey", major: next(), minor: next() }
    }

    /// Whether the server has the features of this version of Redis, or of that of Valkey. A server that does not
    /// report its version counts as new.
    #[must_use]
    pub fn has(self, redis: (u16, u16), valkey: (u16, u16)) -> bool {
        let since = if self.valkey { valkey } else { redis };
        self.major == 0 || (self.major, self.minor) >= since
    }
}

/// Why a request will get no reply from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of it was sent; the reason is why the server cannot be reached.
    Unavailable(Unavailable),
    /// The request was sent and the connection ended: it may have been executed.
    OutcomeUnknown,
    /// The server did not answer in time: it may still be executed.
    TimedOut,
    /// The proxy gave it up before it was sent whole: it was not executed.
    Abandoned,
    /// The server refused MULTI and ran what was queued command by command.
    MultiRefused,
    /// The reply had begun and will never end.
    Truncated,
}

/// What is known of a request that gets no reply. This is decided here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server never had the whole of it: it may be sent again.
    NotExecuted,
    /// The server may have executed it, or may yet: only the application knows whether to repeat it.
    Unknown,
    /// No outage: the server is slow, or a limit or a rule is the reason.
    Refused,
}

impl Loss {
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            // All pinned connections, or all databases, are in use: the server is not to blame.
            Self::Unavailable(Unavailable::Exhausted)
            | Self::Abandoned
            | Self::MultiRefused
            | Self::TimedOut => Outcome::Refused,
            Self::Unavailable(_) => Outcome::NotExecuted,
            Self::OutcomeUnknown | Self::Truncated => Outcome::Unknown,
        }
    }

    /// What becomes of a request that was not sent whole, on the connection of one session, when one that was is
    /// lost so: it was not executed.
    #[must_use]
    pub const fn of_unsent(self) -> Self {
        match self {
            Self::OutcomeUnknown | Self::Truncated => Self::Unavailable(Unavailable::Connect),
            // The server is slow, or the client: it is no outage.
            Self::TimedOut | Self::MultiRefused => Self::Abandoned,
            Self::Unavailable(_) | Self::Abandoned => self,
        }
    }

    /// Whether the server could not be reached, or not any more: with `on_outage = "close"` the
    /// client's connection ends, as it would at a server that dies.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(self.outcome(), Outcome::NotExecuted | Outcome::Unknown)
    }
}

/// Why no connection to the server can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    Resolve,
    Connect,
    Tls,
    Auth,
    Timeout,
    /// The server answers, but not as it should.
    Protocol,
    /// The server is there and reads its data, or waits for its primary.
    Loading,
    /// Every pinned connection is taken.
    Exhausted,
    /// The queue to the server is full.
    Overloaded,
}

impl Unavailable {
    /// A word for logs, metrics and the client's error.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "dns",
            Self::Connect => "tcp",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Loading => "loading",
            Self::Exhausted => "exhausted",
            Self::Overloaded => "overloaded",
        }
    }
}

/// What the server reports of itself in its answer to HELLO; empty where it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `redis`, `valkey`.
    pub server: String,
    pub version: String,
    /// `standalone`, `sentinel`, `cluster`.
    pub mode: String,
    /// `master`, `replica`.
    pub role: String,
    /// The list of modules, ready to be part of a reply in RESP2 …
    pub modules_resp2: Vec<u8>,
    /// … and in RESP3.
    pub modules_resp3: Vec<u8>,
    /// Where it is; Valkey reports it when that is configured.
    pub availability_zone: Option<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            server: String::new(),
            version: String::new(),
            mode: String::new(),
            role: String::new(),
            modules_resp2: b"*0\r\n".to_vec(),
            modules_resp3: b"*0\r\n".to_vec(),
            availability_zone: None,
        }
    }
}

impl Facts {
    /// The server that has answered.
    #[must_use]
    pub fn product(&self) -> Server {
        Server::named(&self.server, &self.version)
    }
}

/// Why a shared connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    Loss(Loss),
    /// The server refused SELECT with this line, without `-` and CRLF.
    Refused(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_counted_by_whole_replies_and_only_the_first_can_refuse() {
        let transaction = Skips::of_transaction(2);
        for (begin, first, refused) in
            [(transaction, b'+', false), (transaction, b'-', true), (Skips::ahead(2), b'-', false)]
        {
            let mut skips = Skipped::none_of(begin);
            skips.take(first, false);
            assert!(!skips.have_begun() && skips.are_refused() == refused, "half a reply");
            skips.take(first, true);
            assert!(skips.have_begun() && skips.are_due());
            skips.take(b'-', true);
            assert!(!skips.are_due() && skips.transacts() == (begin == transaction));
            assert_eq!(skips.are_refused(), refused, "a queued command is not MULTI");
            assert_eq!(skips.anew(), Skipped::none_of(begin));
        }
        assert!(!Skipped::none_of(Skips::NONE).are_due());
        assert_eq!(transaction.count(), 2);
    }

    #[test]
    fn outcome_of_what_was_not_sent_is_never_unknown() {
        for (loss, outage) in [
            (Loss::OutcomeUnknown, true),
            (Loss::Truncated, true),
            (Loss::TimedOut, false),
            (Loss::Abandoned, false),
            (Loss::MultiRefused, false),
            (Loss::Unavailable(Unavailable::Loading), true),
        ] {
            let unsent = loss.of_unsent();
            assert_ne!(unsent.outcome(), Outcome::Unknown, "{loss:?}");
            assert_ne!(unsent, Loss::TimedOut, "it does not run any more");
            assert_eq!(unsent.is_outage(), outage, "{loss:?}");
        }
    }

    #[test]
    fn outcome_is_unknown_once_all_was_sent_and_an_outage_is_not_a_slow_reply() {
        let unavailable = |why| Loss::Unavailable(why);
        for (loss, outcome, outage) in [
            (unavailable(Unavailable::Connect), Outcome::NotExecuted, true),
            (unavailable(Unavailable::Loading), Outcome::NotExecuted, true),
            (unavailable(Unavailable::Overloaded), Outcome::NotExecuted, true),
            (unavailable(Unavailable::Exhausted), Outcome::Refused, false),
            (Loss::OutcomeUnknown, Outcome::Unknown, true),
            (Loss::Truncated, Outcome::Unknown, true),
            (Loss::TimedOut, Outcome::Refused, false),
            (Loss::Abandoned, Outcome::Refused, false),
            (Loss::MultiRefused, Outcome::Refused, false),
        ] {
            assert_eq!((loss.outcome(), loss.is_outage()), (outcome, outage), "{loss:?}");
        }
    }
}
