//! `clients` and `disconnect`: lists the clients, or disconnects some.
//!
//! Owns: [`CLIENTS`], [`DISCONNECT`]. Never knows: how a client is found.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::limits;
use crate::config::CertificatePattern;
use crate::session::{Choice, Listed};

const ID: Argument =
    Argument { name: "id", kind: Kind::Option("NUMBER"), help: "The number of a client" };
const USER: Argument =
    Argument { name: "user", kind: Kind::Option("NAME"), help: "Clients of this user" };
const UID: Argument = Argument {
    name: "uid",
    kind: Kind::Option("NUMBER"),
    help: "Clients of this user of the system, over a Unix socket",
};
const ADDRESS: Argument = Argument {
    name: "address",
    kind: Kind::Option("IP[:PORT]"),
    help: "Clients that connect from here",
};
const NAME: Argument = Argument {
    name: "name",
    kind: Kind::Option("NAME"),
    help: "Clients with this name (CLIENT SETNAME)",
};
const LISTENER: Argument = Argument {
    name: "listener",
    kind: Kind::Option("ADDRESS"),
    help: "Clients of this listener, as 127.0.0.1:6379 or unix:/path",
};
const CERTIFICATE: Argument = Argument {
    name: "certificate",
    kind: Kind::Option("NAME|SHA256"),
    help: "Clients that have shown such a certificate: spiffe://prod/ns/*/sa/app1, dns:app1.example.com, or its SHA-256",
};
const MOST: Argument = Argument {
    name: "most",
    kind: Kind::Option("NUMBER"),
    help: "List so many at most (1000; up to 10000)",
};

pub(crate) const CLIENTS: Verb<AdminState> = Verb {
    name: "clients",
    path: "/clients",
    also: &[],
    effect: Effect::Shows,
    about: "List the clients that are connected",
    arguments: &[ID, USER, UID, ADDRESS, NAME, LISTENER, CERTIFICATE, MOST],
    examples: &[
        ("List all clients", "respgate clients --config /etc/respgate/respgate.toml"),
        ("List those of one user, for a program", "respgate clients --user app1 --json"),
    ],
    done: "the clients were listed",
    failed: "respgate is shutting down",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(list(admin_state, call)),
};

pub(crate) const DISCONNECT: Verb<AdminState> = Verb {
    name: "disconnect",
    path: "/disconnect",
    also: &[],
    effect: Effect::Changes,
    about: "Disconnect clients; they may connect again, unless they are blocked",
    arguments: &[ID, USER, UID, ADDRESS, NAME, LISTENER, CERTIFICATE],
    examples: &[
        ("Disconnect one client", "respgate disconnect --id 17"),
        ("Disconnect all clients of a user", "respgate disconnect --user app1"),
    ],
    done: "at least one client was disconnected",
    failed: "no client fits",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(disconnect(admin_state, call)),
};

/// The value of `--certificate`, if it is given.
pub(super) fn certificate(call: &Call) -> Result<Option<CertificatePattern>, Refused> {
    let wrong = |problem| Refused::Usage(format!("--certificate: {problem}"));
    call.value("certificate").map(|text| text.parse().map_err(wrong)).transpose()
}

fn choice(call: &Call) -> Result<Choice, Refused> {
    let text = |name: &str| call.value(name).map(str::to_owned);
    Ok(Choice {
        id: call.parsed("id")?,
        user: text("user"),
        uid: call.parsed("uid")?,
        address: text("address"),
        listener: text("listener"),
        name: text("name"),
        certificate: certificate(call)?,
    })
}

async fn list(admin_state: Arc<AdminState>, call: Call) -> Result<Answer, Refused> {
    let choice = choice(&call)?;
    let most = call
        .parsed("most")?
        .unwrap_or(limits::LISTED_CLIENTS_DEFAULT)
        .min(limits::LISTED_CLIENTS_MAX);
    let (listed, count) =
        admin_state.ask_data_plane(move |plane| plane.worker.list(&choice, most)).await?;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:>6} {:<10} {:<21} {:>5} {:>5} {:>8} {:<8} NAME",
        "ID", "USER", "ADDRESS", "AGE", "IDLE", "COMMANDS", "STATE"
    );
    for client in &listed {
        let Listed { id, user, address, age, idle, commands, state, name, .. } = client;
        let address = client.uid.map_or_else(|| address.clone(), |uid| format!("unix, uid {uid}"));
        let (age, idle) = (short(*age), short(*idle));
        let state = if client.blocked && *state == "normal" { "denied" } else { state };
        let row = format!(
            "{id:>6} {user:<10} {address:<21} {age:>5} {idle:>5} {commands:>8} {state:<8} {name}"
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let more = count - listed.len();
    let _ = match more {
        0 => writeln!(text, "{count} clients"),
        more => writeln!(text, "{count} clients, {more} of them not listed"),
    };
    let clients: Vec<Value> = listed.iter().map(shown).collect();
    Ok(Answer::new(json!({ "count": count, "clients": clients }), text))
}

fn shown(client: &Listed) -> Value {
    json!({
        "id": client.id,
        "user": client.user,
        "uid": client.uid,
        "certificate": client.certificate,
        "address": client.address,
        "listener": client.listener,
        "name": client.name,
        "library": client.library,
        "age_seconds": client.age.as_secs(),
        "idle_seconds": client.idle.as_secs(),
        "database": client.database,
        "commands": client.commands,
        "received_bytes": client.received,
        "sent_bytes": client.sent,
        "state": client.state,
        "denied": client.blocked,
    })
}

/// A time in at most five characters.
fn short(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

async fn disconnect(admin_state: Arc<AdminState>, call: Call) -> Result<Answer, Refused> {
    let choice = choice(&call)?;
    if choice.is_all() {
        let text = "give at least one of --id, --user, --uid, --address, --name and --listener";
        return Err(Refused::Usage(text.to_owned()));
    }
    let count = admin_state.ask_data_plane(move |plane| plane.worker.disconnect(&choice)).await?;
    let plural = if count == 1 { "" } else { "s" };
    let answer = Answer::new(
        json!({ "disconnected": count }),
        format!("disconnected {count} client{plural}"),
    );
    Ok(if count == 0 { answer.no() } else { answer })
}
