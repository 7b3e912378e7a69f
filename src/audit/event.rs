//! One event: what happened, to which client, and by which rule.
//!
//! Owns: [`Event`], [`Kind`], the members of an entry. Never knows: chain, sinks, which events are wanted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use serde::Serialize;

use super::rank::Rank;
use crate::base::terminal::escape_json;
use crate::base::utc::utc_micros;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A command was refused by a rule of the policy.
    Denied,
    /// A command passed that a rule would have refused if it were enforced.
    WouldBeDenied,
    /// A command of `audit.sensitive` passed.
    Sensitive,
    /// One of `audit.sample_every` commands.
    Sampled,
    /// AUTH, or HELLO with AUTH.
    Authentication,
    /// The server cannot be reached, and a client is answered according to its policy (`degraded`).
    Degraded,
    /// An operator changed something by an admin verb.
    Administration,
    Reload,
    ConnectionOpened,
    ConnectionClosed,
    Started,
    Stopped,
}

impl Kind {
    pub(super) const fn rank(self) -> Rank {
        match self {
            Self::Denied | Self::WouldBeDenied | Self::Sensitive | Self::Sampled => Rank::Command,
            Self::Authentication
            | Self::Degraded
            | Self::ConnectionOpened
            | Self::ConnectionClosed => Rank::Client,
            Self::Administration | Self::Reload | Self::Started | Self::Stopped => Rank::Operator,
        }
    }
}

/// The members of an entry; those that are absent are left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event<'a> {
    pub event: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<&'a str>,
    /// The number of the client on this respgate, as CLIENT ID returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The number of the system's user at the other end of a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What the certificate is called that the client has shown, and its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<&'a str>,
    /// The name that the client set by CLIENT SETNAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In the command table's words, with the subcommand: `config|set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'a str>,
    /// Arguments behind the command's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<usize>,
    /// In the form of `audit.keys`; at most eight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// The setting that decided, and its word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<&'a str>,
    /// Where the setting is written: file, line and column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// From the arrival of the command to the decision, microseconds: the entry is made before the
    /// command is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

impl Event<'_> {
    #[must_use]
    pub(crate) const fn new(event: Kind) -> Self {
        Self {
            event,
            result: None,
            listener: None,
            client: None,
            address: None,
            user: None,
            uid: None,
            certificate: None,
            fingerprint: None,
            name: None,
            command: None,
            arguments: None,
            keys: Vec::new(),
            database: None,
            policy: None,
            rule: None,
            setting: None,
            word: None,
            place: None,
            latency_us: None,
            detail: None,
        }
    }
}

/// An event as text, before a sink gives it its number and its chain value.
#[derive(Debug)]
pub(crate) struct Draft {
    /// 16 hexadecimal digits, which the client's error can repeat.
    pub id: String,
    /// The members, with the time and the id first, without braces.
    pub members: String,
}

impl Draft {
    #[must_use]
    pub(crate) fn new(event: &Event<'_>, id: u64, now: SystemTime) -> Self {
        let id = format!("{id:016x}");
        // Members are texts and numbers: writing them to memory does not fail.
        let object = serde_json::to_string(event).unwrap_or_default();
        let members = escape_json(object.trim_start_matches('{').trim_end_matches('}'));
        Self { members: format!("\"time\":\"{}\",\"id\":\"{id}\",{members}", utc_micros(now)), id }
    }

    /// What it costs to keep.
    #[must_use]
    pub(crate) const fn bytes(&self) -> usize {
        self.members.len() + self.id.len() + size_of::<Self>() + 64
    }
}

/// Ids of events: each is another, also after a restart.
#[derive(Debug)]
pub(super) struct Ids(AtomicU64);

impl Ids {
    /// `seed` is unpredictable.
    pub(super) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may crash")]
    use super::*;

    #[test]
    fn members_are_json_whatever_a_client_calls_itself() {
        let mut event = Event::new(Kind::Denied);
        event.name = Some("a\"b}\n{".to_owned());
        event.keys = vec!["x}".to_owned(), "\u{202e}a\u{2028}\u{9b}".to_owned()];
        let draft = Draft::new(&event, 0, SystemTime::UNIX_EPOCH);
        let line = format!("{{{}}}", draft.members);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!(read["event"], "denied", "{line}");
        assert_eq!(read["name"], "a\"b}\n{");
        assert_eq!(read["keys"][0], "x}");
        assert_eq!(read["keys"][1], "\u{202e}a\u{2028}\u{9b}");
        assert!(line.contains(r"\u202ea\u2028\u009b"), "{line}");
        assert_eq!(read["time"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(line.lines().count(), 1);
    }
}
