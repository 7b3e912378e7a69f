//! What a command does to the connection it travels on.
//!
//! Owns: [`Effect`], and how long a blocking command may wait. Never knows: sessions, connections.

use std::time::Duration;

use super::key_position::is_word;
use super::options::streams_begin;
use super::{Local, Spec};
use crate::resp::{Request, number};

/// What a command needs of the connection it travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing: any connection will do.
    Shared,
    /// Nothing, but the answer is another while the connection has subscriptions: `PING`.
    Ping,
    /// Nothing that stays, but the server may push something along with the reply (`DEBUG PROTOCOL
    /// push`), which no shared connection survives.
    Pushes,
    /// The answer is the proxy's to give: it is about the client's own connection.
    Local(Local),
    Auth,
    Hello,
    Reset,
    Quit,
    Select,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    /// May wait for others' writes; [`blocking`] finds whether and how long.
    Block(Timeout),
    /// Waits for replicas or the disk, and counts the connection's own writes.
    Wait,
    Subscribe,
    Unsubscribe,
    Monitor,
    /// Turns invalidations on.
    Tracking,
    /// Prepares the next command for them.
    Caching,
    /// Ends what holds up the server, or shows what does: it goes where nothing waits before it.
    Release,
    /// Makes the client a replica: SYNC and PSYNC turn the connection into a stream of all data,
    /// REPLCONF prepares it.
    Replicate {
        streams: bool,
    },
    /// Turns the connection into something that is not requests and replies, or leaves on it what
    /// no other connection can take over (`HIMPORT`): never forwarded.
    Never,
}

/// Where a request has the time that it may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// In seconds, in this argument.
    Argument(usize),
    /// In seconds, in the last argument.
    Last,
    /// In milliseconds, behind `BLOCK`: `XREAD`.
    Streams,
    /// Not known: a command that a configuration declares.
    Unknown,
}

impl Effect {
    /// Whether the connection is afterwards what it was before.
    #[must_use]
    pub const fn leaves_nothing(self) -> bool {
        matches!(self, Self::Shared | Self::Ping | Self::Pushes)
    }

    /// The local command, if the proxy answers it.
    #[must_use]
    pub const fn local(self) -> Option<Local> {
        if let Self::Local(local) = self { Some(local) } else { None }
    }
}

/// How long a request may hold up its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    No,
    For(Duration),
    Forever,
}

/// How long a request may wait outside a transaction. In doubt it may: what is not all there yet,
/// or only some servers can read, counts as for ever; what every server refuses, as not at all.
#[must_use]
pub(crate) fn blocking(spec: &Spec, request: &Request<'_>) -> Blocking {
    let last = request.len().saturating_sub(1);
    let Effect::Block(limit) = spec.effect else {
        let waits = spec.effect == Effect::Wait;
        return if waits { timeout(request, last, milliseconds) } else { Blocking::No };
    };
    match limit {
        Timeout::Unknown => Blocking::Forever,
        Timeout::Streams => streams(request),
        Timeout::Argument(arg) => timeout(request, arg, seconds),
        Timeout::Last => timeout(request, last, seconds),
    }
}

fn timeout(request: &Request<'_>, arg: usize, read: fn(&[u8]) -> Blocking) -> Blocking {
    request.arg(arg).map_or(Blocking::Forever, read)
}

fn streams(request: &Request<'_>) -> Blocking {
    let mut found = Blocking::No;
    let parsed = streams_begin(request, |value| found = milliseconds(value));
    let mentioned = || request.args().any(|arg| is_word(arg, b"block"));
    if parsed.is_err() && mentioned() { Blocking::Forever } else { found }
}

/// timeout.c, `getTimeoutFromObjectOrReply` with `UNIT_MILLISECONDS`: a canonical integer.
fn milliseconds(value: &[u8]) -> Blocking {
    match number::parse_i64(value).map(u64::try_from) {
        Some(Ok(0)) => Blocking::Forever,
        Some(Ok(milliseconds)) => Blocking::For(Duration::from_millis(milliseconds)),
        Some(Err(_)) | None => Blocking::No,
    }
}

