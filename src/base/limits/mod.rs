//! Every bound on memory, queues, counts and waiting in one place, with their relations.
//!
//! Owns: the numbers, by what they bound. Never knows: configuration, which may only choose below them.

use std::time::Duration;

mod clients;
mod files;
mod operators;
mod protocol;
mod server;

pub(crate) use clients::*;
pub(crate) use files::*;
pub(crate) use operators::*;
pub use protocol::REPLY_STREAMS_MAX;
pub(crate) use protocol::*;
pub(crate) use server::*;
pub use server::{ASIDE_MAX, BUSY_TICK, CONNECT_WAIT_TICK};

// Protocol: each step of a request is smaller than the next, and one reading holds a line.
const _: () = assert!(UNAUTHENTICATED_ARGS_MAX < REQUEST_ARGS_MAX);
const _: () = assert!(REQUEST_ARGS_MAX < COUNT_MAX);
const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX < BULK_BYTES_MAX);
const _: () = assert!(INLINE_BYTES_MAX <= READ_BYTES);
const _: () = assert!(BULK_BYTES_MAX <= REQUEST_BYTES_MAX as u64);
const _: () = assert!(ECHO_BYTES_MAX < QUEUED_ERROR_BYTES_MAX);
const _: () = assert!(PENDING_BYTES_MAX >= READ_BYTES, "what one reading brings is kept");

// Memory: what is kept idle is smaller than what may be kept at work, and one client smaller than all.
const _: () = assert!(FRESH_BUFFER_BYTES <= SPARE_BUFFER_BYTES_MAX);
const _: () = assert!(SPARE_BUFFER_BYTES_MAX <= FAIR_SHARE_BYTES);
const _: () = assert!(SPARE_BUFFERS_MAX * SPARE_BUFFER_BYTES_MAX <= 4 << 20);
const _: () = assert!(EVICTION_BYTES_MIN < FAIR_SHARE_BYTES);
const _: () = assert!(NOTE_KEY_BYTES_KEPT < NOTE_KEY_BYTES_SWEPT);
const _: () = assert!(HOT_KEY_BYTES_MAX <= NOTE_KEY_BYTES_SWEPT);
const _: () = assert!(CLIENT_TLS_WRITE_BYTES < CLIENT_TLS_BYTES);
const _: () = assert!(CLIENT_TLS_BYTES <= HANDSHAKE_BYTES);
const _: () = assert!(CHARGE_STEP_BYTES < FAIR_SHARE_BYTES);
const _: () = assert!(CHARGE_STEP_BYTES <= RESERVE_STEP_BYTES);
const _: () = assert!(SLOW_READER_BYTES <= QUEUE_BYTES_MAX);
const _: () = assert!(FAIR_SHARE_BYTES < SLOW_READER_BYTES);
const _: () = assert!(STALL_REPLY_AGE.as_millis() < FULL_READER_AGE.as_millis());
const _: () = assert!(LEASE_UNSENT_BYTES_MAX <= LEASE_UNREAD_BYTES_MAX);
const _: () = assert!(LEASE_UNREAD_BYTES_MAX <= SLOW_READER_BYTES);
const _: () = assert!(BULK_ROUND_BYTES <= LEASE_WRITE_BYTES_MAX);
const _: () = assert!(PROBE_REPLY_BYTES_MAX <= DECODED_REPLY_BYTES_MAX);
const _: () = assert!(SERVER_REPORT_BYTES_MAX <= HIDDEN_LIST_BYTES_MAX);
const _: () = assert!(LOG_TEXT_BYTES_MAX <= LOG_EVENT_BYTES_MAX);
const _: () = assert!(LOG_EVENT_BYTES_MAX < LOG_EVENTS_BYTES_MAX);
const _: () = assert!(SYSLOG_KEPT_BYTES >= 2 * SYSLOG_SEND_BUFFER_BYTES + 64 * 1024);
const _: () = assert!(ADMIN_VALUE_BYTES_MAX < ADMIN_HEADER_BYTES_MAX);
const _: () =
    assert!(SECRET_FILE_BYTES_MAX < CONFIG_BYTES_MAX && CONFIG_BYTES_MAX < ACL_FILE_BYTES_MAX);
const _: () = assert!(PASSWORD_COMMAND_OUTPUT_BYTES_MAX as u64 <= SECRET_FILE_BYTES_MAX);

