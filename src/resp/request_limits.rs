//! What a client may send, and which of the limits a number in its bytes exceeds.
//!
//! Owns: [`RequestLimits`]. Never knows: where the numbers are, configuration.

use super::error::{ProtocolError, Violation};
use crate::base::limits;

/// What a client may send. Every bound is at most the one of the same name in [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Arguments of a request.
    pub max_args: u32,
    /// A longer bulk is skipped ([`super::Scan::Oversize`]), not stored.
    pub max_bulk_bytes: u64,
    /// An inline command or the line of a number, without its end.
    pub max_inline_bytes: usize,
    /// A bulk of at least this length is announced before it arrives ([`super::Scan::Head`]).
    pub large_bytes: u64,
    /// Before it is, arguments are bounded as in Redis 7 (networking.c).
    pub authenticated: bool,
}

impl RequestLimits {
    /// Nothing is refused but what the protocol itself refuses: for requests that were accepted before, or are only
    /// looked at.
    pub const NONE: Self = Self {
        max_args: limits::REQUEST_ARGS_MAX,
        max_bulk_bytes: limits::BULK_BYTES_MAX,
        max_inline_bytes: limits::INLINE_BYTES_MAX,
        large_bytes: u64::MAX,
        authenticated: true,
    };

    /// Whether a line of this length is too long although its end is here. The server takes it then;
    /// a lower limit holds for every line.
    pub(super) fn is_long_line(&self, length: usize) -> bool {
        length > self.max_inline_bytes && self.max_inline_bytes < limits::INLINE_BYTES_MAX
    }

    /// A shorter bulk is within every limit.
    #[inline(always)]
    pub(super) fn common_bulk_bytes(&self) -> usize {
        let limits = self.large_bytes.min(self.max_bulk_bytes);
        usize::try_from(limits.min(limits::UNAUTHENTICATED_BULK_BYTES_MAX)).unwrap_or(usize::MAX)
    }

    /// More arguments than the protocol's own limit are refused where they begin, since the server
    /// reads on until then; a lower limit is known from the count.
    pub(super) fn checked_count(&self, count: i64) -> Result<u32, ProtocolError> {
        debug_assert!(self.max_args <= limits::REQUEST_ARGS_MAX, "above the protocol's own");
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= limits::COUNT_MAX)
        else {
            return Err(ProtocolError::new(Violation::MultibulkLength));
        };
        if !self.authenticated && count > limits::UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::new(Violation::UnauthenticatedMultibulkLength));
        }
        if count > self.max_args && self.max_args < limits::REQUEST_ARGS_MAX {
            return Err(ProtocolError::new(Violation::TooManyArguments(self.max_args)));
        }
        Ok(count)
    }

    #[inline]
    pub(super) fn checked_length(&self, length: i64) -> Result<u64, ProtocolError> {
        let Some(length) =
            u64::try_from(length).ok().filter(|bytes| *bytes <= limits::BULK_BYTES_MAX)
        else {
            return Err(ProtocolError::new(Violation::BulkLength));
        };
        debug_assert!(
            self.max_inline_bytes <= limits::INLINE_BYTES_MAX,
            "above the protocol's own"
        );
        if !self.authenticated && length > limits::UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::new(Violation::UnauthenticatedBulkLength));
        }
        Ok(length)
    }
}
