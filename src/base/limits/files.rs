//! Bounds of files, programs and what is learned of commands: sizes, readings, waits.
//!
//! Owns: the numbers. Never knows: configuration.

use std::time::Duration;

/// Reading a set of files on a thread of its own.
pub(crate) const FILE_WORK_TIMEOUT: Duration = Duration::from_secs(5);
/// Threads that stay with work on files that does not end; with so many, no other is begun.
pub(crate) const STUCK_THREADS_MAX: usize = 32;
/// Time between two checks whether a program has exited.
pub(crate) const PROGRAM_EXIT_TICK: Duration = Duration::from_millis(2);
/// How long the exit waits for a program that is being started: its file may be on a lost network mount.
pub(crate) const PROGRAM_START_WAIT: Duration = Duration::from_millis(500);
/// Reading one small file; a pipe without a writer and a lost network mount never answer.
pub(crate) const FILE_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Definitions of commands beside the table that one process keeps; none is ever freed.
pub(crate) const LEARNED_DEFINITIONS_MAX: usize = 1024;
/// Keys of one key specification in a server's COMMAND reply that are listed one by one.
pub(crate) const COMMAND_SINGLE_KEYS_MAX: i64 = 16;
/// Commands declared in `commands.custom`.
pub(crate) const CUSTOM_COMMANDS_MAX: usize = 512;
/// Key specifications of one declared command.
pub(crate) const CUSTOM_COMMAND_KEYS_MAX: usize = 16;
/// Passwords of one user of an ACL file: each login is compared with all of them.
pub(crate) const PASSWORDS_MAX: usize = 1024;
/// Selectors of one ACL: each command is compared with all of them.
pub(crate) const SELECTORS_MAX: usize = 1024;
/// What is wrong with one ACL, or one ACL file, as far as it is listed.
pub(crate) const RULE_ERRORS_MAX: usize = 100;
/// Characters of a wrong word that are shown.
pub(crate) const RULE_WORD_SHOWN_MAX: usize = 128;
/// Bytes of a configuration file.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a pattern for names in certificates.
pub(crate) const NAME_PATTERN_BYTES_MAX: usize = 2048;
/// Bytes of a script file.
pub(crate) const SCRIPT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Longest timeout that can be set for `password_command`; a start, a reload and a shutdown may
/// wait for a run.
pub(crate) const PASSWORD_COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Bytes of a password or token file.
pub(crate) const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an ACL file.
pub(crate) const ACL_FILE_BYTES_MAX: u64 = 4 << 20;
/// Nesting of keys in the configuration.
pub(crate) const CONFIG_DEPTH_MAX: usize = 8;
/// Longest duration that can be configured; adding it to a clock never overflows.
pub(crate) const CONFIG_DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Entries of `/proc` that are read to name the process that holds a port.
pub(crate) const PROC_ENTRIES_MAX: usize = 4096;
/// Open files of other processes that are read to name the one that holds a port.
pub(crate) const PROC_FILES_MAX: usize = 65_536;
/// Commands that are taken over from a server's COMMAND reply.
pub(crate) const LEARNED_COMMANDS_MAX: usize = 512;
/// A file that is written in place is complete when two readings this far apart are equal.
pub(crate) const FILE_SETTLE_INTERVAL: Duration = Duration::from_millis(50);
/// Readings after which a file that keeps changing is taken as it is.
pub(crate) const FILE_SETTLE_READS_MAX: u32 = 20;
/// Tolerated difference of two machines' clocks when a certificate begins.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Bytes of a file with certificates, a key or revocation lists.
pub(crate) const PEM_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Readings of a set of files that keeps changing before that is an error.
pub(crate) const PEM_READINGS_MAX: u32 = 5;
/// Lifetime of the throwaway certificate with which the security test connects as a stranger.
pub(crate) const STRANGER_LIFETIME: Duration = Duration::from_secs(3600);
/// Revocation lists in one file; more than any chain has authorities.
pub(crate) const REVOCATION_LISTS_MAX: usize = 256;
/// Readings of certificate files that do not fit each other (half of a write) before that is an
/// error.
pub(crate) const CERTIFICATE_SETTLE_READS_MAX: u32 = 5;
/// Time over which those readings are spread.
pub(crate) const CERTIFICATE_SETTLE_TIME: Duration = Duration::from_secs(2);
/// Time between two checks of watched files without a notification: some file systems send none.
pub(crate) const WATCH_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Quiet time after a notification before files are read.
pub(crate) const WATCH_DEBOUNCE: Duration = Duration::from_millis(250);
/// Longest delay of a reading in a directory that is never quiet.
pub(crate) const WATCH_DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// Symbolic links on the way to one file that are followed (Linux path_resolution(7)).
pub(crate) const PATH_LINKS_MAX: u32 = 40;
/// Bytes that `password_command` may print.
pub(crate) const PASSWORD_COMMAND_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Nesting of the JSON that `password_command` may print.
pub(crate) const PASSWORD_COMMAND_JSON_DEPTH_MAX: usize = 32;
/// Shortest time to live that a policy sets: the least that commands in seconds can express.
pub(crate) const TTL_MIN: Duration = Duration::from_secs(1);