// Waiting: what is checked more often than it ends, and what ends within what waits for it.
const _: () = assert!(shorter(HEARTBEAT_INTERVAL, HEARTBEAT_AGE_MAX));
const _: () = assert!(shorter(ADMIN_HEADER_TIMEOUT, ADMIN_READ_TIMEOUT));
const _: () = assert!(shorter(TELEMETRY_HEADER_TIMEOUT, TELEMETRY_CONNECTION_TIMEOUT));
const _: () = assert!(shorter(AUDIT_LAST_RETRY_TIMEOUT, AUDIT_STOP_TIMEOUT));
const _: () = assert!(shorter(AUDIT_RETRY_INTERVAL, AUDIT_LAST_RETRY_TIMEOUT));
const _: () = assert!(shorter(FILE_READ_TIMEOUT, FILE_WORK_TIMEOUT));
const _: () = assert!(shorter(FILE_SETTLE_INTERVAL, FILE_READ_TIMEOUT));
const _: () = assert!(shorter(WATCH_DEBOUNCE, WATCH_DEBOUNCE_MAX));
const _: () = assert!(shorter(WATCH_DEBOUNCE_MAX, WATCH_POLL_INTERVAL));
const _: () = assert!(shorter(RELOAD_RETRY_MIN, RELOAD_RETRY_MAX));
const _: () = assert!(shorter(RELOAD_RETRY_MAX, RELOAD_RECHECK_MAX));
const _: () = assert!(shorter(PASSWORD_REFUSED_RETRY_MIN, PASSWORD_REFUSED_RETRY_MAX));
const _: () = assert!(shorter(BUSY_DIAL_MIN, BUSY_DIAL_MAX));
const _: () = assert!(shorter(CONNECT_WAIT_TICK, NO_DATABASE_DIAL_MAX));
const _: () = assert!(shorter(COMPLETION_RETRY_MIN, COMPLETION_RETRY_MAX));
const _: () = assert!(shorter(PRIMARY_CHECK_INTERVAL_MIN, PRIMARY_CHECK_INTERVAL_MAX));
const _: () = assert!(shorter(STALL_HOLD_MIN, STALL_RELIEF_MIN));
const _: () = assert!(shorter(STALL_RELIEF_MIN, STALL_DIAL_INTERVAL));
const _: () = assert!(!shorter(STALL_HOLD_MIN, BUSY_TICK), "each silence is noticed in one tick");
const _: () = assert!(shorter(BUSY_TICK, LATE_WAKE), "a tick in time judges at once");
const _: () = assert!(shorter(LATE_WAKE_PAUSE, LATE_WAKE));
const _: () = assert!(shorter(LUA_PROBE_TIMEOUT, LUA_FACTS_TIMEOUT));
const _: () = assert!(shorter(TRACKING_TARGET_CHECK_INTERVAL, TRACKING_TARGET_TIMEOUT));
const _: () = assert!(shorter(PEER_BUSY_TIME, EVICTION_IDLE_TIME));
const _: () = assert!(shorter(TOP_TICK, TOP_TIMEOUT));
const _: () = assert!(shorter(AUDIT_STOP_CHECK_INTERVAL, AUDIT_STOP_TIMEOUT));
const _: () = assert!(shorter(EXIT_CHECK_INTERVAL, EXIT_CLOSE_TIMEOUT));
const _: () = assert!(shorter(EXIT_CLOSE_TIMEOUT, AUDIT_STOP_TIMEOUT));
const _: () = assert!(shorter(STATUS_TIMEOUT, ADMIN_WORK_TIMEOUT));
const _: () = assert!(shorter(ADMIN_WORK_TIMEOUT, RELOAD_ANSWER_TIMEOUT));
const _: () = assert!(!shorter(RELOAD_ANSWER_TIMEOUT, PASSWORD_COMMAND_TIMEOUT_MAX));
const _: () = assert!(shorter(TOP_INTERVAL_MIN, TOP_INTERVAL_MAX));
const _: () = assert!(shorter(PASSWORD_RETRY_MIN, PASSWORD_RETRY_MAX));
const _: () = assert!(!shorter(PASSWORD_RETRY_MIN, PASSWORD_REFRESH_MIN));
const _: () = assert!(shorter(LUA_FACTS_CHECK_INTERVAL, LUA_FACTS_TIMEOUT));
const _: () = assert!(shorter(LUA_PROBE_RETRY_INTERVAL, LUA_REFUSED_RETRY_INTERVAL));
const _: () = assert!(shorter(ADDRESS_STAGGER, PRIMARY_WAIT));
const _: () = assert!(shorter(POOL_UPKEEP_INTERVAL_MIN, POOL_CHECK_INTERVAL));
const _: () =
    assert!(shorter(POOL_CHECK_INTERVAL, BUSY_SCRIPT_TIME), "a busy server is asked again in time");
const _: () = assert!(!shorter(STALL_RELIEF_MIN, ROUND_TRIP_MAX), "a round trip is no stall");
const _: () = assert!(shorter(CERTIFICATE_SETTLE_TIME, FILE_WORK_TIMEOUT));
const _: () =
    assert!(shorter(FILE_SETTLE_INTERVAL.saturating_mul(FILE_SETTLE_READS_MAX), FILE_READ_TIMEOUT));
const _: () = assert!(shorter(EVICTION_RETRY_INTERVAL, EVICTION_IDLE_TIME));

// Counts: a part is smaller than the whole, and what is kept for two uses is large enough for both.
const _: () = assert!(LISTED_CLIENTS_DEFAULT <= LISTED_CLIENTS_MAX);
const _: () = assert!(LISTED_ENTRIES_DEFAULT <= AUDIT_RECENT_MAX);
const _: () = assert!(LISTED_ENTRIES_DEFAULT <= LOG_EVENTS_MAX);
const _: () = assert!(LISTED_HOT_KEYS <= HOT_KEYS_MAX);
const _: () = assert!(COUNTED_KEYS_MAX <= HOT_KEYS_MAX);
const _: () = assert!(LEARNED_COMMANDS_MAX + CUSTOM_COMMANDS_MAX <= LEARNED_DEFINITIONS_MAX);
const _: () = assert!(ASIDE_MAX < SHARED_CONNECTIONS_MAX);
const _: () = assert!(RELEASE_CONNECTIONS_MAX < RESERVED_CONNECTIONS_MIN);
const _: () = assert!(WINDOW_START < QUEUE_LEN_MAX);
const _: () = assert!(AUDIT_NAME_BYTES_MAX < AUDIT_QUEUE_BYTES_MIN);

const fn shorter(one: Duration, other: Duration) -> bool {
    one.as_nanos() < other.as_nanos()
}
