//! `hotkeys`: the keys that are used most, and those that hold the most.
//!
//! Owns: [`HOTKEYS`], [`HOTKEYS_RESET`]. Never knows: how keys are counted or shown.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::limits;
use crate::config::{self, show_size};
use crate::telemetry::Found;

pub(crate) const HOTKEYS: Verb<AdminState> = Verb {
    name: "hotkeys",
    path: "/hotkeys",
    also: &[],
    effect: Effect::Shows,
    about: "List the keys that are used most, or with --big those that hold the most",
    arguments: &[Argument {
        name: "big",
        kind: Kind::Flag,
        help: "The keys with the largest values and replies",
    }],
    examples: &[
        ("List the keys that were used most in the last minute or two", "respgate hotkeys"),
        ("List the keys with the largest values", "respgate hotkeys --big"),
        ("Print the list for a program", "respgate hotkeys get --json"),
    ],
    done: "the list was printed",
    failed: "such keys are not counted: see [hotkeys]",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(get(admin_state, call)),
};

pub(crate) const HOTKEYS_RESET: Verb<AdminState> = Verb {
    name: "hotkeys reset",
    path: "/hotkeys/reset",
    also: &[],
    effect: Effect::Changes,
    about: "Count keys from the beginning, and delete the list of big ones",
    arguments: &[],
    examples: &[("Begin anew before a test", "respgate hotkeys reset")],
    done: "the counts were deleted",
    failed: "such keys are not counted: see [hotkeys]",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(reset(admin_state, call)),
};

const NOT_HOT: &str =
    "Hot keys are not counted; set [hotkeys] sample, for example 64, and reload.\n";
const NOT_BIG: &str =
    "Big keys are not counted; set [hotkeys] big, for example \"1MiB\", and reload.\n";

fn settings(admin_state: &AdminState) -> config::HotKeys {
    admin_state.in_force.get().config.insight.hot.clone()
}

async fn get(admin_state: Arc<AdminState>, call: Call) -> Result<Answer, Refused> {
    let (own, big) = (settings(&admin_state), call.flag("big"));
    let off = if big { own.big == 0 } else { own.sample == 0 };
    if off {
        let text = if big { NOT_BIG } else { NOT_HOT };
        return Ok(Answer::new(json!({ "enabled": false, "policies": [] }), text).no());
    }
    let found = admin_state.ask_data_plane(|plane| plane.worker.hot_keys()).await?;
    let policies: Vec<Value> =
        found.iter().map(|of| if big { big_json(of) } else { hot_json(of, own.sample) }).collect();
    let json = json!({ "enabled": true, "sample": own.sample, "policies": policies });
    let text: String =
        found.iter().map(|of| if big { big_text(of) } else { hot_text(of, own.sample) }).collect();
    let nothing = "Nothing found yet.\n".to_owned();
    Ok(Answer::new(json, if text.is_empty() { nothing } else { text }))
}

async fn reset(admin_state: Arc<AdminState>, _: Call) -> Result<Answer, Refused> {
    let own = settings(&admin_state);
    if own.sample == 0 && own.big == 0 {
        return Ok(Answer::new(json!({ "enabled": false }), NOT_HOT).no());
    }
    admin_state.ask_data_plane(|plane| plane.worker.forget_hot_keys()).await?;
    Ok(Answer::new(json!({ "enabled": true }), "Keys are counted from the beginning.\n"))
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn rate(of: &Found, sample: u64, count: u64) -> f64 {
    let seconds = of.over.as_secs_f64().max(1.0);
    (count * sample) as f64 / seconds
}

fn hot_json(of: &Found, sample: u64) -> Value {
    let keys = of.hot.iter().map(|key| {
        json!({
            "key": String::from_utf8_lossy(&key.item),
            "count": key.count,
            "error": key.error,
            "per_second": rate(of, sample, key.count),
        })
    });
    json!({
        "policy": of.section,
        "seconds": of.over.as_secs_f64(),
        "looked_at": of.looked_at,
        "keys": keys.collect::<Vec<_>>(),
    })
}

fn big_json(of: &Found) -> Value {
    let keys = of
        .big
        .iter()
        .map(|(key, bytes)| json!({ "key": String::from_utf8_lossy(key), "bytes": bytes }));
    json!({ "policy": of.section, "keys": keys.collect::<Vec<_>>() })
}

fn hot_text(of: &Found, sample: u64) -> String {
    if of.hot.is_empty() {
        return String::new();
    }
    let (section, seconds) = (&of.section, of.over.as_secs());
    let mut text = format!(
        "{section}: {} keys looked at in {seconds} s (1 command of {sample})\n   per second  counted  key\n",
        of.looked_at
    );
    for key in of.hot.iter().take(limits::LISTED_HOT_KEYS) {
        let error =
            if key.error == 0 { String::new() } else { format!("  (at most {} less)", key.error) };
        let _ = writeln!(
            text,
            "{:>13.0}  {:>7}  {}{error}",
            rate(of, sample, key.count),
            key.count,
            String::from_utf8_lossy(&key.item)
        );
    }
    text
}

fn big_text(of: &Found) -> String {
    if of.big.is_empty() {
        return String::new();
    }
    let mut text = format!("{}: largest value or reply of a key\n", of.section);
    for (key, bytes) in of.big.iter().take(limits::LISTED_HOT_KEYS) {
        let _ = writeln!(text, "{:>13}  {}", show_size(*bytes), String::from_utf8_lossy(key));
    }
    text
}
