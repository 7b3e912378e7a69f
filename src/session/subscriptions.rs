//! What a frame on a subscribed connection is, and how many subscriptions live.
//!
//! Owns: [`Subscriptions`], [`classify`]. Never knows: channel names beyond their bytes, connections.

use super::client_text;
use crate::command::{Effect, Spec};
use crate::resp::number;
use crate::traffic::own;

/// The three families of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
    Shard,
}

/// How many subscriptions live on the pinned connection, as the server counts them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: u64,
    patterns: u64,
    shards: u64,
    /// Patterns of PSUBSCRIBE that are not acknowledged.
    asked: u64,
    /// SUBSCRIBE and UNSUBSCRIBE commands not fully acknowledged.
    pending: u32,
}

impl Subscriptions {
    pub(super) const NONE: Self =
        Self { channels: 0, patterns: 0, shards: 0, asked: 0, pending: 0 };

    pub(super) const fn any(&self) -> bool {
        self.channels + self.patterns + self.shards > 0
    }

    /// Whether a SUBSCRIBE or UNSUBSCRIBE is not fully acknowledged.
    pub(super) const fn is_pending(&self) -> bool {
        self.pending > 0
    }

    /// SUBSCRIBE or UNSUBSCRIBE with so many names was sent.
    pub(super) fn ask(&mut self, kind: Kind, subscribe: bool, names: u32) {
        debug_assert!(!subscribe || names > 0, "a subscription to nothing");
        self.pending += 1;
        if subscribe && kind == Kind::Pattern {
            self.asked = self.asked.saturating_add(u64::from(names));
        }
    }

    /// One of them is answered as a whole.
    pub(super) fn end_asked(&mut self) {
        debug_assert!(self.pending > 0, "nothing is to be acknowledged");
        self.pending = self.pending.saturating_sub(1);
    }

    /// How many patterns there are, or will be when all is acknowledged.
    pub(super) fn patterns_at_most(&self) -> usize {
        usize::try_from(self.patterns.saturating_add(self.asked)).unwrap_or(usize::MAX)
    }

    /// A number of names of a request are answered.
    pub(super) fn settle(&mut self, kind: Kind, subscribe: bool, names: u32) {
        if subscribe && kind == Kind::Pattern {
            self.asked = self.asked.saturating_sub(u64::from(names));
        }
    }

    pub(super) const fn count(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Channel => self.channels,
            Kind::Pattern => self.patterns,
            Kind::Shard => self.shards,
        }
    }

    /// Channels, patterns, shard channels.
    pub(super) const fn counts(&self) -> (u64, u64, u64) {
        (self.channels, self.patterns, self.shards)
    }

    /// Takes over the total of an acknowledgement: channels and patterns are counted together, shard
    /// channels by themselves (redis pubsub.c `clientSubscriptionsCount`).
    pub(super) const fn note(&mut self, kind: Kind, total: u64) {
        match kind {
            Kind::Channel => self.channels = total.saturating_sub(self.patterns),
            Kind::Pattern => self.patterns = total.saturating_sub(self.channels),
            Kind::Shard => self.shards = total,
        }
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(self.pending > 0 || self.asked == 0, "patterns are asked for by nothing");
    }

    /// Whether RESP2 permits the command while subscriptions live or are about to (redis server.c
    /// `processCommand`).
    pub(super) fn allows(&self, spec: &Spec) -> bool {
        (!self.any() && self.pending == 0)
            || matches!(
                spec.effect,
                Effect::Subscribe | Effect::Unsubscribe | Effect::Quit | Effect::Reset
            )
            || (spec.effect == Effect::Ping && self.pending == 0)
    }
}

pub(super) fn modal_refusal(spec: &Spec) -> String {
    client_text::only_subscribed(spec.name)
}

/// What a frame on a connection with subscriptions is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// `total`: subscriptions left, as the server counts them.
    Ack { kind: Kind, subscribe: bool, total: u64 },
    /// Something published.
    Message,
    /// Another push, or a plain reply.
    Other,
}

/// Reads the first element of an array or push, and the last number of an acknowledgement.
pub(super) fn classify(frame: &[u8]) -> Frame {
    let Some(word) = first_bulk(frame) else { return Frame::Other };
    let (kind, subscribe) = match word {
        b"message" | b"pmessage" | b"smessage" => return Frame::Message,
        b"subscribe" => (Kind::Channel, true),
        b"unsubscribe" => (Kind::Channel, false),
        b"psubscribe" => (Kind::Pattern, true),
        b"punsubscribe" => (Kind::Pattern, false),
        b"ssubscribe" => (Kind::Shard, true),
        b"sunsubscribe" => (Kind::Shard, false),
        _ => return Frame::Other,
    };
    match last_integer(frame) {
        Some(total) => Frame::Ack { kind, subscribe, total },
        None => Frame::Other,
    }
}

