//! `slowlog`: the commands that took longest, and where their time went.
//!
//! Owns: [`SLOWLOG`], [`SLOWLOG_RESET`]. Never knows: how slow commands are found.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::limits;
use crate::telemetry::Slow;

pub(crate) const SLOWLOG: Verb<AdminState> = Verb {
    name: "slowlog",
    path: "/slowlog",
    also: &["/slowlog/get"],
    effect: Effect::Shows,
    about: "List the commands that took longest, and where their time went",
    arguments: &[Argument { name: "count", kind: Kind::Option("N"), help: "Only the newest N" }],
    examples: &[
        ("List the newest ten slow commands", "respgate slowlog --count 10"),
        ("Print all of them for a program", "respgate slowlog get --json"),
    ],
    done: "the list was printed",
    failed: "the slow log is off",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(get(admin_state, call)),
};

pub(crate) const SLOWLOG_RESET: Verb<AdminState> = Verb {
    name: "slowlog reset",
    path: "/slowlog/reset",
    also: &[],
    effect: Effect::Changes,
    about: "Delete the slow commands that are kept",
    arguments: &[],
    examples: &[("Begin anew before a test", "respgate slowlog reset")],
    done: "they were deleted",
    failed: "the slow log is off",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(reset(admin_state, call)),
};

const OFF: &str =
    "The slow log is off; set [slowlog] threshold, for example \"10ms\", and reload.\n";

fn is_off(admin_state: &AdminState) -> bool {
    admin_state.in_force.get().config.insight.slow.threshold.is_zero()
}

async fn get(admin_state: Arc<AdminState>, call: Call) -> Result<Answer, Refused> {
    if is_off(&admin_state) {
        return Ok(Answer::new(json!({ "enabled": false, "entries": [] }), OFF).no());
    }
    let count = call.parsed("count")?.unwrap_or(usize::MAX);
    let mut slow = admin_state.ask_data_plane(|plane| plane.worker.slow()).await?;
    slow.truncate(count);
    let entries: Vec<Value> = slow.iter().map(as_json).collect();
    Ok(Answer::new(json!({ "enabled": true, "entries": entries }), as_text(&slow)))
}

async fn reset(admin_state: Arc<AdminState>, _: Call) -> Result<Answer, Refused> {
    if is_off(&admin_state) {
        return Ok(Answer::new(json!({ "enabled": false, "forgotten": 0 }), OFF).no());
    }
    let count = admin_state.ask_data_plane(|plane| plane.worker.forget_slow()).await?;
    let text = format!("{count} slow commands forgotten\n");
    Ok(Answer::new(json!({ "enabled": true, "forgotten": count }), text))
}

fn as_json(slow: &Slow) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "id": slow.id,
        "unix_ms": slow.at,
        "command": slow.command,
        "key": slow.key,
        "policy": slow.policy,
        "listener": slow.listener,
        "user": slow.user,
        "client": slow.client,
        "database": slow.database,
        "error": slow.error,
        "total_us": micros(slow.times.total()),
        "waiting_us": micros(slow.times.waiting),
        "upstream_us": micros(slow.times.upstream),
        "proxy_us": micros(slow.times.proxy),
    })
}

fn as_text(all: &[Slow]) -> String {
    if all.is_empty() {
        return "No slow commands.\n".to_owned();
    }
    let mut text =
        String::from("  id  at (UTC)     total   waiting  upstream     proxy  command and key\n");
    for slow in all {
        let second = slow.at / 1000 % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let [total, waiting, upstream, proxy] =
            [slow.times.total(), slow.times.waiting, slow.times.upstream, slow.times.proxy]
                .map(show);
        let (key, failed) =
            (slow.key.as_deref().unwrap_or(""), if slow.error { " (error)" } else { "" });
        let _ = writeln!(
            text,
            "{:>4}  {hour:02}:{minute:02}:{second:02} {total:>9} {waiting:>9} {upstream:>9} {proxy:>9}  {} {key}{failed}",
            slow.id, slow.command,
        );
    }
    text
}

/// With three digits or so: `12.3ms`.
fn show(time: Duration) -> String {
    if time.is_zero() { "-".to_owned() } else { format!("{time:.1?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Times;

    #[test]
    fn line_shows_where_the_time_went() {
        let ms = Duration::from_millis;
        let slow = Slow {
            id: 7,
            at: 86_400_000 + 3_661_000,
            command: "get",
            key: Some("key:1a2b3c4d".to_owned()),
            policy: "policy".into(),
            listener: "127.0.0.1:6379".into(),
            user: "default".into(),
            client: 3,
            database: 0,
            times: Times::split(ms(25), ms(0), ms(24)),
            error: false,
        };
        let text = as_text(&[slow]);
        let line = "   7  01:01:01    25.0ms         -    24.0ms     1.0ms  get key:1a2b3c4d";
        assert_eq!(text.lines().nth(1), Some(line), "{text}");
    }
}
