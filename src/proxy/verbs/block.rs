//! `block` and `unblock`: deny commands, a user, a listener, a uid or a certificate for a while,
//! whatever policies allow.
//!
//! Owns: [`BLOCK`], [`UNBLOCK`]. Never knows: how a command is refused.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::clients::certificate;
use super::{AdminState, span};
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc;
use crate::policy::Blocks;
use crate::proxy::blocking::{Entry, What};
use crate::session::Choice;

pub(crate) const BLOCK: Verb<AdminState> = Verb {
    name: "block",
    path: "/block",
    also: &[],
    effect: Effect::Changes,
    about: "Deny commands, a user, a listener, a uid or a certificate at once, whatever the policies allow",
    arguments: &[
        Argument {
            name: "command",
            kind: Kind::Options("WORD"),
            help: "Commands in the words of the ACL language, for every client: FLUSHALL, config|set, @dangerous",
        },
        Argument { name: "user", kind: Kind::Option("NAME"), help: "Every command of this user" },
        Argument {
            name: "listener",
            kind: Kind::Option("ADDRESS"),
            help: "Every command over this listener, as 127.0.0.1:6379 or unix:/path",
        },
        Argument {
            name: "uid",
            kind: Kind::Option("NUMBER"),
            help: "Every command of this user of the system, over a Unix socket",
        },
        Argument {
            name: "certificate",
            kind: Kind::Option("NAME|SHA256"),
            help: "Every command of clients with such a certificate, and their handshakes: spiffe://prod/ns/*/sa/app1, dns:app1.example.com, or its SHA-256",
        },
        Argument {
            name: "for",
            kind: Kind::Option("TIME"),
            help: "How long, as 15m; without it until unblock, or until respgate exits",
        },
    ],
    examples: &[
        ("Deny a command for a quarter of an hour", "respgate block --command FLUSHALL --for 15m"),
        ("Deny everything to a user", "respgate block --user app1 --for 1h"),
        (
            "Deny everything to an application by its certificate",
            "respgate block --certificate spiffe://prod/ns/shop/sa/app1",
        ),
    ],
    done: "it is denied, for connections that exist as well",
    failed: "it is not denied: there is no such listener, or there are too many blocks",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(block(admin_state, call)),
};

pub(crate) const UNBLOCK: Verb<AdminState> = Verb {
    name: "unblock",
    path: "/unblock",
    also: &[],
    effect: Effect::Changes,
    about: "Remove a block, or all of them",
    arguments: &[
        Argument {
            name: "id",
            kind: Kind::OptionalWord("ID"),
            help: "Its number, as status shows it",
        },
        Argument { name: "all", kind: Kind::Flag, help: "Remove every block" },
    ],
    examples: &[
        ("Remove one block", "respgate unblock 3"),
        ("Remove all of them", "respgate unblock --all"),
    ],
    done: "it was removed",
    failed: "there is no such block",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(unblock(admin_state, call)),
};

async fn block(admin_state: Arc<AdminState>, call: Call) -> Result<Answer, Refused> {
    let (what, choice) = what(&admin_state, &call)?;
    let now = clock::unix_ms() / 1000;
    let span = span(&call, "for")?;
    let until = span.map(|span| now + span.as_secs().max(1));
    let entry = admin_state.blocking.add(what, until, call.by.to_string(), now);
    let entry = entry.map_err(Refused::Conflict)?;
    admin_state.publish_blocks(true);
    if until.is_some() {
        tokio::spawn(end(Arc::clone(&admin_state), entry.clone()));
    }
    let count = admin_state.ask_data_plane(move |plane| plane.worker.list(&choice, 0).1).await?;
    let mut text = format!("blocked {}\n", line(&entry));
    let _ = writeln!(
        text,
        "it concerns {count} connected clients; undo it with: respgate unblock {}",
        entry.id
    );
    let mut json = shown(&entry);
    if let Some(object) = json.as_object_mut() {
        object.insert("clients".to_owned(), json!(count));
    }
    Ok(Answer::new(json, text))
}