/// Redis timeout.c, `getTimeoutFromObjectOrReply` with `UNIT_SECONDS`: a decimal number, rounded up to
/// milliseconds. Some servers also read hexadecimal ones (`strtold`).
fn seconds(value: &[u8]) -> Blocking {
    let Ok(text) = str::from_utf8(value) else { return Blocking::No };
    let Ok(seconds) = text.parse::<f64>() else {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
        return if hexadecimal { Blocking::Forever } else { Blocking::No };
    };
    // The server rounds up to milliseconds before it looks at the sign, in other numbers than ours:
    // what little is below zero counts as zero.
    if seconds > -0.002 && seconds <= 0.0 {
        return Blocking::Forever;
    }
    // Negative, not a number, or beyond the server's 63 bits of milliseconds.
    if seconds.is_nan() || seconds < 0.0 || seconds > i64::MAX as f64 / 1000.0 {
        return Blocking::No;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and below 2^63"
    )]
    let milliseconds = (seconds * 1000.0).ceil() as u64;
    Blocking::For(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::with_head;
    use crate::command::{Flags, Lookup, all, by_name, lookup};
    use crate::resp::RequestBuf;

    fn waits(line: &str) -> Blocking {
        let request = RequestBuf::from_args(line.split(' '));
        let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{line}") };
        blocking(spec, &request.as_request())
    }

    fn milliseconds(milliseconds: u64) -> Blocking {
        Blocking::For(Duration::from_millis(milliseconds))
    }

    #[test]
    fn timeouts_in_seconds() {
        assert_eq!(waits("BLPOP a b 0"), Blocking::Forever);
        assert_eq!(waits("BLPOP a b 0.0"), Blocking::Forever);
        assert_eq!(waits("BRPOP a 1.5"), milliseconds(1500));
        assert_eq!(waits("BZPOPMIN a 1e1"), milliseconds(10_000));
        assert_eq!(waits("BZPOPMAX a .0001"), milliseconds(1));
        assert_eq!(waits("BLMOVE a b LEFT RIGHT 2"), milliseconds(2000));
        assert_eq!(waits("BLMOVEM a b LEFT LEFT 2 COUNT 9 BULK"), milliseconds(2000));
        assert_eq!(waits("BRPOPLPUSH a b 3"), milliseconds(3000));
        assert_eq!(waits("BLMPOP 4 1 9 LEFT"), milliseconds(4000));
        assert_eq!(waits("BZMPOP 0 1 9 MIN"), Blocking::Forever);
        for refused in ["-1", "x", "", "nan", "inf", "1e300", "1\t", "1x"] {
            assert_eq!(waits(&format!("BLPOP a {refused}")), Blocking::No, "{refused:?}");
        }
        assert_eq!(waits("BLPOP a 0x1p3"), Blocking::Forever);
        for rounded in ["-0", "-0.0005", "-1e-9", "-0.001"] {
            assert_eq!(waits(&format!("BLPOP a {rounded}")), Blocking::Forever, "{rounded}");
        }
    }

    #[test]
    fn timeouts_in_milliseconds() {
        assert_eq!(waits("WAIT 1 100"), milliseconds(100));
        assert_eq!(waits("WAIT 1 0"), Blocking::Forever);
        assert_eq!(waits("WAITAOF 1 1 7"), milliseconds(7));
        assert_eq!(waits("WAIT 1 1.5"), Blocking::No);
        assert_eq!(waits("WAIT 1 -1"), Blocking::No);
    }

    #[test]
    fn stream_reads_block_only_when_asked() {
        assert_eq!(waits("XREAD STREAMS k $"), Blocking::No);
        assert_eq!(waits("XREAD BLOCK 0 STREAMS k $"), Blocking::Forever);
        assert_eq!(waits("XREAD COUNT 2 block 5 STREAMS k $"), milliseconds(5));
        assert_eq!(waits("XREAD STREAMS BLOCK 0"), Blocking::No);
        assert_eq!(waits("XREADGROUP GROUP BLOCK 7 NOACK STREAMS k >"), Blocking::No);
        assert_eq!(waits("XREADGROUP GROUP g c BLOCK 7 NOACK STREAMS k >"), milliseconds(7));
        assert_eq!(waits("XREAD BLOCK -1 STREAMS k $"), Blocking::No);
        // Options that are not known here may be known there.
        assert_eq!(waits("XREAD NEW 1 BLOCK 7 STREAMS k $"), Blocking::Forever);
        assert_eq!(waits("GET k"), Blocking::No);
    }

    #[test]
    fn missing_timeout_counts_as_for_ever() {
        let spec = by_name("blpop").unwrap();
        let waits = with_head("BLPOP k", 4, |request| blocking(spec, request));
        assert_eq!(waits, Blocking::Forever);
    }

    #[test]
    fn effects() {
        for (name, effect) in [
            ("get", Effect::Shared),
            ("client|id", Effect::Local(Local::Id)),
            ("client|tracking", Effect::Tracking),
            ("client|caching", Effect::Caching),
            ("client|pause", Effect::Shared),
            ("asking", Effect::Local(Local::Asking)),
            ("ssubscribe", Effect::Subscribe),
            ("punsubscribe", Effect::Unsubscribe),
            ("script|kill", Effect::Release),
            ("client|unpause", Effect::Release),
            ("psync", Effect::Replicate { streams: true }),
            ("replconf", Effect::Replicate { streams: false }),
            ("script|debug", Effect::Never),
            ("script|load", Effect::Shared),
            ("xread", Effect::Block(Timeout::Streams)),
            ("waitaof", Effect::Wait),
        ] {
            assert_eq!(by_name(name).unwrap().effect, effect, "{name}");
        }
    }

    /// Commands that may be sent again although they do not read data.
    #[test]
    fn commands_besides_reads_that_may_be_executed_twice() {
        let other = all().iter().filter(|spec| {
            !spec.container && spec.may_repeat() && !spec.flags.has(Flags::READONLY)
        });
        let names = other.map(|spec| spec.name).filter(|name| !name.ends_with("|help"));
        let expected = "cluster|countkeysinslot cluster|getkeysinslot cluster|info cluster|keyslot \
             cluster|links cluster|myid cluster|myshardid cluster|nodes cluster|shards \
             cluster|slot-stats cluster|slots command|count command|docs command|getkeys \
             command|getkeysandflags command|info command|list echo info lastsave memory|doctor \
             memory|malloc-stats memory|purge memory|stats ping time";
        assert_eq!(names.collect::<Vec<_>>(), expected.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn commands_that_a_paused_server_holds() {
        let holds = |name: &str| by_name(name).unwrap().may_write();
        for name in ["set", "publish", "spublish", "pfcount", "eval", "fcall", "evalsha", "sort"] {
            assert!(holds(name), "{name}");
        }
        for name in ["get", "info", "ping", "eval_ro", "sort_ro", "script|load", "config|set"] {
            assert!(!holds(name), "{name}");
        }
    }

    /// What the server takes while a script holds it up must not wait behind that script.
    #[test]
    fn commands_allowed_while_busy_never_wait_on_a_shared_connection() {
        let waiting = all().iter().filter(|spec| spec.flags.has(Flags::ALLOW_BUSY));
        let waiting = waiting.filter(|spec| spec.effect.leaves_nothing());
        assert_eq!(waiting.map(|spec| spec.name).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