fn first_bulk(frame: &[u8]) -> Option<&[u8]> {
    let mut lines = frame.splitn(4, |&byte| byte == b'\n');
    let header = lines.next()?;
    if !matches!(header, b"*3\r" | b">3\r" | b"*4\r" | b">4\r") {
        return None;
    }
    if !lines.next()?.starts_with(b"$") {
        return None;
    }
    lines.next()?.strip_suffix(b"\r")
}

fn last_integer(frame: &[u8]) -> Option<u64> {
    let body = frame.strip_suffix(b"\r\n")?;
    let start = body.iter().rposition(|&byte| byte == b'\n')?;
    let digits = body.get(start + 1..)?.strip_prefix(b":")?;
    u64::try_from(number::parse_i64(digits)?).ok()
}

/// A line of MONITOR: `+1700000000.123456 [0 127.0.0.1:1] "get" "k"`.
pub(super) fn is_monitor_line(frame: &[u8]) -> bool {
    matches!(frame, [b'+', digit, ..] if digit.is_ascii_digit())
}

/// A line of MONITOR about a request of respgate's own.
pub(super) fn is_own_line(frame: &[u8]) -> bool {
    let Some(end) = frame.iter().position(|byte| *byte == b']') else { return false };
    let words = frame.get(end + 2..).and_then(|words| words.strip_suffix(b"\r\n"));
    words.is_some_and(|words| {
        own::begins(words.split(|byte| *byte == b'"').nth(1).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_distinguished() {
        let check =
            |frame: &str, want: Frame| assert_eq!(classify(frame.as_bytes()), want, "{frame:?}");
        let ack = |kind, subscribe, total| Frame::Ack { kind, subscribe, total };
        check("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", ack(Kind::Channel, true, 1));
        check(">3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:12\r\n", ack(Kind::Pattern, true, 12));
        check("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", ack(Kind::Channel, false, 0));
        check(">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n", ack(Kind::Shard, false, 0));
        check("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n:1\r\n", Frame::Message);
        check("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nx\r\n", Frame::Message);
        check(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", Frame::Other);
        check("*2\r\n$4\r\npong\r\n$0\r\n\r\n", Frame::Other);
        check("+OK\r\n", Frame::Other);
        check("*3\r\n$9\r\nsubscribe\r\n$3\r\na\r\n\r\n", Frame::Other);
    }

    #[test]
    fn lines_about_respgates_own_logins_are_known() {
        let line = |words: &str| format!("+1700000000.123456 [0 127.0.0.1:1] {words}\r\n");
        for (words, own) in [
            ("\"hElLo\" \"3\" \"SETNAME\" \"respgate\"", true),
            (
                "\"hElLo\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"respgate\"",
                true,
            ),
            ("\"cLiEnT\" \"SETINFO\" \"LIB-NAME\" \"respgate\"", true),
            ("\"pInG\"", true),
            ("\"CLIENT\" \"SETINFO\" \"LIB-NAME\" \"respgate\"", false),
            ("\"PING\"", false),
            ("\"SET\" \"pInG\" \"1\"", false),
            ("\"HELLO\" \"3\"", false),
            ("\"hello\" \"3\" \"SETNAME\" \"respgate\"", false),
            ("\"SET\" \"a\" \"SETNAME\" \"respgate\"", false),
        ] {
            assert_eq!(is_own_line(line(words).as_bytes()), own, "{words}");
        }
        assert!(!is_own_line(b"+OK\r\n"));
    }

    #[test]
    fn counts_follow_the_server() {
        let mut s = Subscriptions::default();
        s.note(Kind::Channel, 1);
        s.note(Kind::Channel, 2);
        s.note(Kind::Pattern, 3);
        s.note(Kind::Shard, 1);
        assert_eq!(
            (s.count(Kind::Channel), s.count(Kind::Pattern), s.count(Kind::Shard)),
            (2, 1, 1)
        );
        s.note(Kind::Channel, 2);
        s.note(Kind::Channel, 1);
        s.note(Kind::Pattern, 0);
        assert!(s.any());
        s.note(Kind::Shard, 0);
        assert!(!s.any());
    }
}
