//! Bounds of what one client, and all of them, can make respgate keep or wait for.
//!
//! Owns: the numbers. Never knows: configuration.

use std::time::Duration;

use super::protocol::READ_BYTES;

/// Time for which the command of a closed client counts as concurrent work where no other limit
/// ends it.
pub(crate) const ABANDONED_WORK_TIMEOUT: Duration = Duration::from_secs(300);
/// A client whose certificate is not good any more has this long until its outstanding replies must have arrived.
pub(crate) const CERTIFICATE_GRACE: Duration = Duration::from_secs(5);
/// Bytes that TLS keeps for one client: keys, one record each way, unsent output.
pub(crate) const CLIENT_TLS_BYTES: usize = 32 * 1024;
/// Plain bytes that are encrypted at once: one record.
pub(crate) const CLIENT_TLS_WRITE_BYTES: usize = 16 * 1024;
/// A client that keeps less than this is not closed to make room: closing it would free next to
/// nothing.
pub(crate) const EVICTION_BYTES_MIN: usize = 4 * 1024;
/// A client that has not moved a byte for this long counts twice when the largest is closed to
/// make room.
pub(crate) const EVICTION_IDLE_TIME: Duration = Duration::from_millis(100);
/// Bytes that a TLS handshake with a client keeps.
pub(crate) const HANDSHAKE_BYTES: usize = 48 * 1024;
/// Keys of one command that are counted as hot keys.
pub(crate) const COUNTED_KEYS_MAX: usize = 32;
/// Clients that the kernel keeps connected until they are accepted; `net.core.somaxconn` bounds it (Redis: `tcp-backlog`,
/// 511). With more, a further one waits a second or longer on TCP, and is refused on a Unix socket.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;
/// Pause after a failed accept (no file descriptors left).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Silence of a client on another machine before TCP keepalive probes it (Redis: `tcp-
/// keepalive`).
pub(crate) const CLIENT_KEEPALIVE: Duration = Duration::from_secs(300);
/// Places for notes on commands that stay allocated for an idle client.
pub(crate) const NOTES_KEPT: usize = 16;
/// Bytes for keys of commands that stay allocated for an idle client.
pub(crate) const NOTE_KEY_BYTES_KEPT: usize = 512;
/// Bytes of keys from which on those of answered commands are removed.
pub(crate) const NOTE_KEY_BYTES_SWEPT: usize = 4096;
/// Pause after a search for clients to close that found none.
pub(crate) const EVICTION_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Capacity of the buffer for edited requests that is kept for the next request.
pub(crate) const EDITED_REQUEST_BYTES_KEPT: usize = 64 * 1024;
/// Bytes that the allocator adds to a small piece of memory.
pub(crate) const ALLOCATION_BYTES: usize = 16;
/// Nesting of a JSON value that is checked: one bit of a `u128` for each level.
pub(crate) const JSON_DEPTH_MAX: u32 = u128::BITS;
/// Bytes of a key pattern that is compared with another; a longer one counts as matching every
/// name.
pub(crate) const COMPARED_PATTERN_BYTES_MAX: usize = 1024;
/// Bytes of a reply that is collected to remove names from it; a longer one becomes an error.
pub(crate) const HIDDEN_LIST_BYTES_MAX: usize = 4 << 20;
/// Bytes of a server's report (INFO and similar) that is collected to edit it; a longer one
/// becomes an error.
pub(crate) const SERVER_REPORT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line of a server's CLIENT LIST.
pub(crate) const CLIENT_LINE_BYTES_MAX: usize = 4096;
/// Bytes of what respgate itself answers about clients to one request, and to all of one transaction.
pub(crate) const CLIENT_ANSWER_BYTES_MAX: usize = 32 << 20;
/// Clients that all commands of one transaction look at to find those that they name: some milliseconds.
pub(crate) const SEARCHED_CLIENTS_MAX: usize = 200_000;
/// Clients from which on a request that looks for more of them pauses.
pub(crate) const SEARCHED_CLIENTS_PER_TURN: usize = 4096;
/// Length of that pause, in which other clients are served.
pub(crate) const CLIENT_SEARCH_PAUSE: Duration = Duration::from_millis(1);
/// Fields of one line of a server's CLIENT LIST.
pub(crate) const CLIENT_LINE_FIELDS_MAX: usize = 96;
/// Limiters of closed connections that are kept for each listener and policy until they are
/// refilled.
pub(crate) const LIMITERS_KEPT_MAX: usize = 1024;
/// Bytes kept of the server's error for a queued command, by its session and by its connection.
pub(crate) const QUEUED_ERROR_BYTES_MAX: usize = 512;
/// Bytes of an error that may be its code, its first byte and the space behind it: the longest known has 12.
pub(crate) const ERROR_CODE_BYTES_MAX: usize = 32;
/// Places of the reply queue that stay allocated for an idle session.
pub(crate) const REPLY_PLACES_KEPT: usize = 16;
/// Wait of a script until the server has answered about its Lua.
pub(crate) const LUA_FACTS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two checks of a waiting script.
pub(crate) const LUA_FACTS_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Scripts whose texts are cached to answer NOSCRIPT.
pub(crate) const CACHED_SCRIPTS_MAX: usize = 128;
/// Bytes of the cached scripts together.
pub(crate) const CACHED_SCRIPT_BYTES_MAX: usize = 1 << 20;
/// Names (with guards) of one cached script.
pub(crate) const CACHED_SCRIPT_NAMES_MAX: usize = 4;
/// Scripts that a session remembers to have run.
pub(crate) const SEEN_SCRIPTS_MAX: usize = 16;
/// Requests of a session that may be in flight before its first reply.
pub(crate) const WINDOW_START: usize = 32;
/// Bytes of replies that a session may have in flight on a shared connection, if the next ones are as large as the last.
pub(crate) const REPLIES_IN_FLIGHT_BYTES_MAX: usize = 512 * 1024;
/// Commands after a large reply for which a session stays on a pinned connection.
pub(crate) const LARGE_REPLY_COMMANDS: u8 = 64;
/// Wait until the target client of CLIENT TRACKING has a pinned connection.
pub(crate) const TRACKING_TARGET_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two checks whether the target of CLIENT TRACKING has a pinned connection.
pub(crate) const TRACKING_TARGET_CHECK_INTERVAL: Duration = Duration::from_millis(2);
/// Longest delay of the answer to a wrong password.
pub(crate) const WRONG_LOGIN_DELAY_MAX: Duration = Duration::from_secs(1);
/// Silence after which a client returns the pinned connection that it keeps for large replies
/// alone.
pub(crate) const LARGE_REPLY_LEASE_IDLE: Duration = Duration::from_secs(1);
/// Unread bytes of a client above which its pinned connection is not read.
pub(crate) const LEASE_UNREAD_BYTES_MAX: usize = 256 * 1024;
/// Unsent bytes of a large request above which its client is not read.
pub(crate) const LEASE_UNSENT_BYTES_MAX: usize = 128 * 1024;
/// Bytes from which on a round counts as one of bulk transfer: one TLS record.
pub(crate) const BULK_ROUND_BYTES: usize = 16 * 1024;
/// Bytes within one time limit below which a transfer counts as stalled.
pub(crate) const PROGRESS_BYTES_MIN: usize = 16 * 1024;
/// Silence up to which a peer that takes nothing may be busy with sending.
pub(crate) const PEER_BUSY_TIME: Duration = Duration::from_millis(50);
/// Bytes kept for a client whose next request has to wait.
pub(crate) const PENDING_BYTES_MAX: usize = READ_BYTES;
/// Time that a closing client has to read its last replies.
pub(crate) const LAST_REPLIES_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause of a bulk transfer between its rounds.
pub(crate) const BULK_PAUSE: Duration = Duration::from_millis(1);
/// TLS sessions of applications that a listener can resume.
pub(crate) const CLIENT_TLS_SESSIONS_MAX: usize = 1024;
/// Names of a client's certificate that are compared.
pub(crate) const PEER_NAMES_MAX: usize = 64;
/// Bytes of a name in a client's certificate that is compared.
pub(crate) const PEER_NAME_BYTES_MAX: usize = 2048;
/// Time to write the error to a client for which there is no place.
pub(crate) const REFUSAL_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Wrong passwords that one listener answers at once, and in each [`WRONG_LOGINS_PERIOD`] after that.
pub(crate) const WRONG_LOGINS_MAX: u32 = 10;
/// Time in which a listener answers [`WRONG_LOGINS_MAX`] more wrong passwords.
pub(crate) const WRONG_LOGINS_PERIOD: Duration = Duration::from_secs(1);
