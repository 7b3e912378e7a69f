//! Every key lives as long as the policy requires: each way to write one is tried on real servers.
//!
//! Owns: the ways, and what a server is asked afterwards. Never knows: how the policy decides.
use crate::support;
mod commands;
mod lost;
mod rules;

use support::client::Client;
use support::real_server::Server;

/// Seconds.
const DEFAULT: u64 = 1000;
const MAX: u64 = 5000;

/// Missing ones are injected, long ones cut.
fn inject() -> String {
    format!("[policy.ttl]\non_missing = 'inject'\ndefault = '{DEFAULT}s'\nmax = '{MAX}s'\n")
}

/// Keys that live for ever, or for longer than the maximum, as `name=milliseconds`.
const OFFENDERS: &str = "
    local found = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local left = redis.call('PTTL', key)
        if left == -1 or left > tonumber(ARGV[1]) then table.insert(found, key .. '=' .. left) end
    end
    return table.concat(found, ' ')";

/// The keys that live too long, counted by a script on the server itself.
fn offenders(observer: &mut Client) -> String {
    let max = (MAX * 1000).to_string();
    let reply = observer.ask_text(&["EVAL", OFFENDERS, "0", &max]);
    let (length, names) = reply.split_once("\r\n").unwrap_or((&reply, ""));
    assert!(length.starts_with('$'), "{reply}");
    names.to_owned()
}

/// The time to live of one key on the server, seconds.
fn left(server: &Server, key: &str) -> i64 {
    let reply = server.observer().ask_text(&["TTL", key]);
    reply.trim_start_matches(':').parse().unwrap()
}

/// About the default: it was given a moment ago.
fn has_default(server: &Server, key: &str) -> bool {
    (DEFAULT - 20..=DEFAULT).contains(&u64::try_from(left(server, key)).unwrap_or(0))
}
