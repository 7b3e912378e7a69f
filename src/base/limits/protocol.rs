//! Bounds of one request and one reply.
//!
//! Owns: the numbers. Never knows: configuration.

/// Arguments of one request.
pub(crate) const REQUEST_ARGS_MAX: u32 = 1_048_576;
/// A count of arguments that the protocol accepts at all (Redis: `INT_MAX`, networking.c).
pub(crate) const COUNT_MAX: u32 = 2_147_483_647;
/// A bulk length that the protocol accepts at all (Redis: `proto-max-bulk-len`).
pub(crate) const BULK_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// An inline command or a header line (Redis: `PROTO_INLINE_MAX_SIZE`).
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one request that may be collected in memory (Redis: `client-query-buffer-limit`).
pub(crate) const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Arguments of a request before authentication (Redis 7: networking.c).
pub(crate) const UNAUTHENTICATED_ARGS_MAX: u32 = 10;
/// Bytes of a bulk before authentication (Redis 7: networking.c).
pub(crate) const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16 * 1024;
/// Nesting of streamed types in a reply; other types may be nested without limit.
pub const REPLY_STREAMS_MAX: usize = 128;
/// Text of the client that an error repeats.
pub(crate) const ECHO_BYTES_MAX: usize = 128;
/// What is read from a socket at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// A reply that is decoded instead of passed on (HELLO, SENTINEL, acknowledgements).
pub(crate) const DECODED_REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Positions of arguments that a scanner keeps allocated between requests.
pub(crate) const REQUEST_SPANS_KEPT: usize = 64;
/// Nesting of a decoded reply; the decoder recurses.
pub(crate) const DECODED_REPLY_DEPTH_MAX: usize = 32;
