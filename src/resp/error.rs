//! What is wrong with bytes that are not RESP, in the server's own words.
//!
//! Owns: [`ProtocolError`], [`ReplyError`]. Never knows: sockets, who is told.

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
    /// A CR that is not followed by LF, or a bulk that is not followed by CRLF.
    LineEnd,
    /// More arguments than a client may send before it is known.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it is known.
    UnauthenticatedBulkLength,
    /// A request that may be collected neither whole nor in part.
    TooBigRequest,
    /// An inline command without an end.
    TooBigInline,
    /// An inline command whose quotes do not match.
    UnbalancedQuotes,
    /// A NUL in an inline command: this is no text, most likely TLS.
    InlineNul,
    /// `POST` or `Host:`: a browser was made to speak to this port (Redis: `securityWarningCommand`).
    /// The connection closes without a reply.
    CrossProtocol,
}

impl ProtocolError {
    pub(super) const fn new(kind: Violation) -> Self {
        Self { kind }
    }

    /// The text behind `-ERR `; Redis's own wherever Redis has one (networking.c), and without
    /// control bytes.
    #[must_use]
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.kind {
            Violation::MultibulkLength => "Protocol error: invalid multibulk length",
            Violation::BulkLength => "Protocol error: invalid bulk length",
            Violation::ExpectedBulk(byte) => {
                let got = if byte.is_ascii_graphic() { char::from(byte) } else { ' ' };
                return Cow::Owned(format!("Protocol error: expected '$', got '{got}'"));
            }
            Violation::LineEnd => "Protocol error: expected CRLF",
            Violation::UnauthenticatedMultibulkLength => {
                "Protocol error: unauthenticated multibulk length"
            }
            Violation::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            Violation::TooBigRequest => "Protocol error: too big request",
            Violation::TooBigInline => "Protocol error: too big inline request",
            Violation::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Violation::InlineNul => "Protocol error: NUL in inline request",
            Violation::CrossProtocol => "Protocol error: HTTP request",
        })
    }

    /// Whether a browser was made to speak to this port: it gets no answer.
    #[must_use]
    pub fn is_cross_protocol(&self) -> bool {
        self.kind == Violation::CrossProtocol
    }

    /// The kind under which metrics count it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.kind {
            Violation::MultibulkLength
            | Violation::BulkLength
            | Violation::ExpectedBulk(_)
            | Violation::LineEnd => "resp",
            Violation::UnauthenticatedMultibulkLength
            | Violation::UnauthenticatedBulkLength
            | Violation::TooBigRequest
            | Violation::TooBigInline => "too_large",
            Violation::UnbalancedQuotes | Violation::InlineNul => "inline",
            Violation::CrossProtocol => "http_smuggling",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for ProtocolError {}

/// A server's bytes are not a reply. Nobody can tell where the next reply begins, so the
/// connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No type of RESP begins with this byte, or not at this place.
    Type(u8),
    /// A number or length is not one.
    Number,
    /// A line does not end with CRLF, or holds a CR or LF, or a bulk is not followed by CRLF.
    LineEnd,
    /// A boolean, a double or a big number that cannot be one.
    Scalar,
    /// Nested deeper than [`crate::base::limits::REPLY_DEPTH_MAX`].
    Depth,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(byte) => write!(f, "unexpected byte 0x{byte:02x} where a reply begins"),
            Self::Number => f.write_str("invalid number in a reply"),
            Self::LineEnd => f.write_str("expected CRLF in a reply"),
            Self::Scalar => f.write_str("invalid boolean, double or big number in a reply"),
            Self::Depth => f.write_str("reply nested too deep"),
        }
    }
}

impl Error for ReplyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_no_control_byte() {
        for byte in 0..=255 {
            let message = ProtocolError::new(Violation::ExpectedBulk(byte)).message();
            assert!(message.bytes().all(|b| (b' '..=b'~').contains(&b)), "{message}");
        }
        let message = ProtocolError::new(Violation::ExpectedBulk(b':')).message();
        assert_eq!(message, "Protocol error: expected '$', got ':'");
    }
}
