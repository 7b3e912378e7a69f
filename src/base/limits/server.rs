//! Bounds of connections to the server: queues, waits, retries, checks.
//!
//! Owns: the numbers. Never knows: configuration.

use std::time::Duration;

/// Pause after a server could not be asked for its commands.
pub(crate) const COMMANDS_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Servers whose TLS sessions are kept for resumption, by the names that they prove.
pub(crate) const UPSTREAM_TLS_SESSIONS_MAX: usize = 32;
/// Time of one attempt to connect before the next address is tried beside it (RFC 8305: 250 ms), unless all
/// attempts together have little time.
pub(crate) const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// Addresses that are all tried in the first half of the time that attempts have together.
pub(crate) const ADDRESSES_IN_TIME_MAX: usize = 8;
/// Time after a replica was found in which a primary is looked for at the other addresses.
pub(crate) const PRIMARY_WAIT: Duration = Duration::from_secs(1);
/// Addresses whose last outcome is remembered.
pub(crate) const KNOWN_ADDRESSES_MAX: usize = 64;
/// Empty buffers kept for reuse.
pub(crate) const SPARE_BUFFERS_MAX: usize = 256;
/// Capacity of a buffer that is kept for reuse.
pub(crate) const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Capacity of a queue of deliveries that is kept for reuse.
pub(crate) const SPARE_QUEUE_LEN_MAX: usize = 256;
/// Capacity of a new buffer before it grows.
pub(crate) const FRESH_BUFFER_BYTES: usize = 1024;
/// Bytes of waiting replies that each session may keep even when `memory_budget` is used up.
pub(crate) const FAIR_SHARE_BYTES: usize = 64 * 1024;
/// Time between two checks of a busy connection.
pub const BUSY_TICK: Duration = Duration::from_millis(25);
/// A task that wakes so long after its deadline reads its sockets before it judges. Above what a busy thread needs
/// for one turn of all its tasks; below every timeout that an operator sets.
pub(crate) const LATE_WAKE: Duration = Duration::from_millis(100);
/// How long it sleeps for that: the runtime's shortest timer is one millisecond.
pub(crate) const LATE_WAKE_PAUSE: Duration = Duration::from_millis(2);
/// Age from which on a connection proves that the server works, for backoff and breaker.
pub(crate) const CONNECTION_PROOF: Duration = Duration::from_secs(2);
/// Age from which on a request whose client has closed is dropped: one that was not sent, and one that was sent
/// and whose bytes the server's kernel has not acknowledged (`TCP_USER_TIMEOUT` of tcp(7)).
pub(crate) const ABANDONED_REQUEST_AGE: Duration = Duration::from_secs(1);
/// Bytes kept of the reply to one of respgate's own commands.
pub(crate) const PROBE_REPLY_BYTES_MAX: usize = 16 * 1024;
/// Logging in again on a connection in use; then the connection is replaced.
pub(crate) const RELOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the outstanding replies of a connection that is replaced.
pub(crate) const REPLACED_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed attempt to dial a successor.
pub(crate) const REPLACEMENT_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a server's BUSY (a running script) holds; it is asked every second.
pub(crate) const BUSY_SCRIPT_TIME: Duration = Duration::from_millis(1500);
/// Pause before a server that refused a login with BUSY (a running script) is dialed again; it doubles.
pub(crate) const BUSY_DIAL_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two such attempts.
pub(crate) const BUSY_DIAL_MAX: Duration = Duration::from_secs(1);
/// Longest pause before a server that does not have a database is dialed again for it.
pub(crate) const NO_DATABASE_DIAL_MAX: Duration = Duration::from_secs(1);
/// Databases of which it is known at once that the server does not have them.
pub(crate) const MISSING_DATABASES_MAX: usize = 16;
/// Highest `upstream.pool.max_handshakes`; a handshake costs the server about a millisecond of its one thread.
pub(crate) const UPSTREAM_HANDSHAKES_MAX: usize = 1024;
/// Highest `upstream.breaker.failures`.
pub(crate) const BREAKER_FAILURES_MAX: u32 = 1000;
/// Time within which `upstream.retry.budget` bounds what is sent again.
pub(crate) const RETRY_BUDGET_TIME: Duration = Duration::from_secs(10);
/// Commands that may be sent again within that time however few were sent: as many as one client may have
/// outstanding by default.
pub(crate) const RETRY_RESERVE: u64 = 1024;
/// The end of the year 9999, in seconds since 1970, after which no password ends.
pub(crate) const PASSWORD_END_MAX: Duration = Duration::from_secs(253_402_300_800);
/// Shortest time between two runs of `password_command`.
pub(crate) const PASSWORD_REFRESH_MIN: Duration = Duration::from_secs(1);
/// Time between two checks of the wall clock while a password waits for its replacement.
pub(crate) const PASSWORD_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Pause before `password_command` runs again because the server refused a password; it doubles.
pub(crate) const PASSWORD_REFUSED_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause between two runs caused by refused passwords.
pub(crate) const PASSWORD_REFUSED_RETRY_MAX: Duration = Duration::from_secs(30);
/// Pause before what `policy.ttl` adds to a write that was answered is sent again, which the server has refused for a
/// reason that passes; it doubles.
pub(crate) const COMPLETION_RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two such attempts.
pub(crate) const COMPLETION_RETRY_MAX: Duration = Duration::from_secs(2);
/// Unread bytes of one reply from which on a client counts as a slow reader.
pub(crate) const SLOW_READER_BYTES: usize = 2 * 1024 * 1024;
/// The part of `output_hard` from which on unread replies of a slow reader are too many for a connection that others
/// wait on: its next requests follow on one of its own.
pub(crate) const DETACHING_SHARE: usize = 4;
/// Sending the end of a connection to the server.
pub(crate) const SERVER_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that one pinned connection encrypts before other tasks get their turn.
pub(crate) const LEASE_WRITE_BYTES_MAX: usize = 64 * 1024;
/// Age of a reply that still arrives, from which on another connection carries what is behind it.
pub(crate) const STALL_REPLY_AGE: Duration = Duration::from_secs(2);
/// Age of a reply up to which others wait behind it for a client that is at its limit of unread replies. Longer than
/// [`STALL_REPLY_AGE`], so that whatever may move to another connection has moved before.
pub(crate) const FULL_READER_AGE: Duration = Duration::from_secs(3);
/// Bytes encrypted at once for the server: so many may have been sent when the connection fails meanwhile.
pub(crate) const TLS_WRITE_BYTES_MAX: usize = 128 * 1024;
/// Bytes read at once of replies whose client has closed.
pub(crate) const ABANDONED_READ_BYTES: usize = 4096;
/// Age below which what a server answers does not close a pooled connection.
pub(crate) const POOLED_CONNECTION_AGE_MIN: Duration = Duration::from_secs(1);
/// All answers of the server about its Lua together.
pub(crate) const LUA_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a server could not answer about its Lua.
pub(crate) const LUA_PROBE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Pause before a server on which scripts are refused is asked again.
pub(crate) const LUA_REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Unexpected answers about its Lua after which scripts are refused on a server.
pub(crate) const LUA_PROBE_ATTEMPTS_MAX: u32 = 5;
/// Shared connections (pairs of database and protocol) in use at once.
pub(crate) const SHARED_CONNECTIONS_MAX: usize = 64;
/// Time without a request after which a shared connection may make room for another key.
pub(crate) const SHARED_QUIET_MIN: Duration = Duration::from_secs(1);
/// Time between two checks of the requests that wait for a connection.
pub const CONNECT_WAIT_TICK: Duration = Duration::from_millis(50);
/// Pause between two questions whether the server is the primary; it doubles.
pub(crate) const PRIMARY_CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest pause between two such questions.
pub(crate) const PRIMARY_CHECK_INTERVAL_MAX: Duration = Duration::from_secs(8);
/// Bytes of a reply from which on its slow reader delays other sessions.
pub(crate) const LARGE_REPLY_BYTES: usize = 64 * 1024;
/// Pause between two questions of the pool whether the server is the primary.
pub(crate) const POOL_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest pause after a failed attempt to keep a pooled connection warm.
pub(crate) const POOL_RETRY_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Shortest time between two checks of idle pooled connections.
pub(crate) const POOL_UPKEEP_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Idle pinned connections that are asked for a sign of life at once: on a silent path each takes as long as a
/// connection may take to be opened.
pub(crate) const POOL_CHECKS_MAX: usize = 16;
/// Reads that did not need the read-ahead buffer after which it is freed.
pub(crate) const READ_AHEAD_IDLE_READS_MAX: u8 = 64;
/// Connections at once that only finish their outstanding replies because a slow reader holds
/// them up.
pub const ASIDE_MAX: usize = 8;
/// Requests of one session about which something is remembered.
pub(crate) const REMARKS_MAX: usize = 1024;
/// Bytes of requests that wait for one shared connection.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Requests that wait for one shared connection.
pub(crate) const QUEUE_LEN_MAX: usize = 1 << 20;
/// Requests for which an empty queue of a connection keeps memory.
pub(crate) const EMPTY_LINE_ENTRIES_MAX: usize = 4096;
/// Change of a queue's bytes from which on it is entered in the account of `memory_budget`.
pub(crate) const CHARGE_STEP_BYTES: usize = 16 * 1024;
/// Bytes of `memory_budget` that a thread reserves beyond what it uses, and gives back by as many.
pub(crate) const RESERVE_STEP_BYTES: usize = 64 * 1024;
/// Connections beyond `max_connections` that only release blocked clients.
pub(crate) const RELEASE_CONNECTIONS_MAX: usize = 2;
/// Size of the pool from which on each use has connections reserved, and from which on users and listeners
/// cannot take all.
pub(crate) const RESERVED_CONNECTIONS_MIN: usize = 8;
/// Silence after a TLS hello from which on the server is asked in plaintext.
pub(crate) const SNIFF_SILENCE: Duration = Duration::from_secs(1);
/// A question in plaintext and its answer.
pub(crate) const SNIFF_TIMEOUT: Duration = Duration::from_secs(1);
/// Unanswered TCP keepalive probes after which a connection is lost.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;
/// Shortest silence of the oldest request from which on nothing more is written behind it.
pub(crate) const STALL_HOLD_MIN: Duration = Duration::from_millis(25);
/// Shortest silence of the oldest request from which on another connection is dialed.
pub(crate) const STALL_RELIEF_MIN: Duration = Duration::from_millis(250);
/// Longest reply time that counts as a round trip of the network.
pub(crate) const ROUND_TRIP_MAX: Duration = Duration::from_millis(250);
/// Time between two dials because of a stalled connection.
pub(crate) const STALL_DIAL_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before a task that has panicked is started again.
pub(crate) const TASK_RESTART_PAUSE: Duration =
    Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// Shortest time between two TCP keepalive probes (tcp(7) counts whole seconds).
pub(crate) const KEEPALIVE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Pause after the first failed run of `password_command`; it doubles.
pub(crate) const PASSWORD_RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest pause after a failed run of `password_command`.
pub(crate) const PASSWORD_RETRY_MAX: Duration = Duration::from_secs(30);
