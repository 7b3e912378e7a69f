//! One line of CLIENT LIST.
//!
//! Owns: [`write_line`]. Never knows: whose lines are asked for.

use std::fmt::Write as _;
use std::time::Instant;

use super::client_info::{ClientInfo, Form};
use super::figures::Figures;
use super::roster::ClientEntry;

/// What Redis allots to every client for its replies before it has any.
const REPLY_ROOM: usize = 16 * 1024;

/// Redis networking.c `catClientInfoString`, and the end of the line.
pub(super) fn write_line(
    form: &Form,
    (entry, figures): (&ClientEntry, &Figures),
    now: Instant,
    line: &mut String,
) {
    for (at, (name, other)) in form.fields().enumerate() {
        if at > 0 {
            line.push(' ');
        }
        line.push_str(name);
        line.push('=');
        write_value(name, other, (entry, figures), now, line);
    }
    line.push('\n');
}

fn write_value(
    name: &str,
    other: &str,
    (entry, figures): (&ClientEntry, &Figures),
    now: Instant,
    line: &mut String,
) {
    let client_info = entry.client_info();
    let client_info = client_info.as_deref();
    let put = |line: &mut String, what: fn(&ClientInfo) -> &[u8]| {
        line.push_str(&String::from_utf8_lossy(client_info.map_or(&b""[..], what)));
    };
    // What does not fit into the room that every client has.
    let beyond = figures.unwritten.saturating_sub(REPLY_ROOM);
    let number: u64 = match name {
        "fd" => return write_number(entry.peer.fd, line),
        "redir" => return write_number(figures.state.redirect, line),
        "multi" => return write_number(figures.state.queued.map_or(-1, i64::from), line),
        "addr" => return line.push_str(entry.peer.address()),
        "laddr" => return line.push_str(entry.peer.local()),
        "name" => return put(line, |client_info| &client_info.name),
        "lib-name" => return put(line, |client_info| &client_info.lib_name),
        "lib-ver" => return put(line, |client_info| &client_info.lib_ver),
        "capa" => return line.push_str(client_info.map_or("", |client_info| client_info.capa)),
        "flags" => return line.extend(figures.marks.letters().map(char::from)),
        "cmd" => return line.push_str(figures.command.map_or("NULL", |spec| spec.name)),
        "user" => return line.push_str(entry.user().as_str()),
        "events" => return line.push_str(if figures.unwritten > 0 { "rw" } else { "r" }),
        "id" => entry.id,
        "age" => now.saturating_duration_since(entry.since).as_secs(),
        "idle" => now.saturating_duration_since(figures.active).as_secs(),
        "db" => figures.database.into(),
        "sub" => figures.state.channels,
        "psub" => figures.state.patterns,
        "ssub" => figures.state.shards,
        "watch" => figures.state.watched.into(),
        "qbuf" => figures.unread as u64,
        "qbuf-free" => figures.room as u64,
        "argv-mem" => figures.arguments as u64,
        "multi-mem" => figures.state.queued_bytes as u64,
        "rbs" | "rbp" => figures.reply_room as u64,
        "obl" => figures.unwritten.min(REPLY_ROOM) as u64,
        "oll" => u64::from(beyond > 0),
        "omem" => beyond as u64,
        "tot-mem" => entry.held() as u64,
        "resp" => figures.protocol.version().into(),
        "tot-net-in" => entry.received(),
        "tot-net-out" => entry.sent(),
        "tot-cmds" => entry.commands(),
        _ => return line.push_str(other),
    };
    write_number(number, line);
}

fn write_number(number: impl std::fmt::Display, line: &mut String) {
    // Nothing fails in memory.
    let _ = write!(line, "{number}");
}
