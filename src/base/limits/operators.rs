//! Bounds of what operators use: admin and telemetry server, log, audit, verbs, exit.
//!
//! Owns: the numbers. Never knows: configuration.

use std::time::Duration;

/// Connections to the admin server at once, on its socket and on its port each.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 32;
/// From the first byte of an admin request to the end of its header.
pub(crate) const ADMIN_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the end of an admin request's header to the end of its body.
pub(crate) const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a client of the admin server has to read an answer.
pub(crate) const ADMIN_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an admin request's header.
pub(crate) const ADMIN_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an admin request's body.
pub(crate) const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the shortest admin token; a shorter one can be guessed.
pub(crate) const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// Connections to the telemetry server at once.
pub(crate) const TELEMETRY_CONNECTIONS_MAX: usize = 64;
/// From the first byte of a scrape to the end of its header.
pub(crate) const TELEMETRY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From accepting a scrape to the last byte of its answer.
pub(crate) const TELEMETRY_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a scrape's header.
pub(crate) const TELEMETRY_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept of the telemetry or admin server (no file descriptors left).
pub(crate) const TELEMETRY_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A data-plane thread whose last heartbeat is older than this counts as stuck.
pub(crate) const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(10);
/// Bytes of one argument of an admin request.
pub(crate) const ADMIN_VALUE_BYTES_MAX: usize = 4096;
/// Arguments of one admin request.
pub(crate) const ADMIN_VALUES_MAX: usize = 64;
/// Wait for the audit sinks when the process stops (Docker and Kubernetes allow two seconds after
/// a grace period).
pub(crate) const AUDIT_STOP_TIMEOUT: Duration = Duration::from_millis(1900);
/// Audit entries kept in memory (compare Redis `acllog-max-len`, 128).
pub(crate) const AUDIT_RECENT_MAX: usize = 1000;
/// Bytes of the audit entries kept in memory.
pub(crate) const AUDIT_RECENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one name in an audit entry; the rest is cut.
pub(crate) const AUDIT_NAME_BYTES_MAX: usize = 128;
/// Bytes of audit lines that are collected for one write to the file.
pub(crate) const AUDIT_FILE_BUFFER_BYTES: usize = 64 << 10;
/// Bytes at the end of an audit file that are read for its last line.
pub(crate) const AUDIT_FILE_TAIL_BYTES: u64 = 64 << 10;
/// Time between two fsync calls of an audit file.
pub(crate) const AUDIT_FSYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks that the path of an audit sink is still the open file or socket.
pub(crate) const AUDIT_PATH_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Connecting to a syslog server, its TLS handshake, and each write.
pub(crate) const SYSLOG_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of syslog messages kept to be sent again on a new connection; more than the system and
/// TLS hold back.
pub(crate) const SYSLOG_KEPT_BYTES: usize = 256 << 10;
/// Send buffer of a syslog connection; the system holds at most twice as much (socket(7),
/// SO_SNDBUF).
pub(crate) const SYSLOG_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Audit entries whose repetition `audit verify` recognizes; more than a syslog sink sends again.
pub(crate) const AUDIT_REPEATED_MAX: usize = 4096;
/// Time between two attempts of a failing audit sink.
pub(crate) const AUDIT_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Wait of an audit thread for events before it checks its sink.
pub(crate) const AUDIT_IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a failing audit sink is retried once the process stops.
pub(crate) const AUDIT_LAST_RETRY_TIMEOUT: Duration = Duration::from_millis(1500);
/// Bytes that sequence number, chain value and punctuation add to an audit entry.
pub(crate) const AUDIT_FRAME_BYTES: usize = 128;
/// Connecting of the command line to a running respgate, and the time its answer may take besides
/// the work.
pub(crate) const CLI_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two checks of the programs of `demo`.
pub(crate) const DEMO_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two checks whether a program of `demo` has started.
pub(crate) const DEMO_START_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Any single step of `demo`.
pub(crate) const DEMO_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause of `--follow` after new entries.
pub(crate) const FOLLOW_BUSY_INTERVAL: Duration = Duration::from_millis(20);
/// Pause of `--follow` after no new entry.
pub(crate) const FOLLOW_IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// Pause of `--follow` while no respgate answers.
pub(crate) const FOLLOW_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Writing of the last log lines when the process exits.
pub(crate) const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two lines of progress of a long command.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks of `top` for keys, signals and answers.
pub(crate) const TOP_TICK: Duration = Duration::from_millis(50);
/// Samples that the curve of `top` keeps.
pub(crate) const TOP_HISTORY_MAX: usize = 512;
/// Log lines that `top` keeps.
pub(crate) const TOP_LOG_LINES_MAX: usize = 100;
/// Audit entries that `top` keeps.
pub(crate) const TOP_AUDIT_ENTRIES_MAX: usize = 30;
/// Series of metrics that `top` reads; respgate has some hundred.
pub(crate) const TOP_SERIES_MAX: usize = 20_000;
/// Connecting of `top`, and each part of an answer.
pub(crate) const TOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of one answer that `top` reads.
pub(crate) const TOP_ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Shortest time between two requests of `top` for events.
pub(crate) const TOP_EVENTS_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Time between two questions of `wait`.
pub(crate) const WAIT_INTERVAL: Duration = Duration::from_millis(100);
/// Reading a server's certificate in `doctor`.
pub(crate) const DOCTOR_CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Names of commands that one line of `doctor` repeats.
pub(crate) const DOCTOR_NAMES_MAX: usize = 24;
/// Keys that one audit event names.
pub(crate) const AUDIT_KEYS_MAX: usize = 8;
/// Bytes of a client's name, and of its library's, that operators are shown.
pub(crate) const SHOWN_NAME_BYTES_MAX: usize = 128;
/// Time between two log lines about refusals of the same kind.
pub(crate) const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Kinds of refusals that the log distinguishes.
pub(crate) const REFUSAL_LOG_KINDS_MAX: usize = 256;
/// Refused commands that `learn` distinguishes.
pub(crate) const LEARN_REFUSED_MAX: usize = 128;
/// Key prefixes that `learn` distinguishes.
pub(crate) const LEARN_PREFIXES_MAX: usize = 256;
/// Names without a separator that `learn` distinguishes.
pub(crate) const LEARN_LITERALS_MAX: usize = 32;
/// Bytes of a name without a separator that `learn` keeps; a longer one is data.
pub(crate) const LEARN_LITERAL_BYTES_MAX: usize = 64;
/// Scripts, and functions, that `learn` distinguishes.
pub(crate) const LEARN_SCRIPTS_MAX: usize = 64;
/// Bytes of a function's name that `learn` keeps.
pub(crate) const LEARN_FUNCTION_BYTES_MAX: usize = 64;
/// Policies that `learn` distinguishes.
pub(crate) const LEARN_POLICIES_MAX: usize = 64;
/// Bytes of the first line of an answer that a probe reads.
pub(crate) const PROBE_LINE_BYTES_MAX: usize = 128;
/// Blocks (verb `block`) in force at once.
pub(crate) const BLOCKS_MAX: usize = 64;
/// Names of commands that one log line lists.
pub(crate) const LOGGED_NAMES_MAX: usize = 20;
/// Time between two heartbeats of the data-plane thread.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Closing of the remaining connections when the process exits.
pub(crate) const EXIT_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two checks whether a drain is complete.
pub(crate) const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Time that an operator's client has to read that the process exits now.
pub(crate) const EXIT_ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// Orders of operators that may wait.
pub(crate) const ADMIN_QUEUE_LEN_MAX: usize = 16;
/// Pause after the first failed reload; it doubles.
pub(crate) const RELOAD_RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause between two attempts of a failed reload.
pub(crate) const RELOAD_RETRY_MAX: Duration = Duration::from_secs(10);
/// Longest pause between two attempts of a reload that the clock or a file system has kept from succeeding.
pub(crate) const RELOAD_RECHECK_MAX: Duration = Duration::from_secs(60);
/// Time between two checks whether the start is complete.
pub(crate) const START_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Milliseconds between two readings of the wall clock while a block waits for its end.
pub(crate) const BLOCK_CHECK_MS: u64 = 30_000;
/// Clients that one answer can list.
pub(crate) const LISTED_CLIENTS_MAX: usize = 10_000;
/// Keys of one policy that one answer lists.
pub(crate) const LISTED_HOT_KEYS: usize = 20;
/// An admin answer that is made from memory.
pub(crate) const ADMIN_WORK_TIMEOUT: Duration = Duration::from_secs(10);
/// One connection of the security test that the server is to refuse.
pub(crate) const SECURITY_TEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Connecting to respgate in the security test and asking everything.
pub(crate) const SECURITY_PATH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one answer that the security test reads.
pub(crate) const SECURITY_ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Denied commands with a series of their own.
pub(crate) const DENIED_COMMANDS_MAX: usize = 96;
/// Time for which keys are counted before the count begins anew.
pub(crate) const HOT_KEYS_WINDOW: Duration = Duration::from_secs(60);
/// Policies with counters of hot keys of their own.
pub(crate) const HOT_KEYS_POLICIES_MAX: usize = 16;
/// Bytes of a key that are compared; longer keys with an equal beginning count as one.
pub(crate) const HOT_KEY_BYTES_MAX: usize = 512;
/// Lines that one place in the code may log at once.
pub(crate) const LOG_BURST: u32 = 50;
/// Time per log line of one place after a burst.
pub(crate) const LOG_REFILL_INTERVAL: Duration = Duration::from_millis(200);
/// Certificate fingerprints per role with a series.
pub(crate) const FINGERPRINTS_MAX: usize = 4;
/// Policies with a series.
pub(crate) const SHOWN_POLICIES_MAX: usize = 16;
/// Log events kept in memory (verb `logs`).
pub(crate) const LOG_EVENTS_MAX: usize = 500;
/// Bytes of the log events kept in memory, as JSON.
pub(crate) const LOG_EVENTS_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one text of a log event that are kept.
pub(crate) const LOG_TEXT_BYTES_MAX: usize = 1024;
/// Bytes of all texts of one log event.
pub(crate) const LOG_EVENT_BYTES_MAX: usize = 4096;
/// Log lines that may wait to be written; more are dropped and counted.
pub(crate) const LOG_QUEUE_LINES_MAX: usize = 1024;
/// Slow commands that are kept at most.
pub(crate) const SLOW_ENTRIES_MAX: usize = 10_000;
/// Keys of one policy that have a counter of their own, at most.
pub(crate) const HOT_KEYS_MAX: usize = 1024;
/// Time between two checks whether the audit sinks have written everything when the process stops.
pub(crate) const AUDIT_STOP_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Smallest `audit.queue`: many of the longest entries.
pub(crate) const AUDIT_QUEUE_BYTES_MIN: usize = 64 << 10;
/// Shortest `top --interval`; each picture is one scrape.
pub(crate) const TOP_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longest `top --interval`.
pub(crate) const TOP_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// Bytes that the client of the demonstration reads at once.
pub(crate) const DEMO_READ_BYTES: usize = 16 * 1024;
/// Greatest `hotkeys.sample`: one command of a million.
pub(crate) const HOT_KEYS_SAMPLE_MAX: u64 = 1 << 20;
/// Difference of this machine's clock and the server's from which on `doctor` warns, in milliseconds.
pub(crate) const CLOCK_DIFFERENCE_MS_MAX: u64 = 1_000;
/// Time between two checks whether the connections are closed when the process exits.
pub(crate) const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Shortest time between two messages to systemd's watchdog.
pub(crate) const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Clients that the verb `clients` lists unless it is asked for another number.
pub(crate) const LISTED_CLIENTS_DEFAULT: usize = 1000;
/// Answer to the verb `reload`: files are read, a password command may run, the server is probed.
pub(crate) const RELOAD_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Wait of the verb `status` for the data-plane thread; after it the rest is shown without.
pub(crate) const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// Entries that the verbs `audit recent` and `logs recent` list unless they are asked for another number.
pub(crate) const LISTED_ENTRIES_DEFAULT: usize = 100;