/// What is to be blocked, and the clients concerned.
fn what(admin_state: &AdminState, call: &Call) -> Result<(What, Choice), Refused> {
    let words: Vec<&str> = call.values("command").collect();
    let (user, listener, uid) = (call.value("user"), call.value("listener"), call.parsed("uid")?);
    let usage = || {
        let text = "give exactly one of --command, --user, --listener, --uid and --certificate";
        Refused::Usage(text.to_owned())
    };
    let certificate = certificate(call)?;
    match (words.is_empty(), user, listener, uid, certificate) {
        (false, None, None, None, None) => {
            let words = words.join(" ");
            let policy = admin_state.in_force.get().components.policies.get(None);
            let tried = Blocks::default().add_commands(&words, policy.dictionary(), 0);
            tried.map_err(Refused::Usage)?;
            Ok((What::Commands(words), Choice::default()))
        }
        (true, Some(user), None, None, None) => {
            let choice = Choice { user: Some(user.to_owned()), ..Choice::default() };
            Ok((What::User(user.to_owned()), choice))
        }
        (true, None, Some(address), None, None) => {
            let in_force = admin_state.in_force.get();
            let all = in_force.config.listeners.iter().map(|one| one.address.to_string());
            let all: Vec<String> = all.collect();
            if !all.iter().any(|one| one == address) {
                let text = format!("there is no such listener; there are: {}", all.join(", "));
                return Err(Refused::NotFound(text));
            }
            let choice = Choice { listener: Some(address.to_owned()), ..Choice::default() };
            Ok((What::Listener(address.to_owned()), choice))
        }
        (true, None, None, Some(uid), None) => {
            Ok((What::Uid(uid), Choice { uid: Some(uid), ..Choice::default() }))
        }
        (true, None, None, None, Some(pattern)) => {
            let choice = Choice { certificate: Some(pattern.clone()), ..Choice::default() };
            Ok((What::Certificate(pattern), choice))
        }
        _ => Err(usage()),
    }
}

/// Ends a block when its time has come, however the clock of the machine is set meanwhile.
async fn end(admin_state: Arc<AdminState>, entry: Entry) {
    loop {
        let now = clock::unix_ms() / 1000;
        if entry.is_over(now) {
            tracing::info!(code = "ADM-I002", block = %line(&entry), "block has ended");
            admin_state.publish_blocks(false);
            return;
        }
        if !admin_state.blocking.all(now).contains(&entry) {
            return;
        }
        let until = entry.until.unwrap_or(now).saturating_mul(1000);
        let rest = until.saturating_sub(clock::unix_ms()).clamp(1, limits::BLOCK_CHECK_MS);
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}

fn unblock(
    admin_state: Arc<AdminState>,
    call: Call,
) -> std::future::Ready<Result<Answer, Refused>> {
    std::future::ready(remove(&admin_state, &call))
}

fn remove(admin_state: &AdminState, call: &Call) -> Result<Answer, Refused> {
    let id = match (call.parsed::<u64>("id")?, call.flag("all")) {
        (Some(id), false) => Some(id),
        (None, true) => None,
        _ => return Err(Refused::Usage("give the number of a block, or --all".to_owned())),
    };
    let now = clock::unix_ms() / 1000;
    let removed = admin_state.blocking.remove(id, now);
    if let (true, Some(id)) = (removed.is_empty(), id) {
        return Err(Refused::NotFound(format!("there is no block {id}; see: respgate status")));
    }
    admin_state.publish_blocks(false);
    let mut text = String::new();
    for entry in &removed {
        let _ = writeln!(text, "unblocked {}", line(entry));
    }
    if removed.is_empty() {
        text.push_str("nothing was blocked\n");
    }
    let json: Vec<Value> = removed.iter().map(shown).collect();
    Ok(Answer::new(json!({ "removed": json }), text))
}

/// A block in one line.
pub(super) fn line(entry: &Entry) -> String {
    let (kind, value) = entry.what.components();
    let until = entry
        .until
        .map_or_else(|| "without end".to_owned(), |until| format!("until {}", utc(until)));
    format!("{}: {kind} {value}, {until}, by {}", entry.id, entry.by)
}

/// A block for a program.
pub(super) fn shown(entry: &Entry) -> Value {
    let (kind, value) = entry.what.components();
    json!({
        "id": entry.id,
        "what": kind,
        "value": value,
        "since": utc(entry.since),
        "until": entry.until.map(utc),
        "by": entry.by,
    })
}
