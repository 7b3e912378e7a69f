//! What is wrong with bytes that are not RESP, in the server's own words.
//!
//! Owns: [`ProtocolError`], [`ReplyError`]. Never knows: sockets, logs.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A client's bytes are not a request. Nothing that follows on this connection can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    pub kind: Violation,
}

/// The rule that a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The number behind `*` is not one, or too large.
    MultibulkLength,
    /// The number behind `$` is not one, negative, or too large.
    BulkLength,
    /// Where an argument must begin there is this byte instead of `$`.
    ExpectedBulk(u8),
    /// More arguments than a client may send before it is known.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it is known.
    UnauthenticatedBulkLength,
    /// More arguments than the configuration permits: this many.
    TooManyArguments(u32),
    /// A request that may be collected neither whole nor in part.
    TooBigRequest,
    /// The line with the number of arguments does not end.
    TooBigCount,
    /// The line with the length of an argument does not end.
    TooBigLength,
    /// An inline command without an end.
    TooBigInline,
    /// An inline command whose quotes do not match.
    UnbalancedQuotes,
    /// `POST` or `Host:`: a browser was made to connect to this port (Redis: `securityWarningCommand`).
    /// The connection closes without a reply.
    CrossProtocol,
}

impl ProtocolError {
    pub(super) const fn new(kind: Violation) -> Self {
        Self { kind }
    }

    /// The text behind `-ERR `; Redis's own wherever Redis has one (networking.c), and without CR
    /// and LF.
    #[must_use]
    pub fn message(&self) -> Cow<'static, [u8]> {
        Cow::Borrowed(match self.kind {
            Violation::MultibulkLength => b"Protocol error: invalid multibulk length",
            Violation::BulkLength => b"Protocol error: invalid bulk length",
            Violation::ExpectedBulk(byte) => {
                let got = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
                let text: &[&[u8]] = &[b"Protocol error: expected '$', got '", &[got], b"'"];
                return Cow::Owned(text.concat());
            }
            Violation::UnauthenticatedMultibulkLength => {
                b"Protocol error: unauthenticated multibulk length"
            }
            Violation::UnauthenticatedBulkLength => b"Protocol error: unauthenticated bulk length",
            Violation::TooManyArguments(max) => {
                let text = "Protocol error: invalid multibulk length: limits.max_args is";
                return Cow::Owned(format!("{text} {max}").into_bytes());
            }
            Violation::TooBigRequest => b"Protocol error: too big request",
            Violation::TooBigCount => b"Protocol error: too big mbulk count string",
            Violation::TooBigLength => b"Protocol error: too big bulk count string",
            Violation::TooBigInline => b"Protocol error: too big inline request",
            Violation::UnbalancedQuotes => b"Protocol error: unbalanced quotes in request",
            Violation::CrossProtocol => b"Protocol error: HTTP request",
        })
    }

    /// Whether a browser was made to connect to this port: it gets no answer.
    #[must_use]
    pub fn is_cross_protocol(&self) -> bool {
        self.kind == Violation::CrossProtocol
    }

    /// The kind under which metrics count it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.kind {
            Violation::MultibulkLength | Violation::BulkLength | Violation::ExpectedBulk(_) => {
                "resp"
            }
            Violation::UnauthenticatedMultibulkLength
            | Violation::UnauthenticatedBulkLength
            | Violation::TooManyArguments(_)
            | Violation::TooBigRequest
            | Violation::TooBigCount
            | Violation::TooBigLength
            | Violation::TooBigInline => "too_large",
            Violation::UnbalancedQuotes => "inline",
            Violation::CrossProtocol => "http_smuggling",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl Error for ProtocolError {}

/// A server's bytes are not a reply. The begin of the next reply is unknown, so the
/// connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No type of RESP begins with this byte, or not at this place.
    Type(u8),
    /// A number or length is not one.
    Number,
    /// A number, a boolean, a null or a bulk is not followed by CRLF.
    LineEnd,
    /// A boolean that is neither true nor false.
    Scalar,
    /// More streams within streams than [`crate::base::limits::REPLY_STREAMS_MAX`].
    Depth,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(byte) => write!(f, "unexpected byte 0x{byte:02x} where a reply begins"),
            Self::Number => f.write_str("invalid number in a reply"),
            Self::LineEnd => f.write_str("expected CRLF in a reply"),
            Self::Scalar => f.write_str("invalid boolean in a reply"),
            Self::Depth => f.write_str("streamed types nested too deep in a reply"),
        }
    }
}

impl Error for ReplyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_that_was_got_ends_no_line() {
        for byte in 0..=255 {
            let message = ProtocolError::new(Violation::ExpectedBulk(byte)).message();
            assert!(!message.iter().any(|byte| matches!(byte, b'\r' | b'\n')), "{byte}");
        }
        let message = ProtocolError::new(Violation::ExpectedBulk(b':')).message();
        assert_eq!(&*message, b"Protocol error: expected '$', got ':'");
    }
}
