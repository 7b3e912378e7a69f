//! The verbs of the admin server, each in a file of its own.
//!
//! Owns: [`VERBS`], the one table. Never knows: HTTP, the command line, how a verb is answered.
//!
//! A new verb is a file here with its [`Verb`], a line in this table, and as a subcommand a line in
//! `cli/verbs.rs` and in the table of `cli/command_line.rs`.

mod audit;
mod block;
mod clients;
mod drain;
mod explain;
mod health;
mod hotkeys;
mod learn;
mod log_level;
mod logs;
mod metrics;
mod reload;
mod screen;
mod slowlog;
mod status;
mod status_listeners;
mod status_lists;

pub(crate) use audit::AUDIT_RECENT;
pub(crate) use block::{BLOCK, UNBLOCK};
pub(crate) use clients::{CLIENTS, DISCONNECT};
pub(crate) use drain::{DRAIN, SHUTDOWN};
pub(crate) use explain::EXPLAIN;
pub(crate) use health::HEALTH;
pub(crate) use hotkeys::{HOTKEYS, HOTKEYS_RESET};
pub(crate) use learn::LEARN;
pub(crate) use log_level::LOG_LEVEL;
pub(crate) use logs::LOGS_RECENT;
pub(crate) use metrics::METRICS;
pub(crate) use reload::RELOAD;
pub(crate) use slowlog::{SLOWLOG, SLOWLOG_RESET};
pub(crate) use status::STATUS;

use std::time::Duration;

use super::admin_state::AdminState;
use crate::admin::{Call, Refused, Verb};
use crate::config::read_duration;

/// Every verb, in the order in which the documentation lists them.
pub const VERBS: &[&Verb<AdminState>] = &[
    &STATUS,
    &HEALTH,
    &CLIENTS,
    &RELOAD,
    &LOG_LEVEL,
    &BLOCK,
    &UNBLOCK,
    &DISCONNECT,
    &DRAIN,
    &SHUTDOWN,
    &METRICS,
    &LOGS_RECENT,
    &AUDIT_RECENT,
    &EXPLAIN,
    &LEARN,
    &SLOWLOG,
    &SLOWLOG_RESET,
    &HOTKEYS,
    &HOTKEYS_RESET,
];

/// An argument that is a time, as `15m`.
fn span(call: &Call, name: &str) -> Result<Option<Duration>, Refused> {
    let read = |text: &str| match read_duration(text) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) | Err(_) => Err(Refused::Usage(format!("{name}: write a time as 90s, 15m or 2h"))),
    };
    call.value(name).map(read).transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn verb_has_one_name_and_paths_of_its_own() {
        let (mut names, mut paths) = (HashSet::new(), HashSet::new());
        for verb in VERBS {
            assert!(names.insert(verb.name), "{}", verb.name);
            for path in [&[verb.path], verb.also].concat() {
                assert!(paths.insert(path) && path.starts_with('/'), "{path}");
            }
            assert!(!verb.about.ends_with('.') && !verb.examples.is_empty(), "{}", verb.name);
        }
    }
}
