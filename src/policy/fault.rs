//! What is wrong with a key, a value or a time to live, and the words for it.
//!
//! Owns: [`ContentFault`], [`TtlFault`]. Never knows: how it was found.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::base::rule::Rule;
use crate::config::{Charset, Encoding, show_duration};

/// What is wrong with a key or a value. Sizes in bytes, limits included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentFault {
    KeyTooLong {
        bytes: u64,
        max: u64,
    },
    KeyPattern,
    KeyCharset(Charset),
    KeyDenied,
    ValueTooLong {
        bytes: u64,
        max: u64,
    },
    TooManyArguments {
        count: u64,
        max: u64,
    },
    ValueEncoding(Encoding),
    /// A pattern or prefix in it may mean denied keys.
    ReachesDenied,
    /// Denied keys may be among those that it shows or touches, whatever its arguments.
    TouchesDenied,
    /// The value would be that long at its key.
    ValueGrows {
        bytes: u64,
        max: u64,
    },
    /// The command writes a part of a value, or one that only the server reads.
    ValueUnseen(Encoding),
}

/// What is wrong with a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TtlFault {
    /// None is given, and options of the command could give one.
    Missing,
    /// The command cannot give one.
    NoTtlOption,
    /// The time to live would be removed.
    Ended,
    /// Another key's is taken over, which may have none.
    Inherited,
    /// The key is made in another database, out of reach.
    OtherDatabase,
    /// Longer than this many milliseconds.
    TooLong(u64),
}

impl ContentFault {
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::KeyTooLong { .. }
            | Self::KeyPattern
            | Self::KeyCharset(_)
            | Self::KeyDenied
            | Self::ReachesDenied
            | Self::TouchesDenied => Rule::Key,
            Self::ValueTooLong { .. }
            | Self::TooManyArguments { .. }
            | Self::ValueEncoding(_)
            | Self::ValueGrows { .. }
            | Self::ValueUnseen(_) => Rule::Value,
        }
    }

    pub(super) fn write(self, name: &str, out: &mut BytesMut) {
        let (begin, (is, advice)) = match self {
            Self::KeyTooLong { bytes, max } => {
                let is = format!("has {bytes} bytes");
                ("a key of '", (is, format!("at most {max} are allowed")))
            }
            Self::KeyPattern => {
                ("a key of '", own("does not match", "policy.keys.pattern has those that do"))
            }
            Self::KeyCharset(Charset::Utf8) => {
                ("a key of '", own("is not UTF-8", "write its text in UTF-8"))
            }
            Self::KeyCharset(Charset::Any | Charset::Printable) => (
                "a key of '",
                own("has bytes besides visible ASCII", "use printable ASCII without spaces"),
            ),
            Self::KeyDenied => {
                ("a key of '", own("is denied", "policy.keys.deny has the names that are"))
            }
            Self::ReachesDenied => (
                "'",
                own(
                    "may show or touch keys that are denied",
                    "give a pattern that no name of policy.keys.deny fits",
                ),
            ),
            Self::TouchesDenied => (
                "'",
                own(
                    "may show or touch keys that are denied",
                    "no form of it leaves out those of policy.keys.deny; SCAN does",
                ),
            ),
            Self::ValueGrows { bytes, max } => {
                let is = format!("makes a value of at least {bytes} bytes");
                ("'", (is, format!("at most {max} are allowed")))
            }
            Self::ValueUnseen(Encoding::Json) => {
                ("'", own("writes a value that cannot be seen to be JSON", "use SET"))
            }
            Self::ValueUnseen(Encoding::Any | Encoding::Utf8) => {
                ("'", own("writes a value that cannot be seen to be UTF-8", "use SET"))
            }
            Self::ValueTooLong { bytes, max } => {
                let is = format!("has {bytes} bytes");
                ("an argument of '", (is, format!("at most {max} are allowed")))
            }
            Self::TooManyArguments { count, max } => {
                let is = format!("has {count} arguments");
                ("'", (is, format!("at most {max} are allowed, send several commands")))
            }
            Self::ValueEncoding(Encoding::Json) => {
                ("a value of '", own("is not JSON", "write a JSON text in UTF-8"))
            }
            Self::ValueEncoding(Encoding::Any | Encoding::Utf8) => {
                ("a value of '", own("is not UTF-8", "write its text in UTF-8"))
            }
        };
        let rule = self.rule().label();
        put(out, &["NOPERM respgate: ", begin, name, "' ", &is, " (rule ", rule, "); ", &advice]);
    }
}

impl TtlFault {
    pub(super) fn write(self, name: &str, out: &mut BytesMut) {
        let (is, advice) = match self {
            Self::Missing => ("leaves a key without a time to live", "add EX with seconds"),
            Self::NoTtlOption => (
                "may leave a key without a time to live",
                "use a command that sets one, as SET key value EX seconds",
            ),
            Self::Ended => ("removes the time to live of a key", "use EXPIRE to set a longer one"),
            Self::Inherited => (
                "takes over the time to live of a key that may have none",
                "use a key to which the rule applies too",
            ),
            Self::OtherDatabase => (
                "makes a key in another database, where it may have no time to live",
                "leave out DB",
            ),
            Self::TooLong(_) => ("has a time to live that is too long", "the longest allowed is "),
        };
        put(out, &["NOPERM respgate: '", name, "' ", is, " (rule ttl); ", advice]);
        if let Self::TooLong(max) = self {
            put(out, &[&show_duration(Duration::from_millis(max))]);
        }
    }
}

fn own(is: &str, advice: &str) -> (String, String) {
    (is.to_owned(), advice.to_owned())
}

/// Writes pieces of a text.
pub(super) fn put(out: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        out.put_slice(part.as_bytes());
    }
}
