#!/usr/bin/env python3
"""Writes src/command/table.rs from the COMMAND replies of running servers.

    command_table.py HOST:PORT … > src/command/table.rs
    command_table.py --again     > new; mv new src/command/table.rs

Name the servers from old to new: where they differ, the later one counts. Facts about servers that
are not at hand stand in command_facts.json beside this file (the fields of COMMAND, from the
published command descriptions); a server's own reply goes before them. What COMMAND does not say
stands below (channels, effects, options that name keys) and in command_effects.py (what a command
reaches, stores and does with scripts). With --again no server is asked: the rows of the present
table get the columns of command_effects.py anew.
"""

import json
import os
import re
import socket
import sys

from command_effects import cost, reach, script, stores

# Options name keys: COMMAND's specifications are silent, incomplete or heed only the first of them.
KEYS = {
    "bitfield": ["KeySpec::Bitfield"],
    "client|tracking": ["KeySpec::Tracking"],
    "debug": ["KeySpec::Debug"],
    "georadius": ["KeySpec::GeoStore { options: 6 }"],
    "georadiusbymember": ["KeySpec::GeoStore { options: 5 }"],
    "migrate": ["KeySpec::Migrate"],
    "set": ["KeySpec::Set"],
    "sort": ["KeySpec::Sort { store: true }"],
    "sort_ro": ["KeySpec::Sort { store: false }"],
    "xread": ["KeySpec::Streams"],
    "xreadgroup": ["KeySpec::Streams"],
    # Channels.
    "publish": ["channel(1, Channel, W)"],
    "spublish": ["channel(1, ShardChannel, W)"],
    "subscribe": ["channels(1, 1, Channel, R)"],
    "psubscribe": ["channels(1, 1, ChannelPattern, R)"],
    "ssubscribe": ["channels(1, 1, ShardChannel, R)"],
    "unsubscribe": ["channels(1, 0, Channel, N)"],
    "punsubscribe": ["channels(1, 0, ChannelPattern, N)"],
    "sunsubscribe": ["channels(1, 0, ShardChannel, N)"],
    "pubsub|channels": ["channels(2, 0, ChannelPattern, N)"],
    "pubsub|numsub": ["channels(2, 0, Channel, N)"],
    "pubsub|shardchannels": ["channels(2, 0, ChannelPattern, N)"],
    "pubsub|shardnumsub": ["channels(2, 0, ShardChannel, N)"],
}
# The destination counts although the sources are missing, or the other way round.
LEAST_NONE = {("pfmerge", 2)}
# Scripts may have no keys.
COUNTED_NONE = {"eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}

EFFECTS = {
    "Auth": "auth",
    "Hello": "hello",
    "Reset": "reset",
    "Quit": "quit",
    "Select": "select",
    "Multi": "multi",
    "Exec": "exec",
    "Discard": "discard",
    "Watch": "watch",
    "Unwatch": "unwatch",
    "Block": "blpop brpop blmove blmovem brpoplpush blmpop bzpopmin bzpopmax bzmpop"
    " xread xreadgroup",
    "Wait": "wait waitaof",
    "Subscribe": "subscribe psubscribe ssubscribe",
    "Unsubscribe": "unsubscribe punsubscribe sunsubscribe",
    "Monitor": "monitor",
    "Tracking": "client|tracking client|caching",
    "Local": "readonly readwrite asking",
    # Whatever the server takes while a script holds it up, and what ends a pause.
    "Release": "script|kill function|kill function|stats shutdown client|unpause failover",
    "Replicate": "sync psync replconf",
    "Never": "script|debug cluster|syncslots"
    " himport|prepare himport|set himport|discard himport|discardall",
    "Shared": "client|pause",
}
EFFECT_OF = {name: effect for effect, names in EFFECTS.items() for name in names.split()}


class Server:
    """A connection with just enough RESP2 to read COMMAND."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.file = socket.create_connection((host, int(port))).makefile("rwb")

    def call(self, *words):
        parts = [b"$%d\r\n%s\r\n" % (len(w), w) for w in (word.encode() for word in words)]
        self.file.write(b"*%d\r\n" % len(parts) + b"".join(parts))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode() if rest != "-1" else None
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        raise SystemExit(f"unexpected reply: {line!r}")


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def key_spec(reply):
    spec = pairs(reply)
    begin, find = pairs(spec["begin_search"]), pairs(spec["find_keys"])
    return {
        "flags": spec["flags"],
        "begin": begin["type"],
        "find": find["type"],
        **pairs(begin["spec"]),
        **pairs(find["spec"]),
    }


def commands(server):
    found = {}

    def add(reply):
        name, arity, flags, _, _, _, categories, _, specs, subcommands = reply[:10]
        found[name.lower()] = {
            "arity": arity,
            "flags": flags,
            "categories": [category.removeprefix("@") for category in categories],
            "keys": [key_spec(spec) for spec in specs],
        }
        for subcommand in subcommands:
            add(subcommand)

    for reply in server.call("COMMAND"):
        add(reply)
    return found


def access(flags):
    read = "access" in flags
    write = any(flag in flags for flag in ("insert", "update", "delete"))
    return {(0, 0): "N", (1, 0): "R", (0, 1): "W", (1, 1): "RW"}[(read, write)]


def keys(name, specs):
    """The specifications of one command in the words of the table."""
    if name in KEYS:
        return KEYS[name]
    rows = []
    for spec in specs:
        if "not_key" in spec["flags"]:
            continue
        may = access(spec["flags"])
        assert spec["begin"] == "index", f"{name}: write down where its keys are"
        first = spec["index"]
        if spec["find"] == "keynum":
            assert (spec["keynumidx"], spec["firstkey"]) == (0, 1), name
            least = 0 if name in COUNTED_NONE else 1
            rows.append(f"counted({first}, {spec['keystep']}, {least}, {may})")
            continue
        assert spec["find"] == "range" and spec["limit"] == 0, name
        last, step = spec["lastkey"], spec["keystep"]
        if last >= 0:
            rows += [f"at({arg}, {may})" for arg in range(first, first + last + 1, step)]
        else:
            least = 0 if (name, first) in LEAST_NONE else 1
            rows.append(f"span({first}, {step}, {-1 - last}, {least}, {may})")
    return rows


def effect(name):
    default = "Local" if name.split("|")[0] == "client" else "Shared"
    return EFFECT_OF.get(name, default)


def bits(module, names):
    return " | ".join(f"{module}::{name.upper()}" for name in sorted(names)) or "0"


HEADER = """\
//! One line per command and subcommand of Redis 7.0 to 8.x and Valkey 7.2 to 9.x.
//!
//! Owns: facts, written by `tests/tools/command_table.py` and held against running servers by
//! `tests/command_table.rs`. Never knows: code.
//!
//! A line: name, arity, flags, ACL categories, keys and channels, effect; what it reaches beyond
//! them, what it stores, what it has to do with scripts, its cost. Subcommands follow their container.

use super::cost::Cost;
use super::effect::Effect::{self, *};
use super::flags::{category as c, flag as f};
use super::keys::KeySpec;
use super::place::Access;
use super::place::KeyKind::{self, Channel, ChannelPattern, ShardChannel};
use super::reach::Does::*;
use super::reach::Reach::{self, *};
use super::script::Script;
use super::stores::Stores as S;

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) arity: i16,
    pub(super) flags: u32,
    pub(super) categories: u32,
    pub(super) keys: &'static [KeySpec],
    pub(super) effect: Effect,
    pub(super) reach: Reach,
    pub(super) stores: S,
    pub(super) script: Option<Script>,
    pub(super) cost: Cost,
}

#[rustfmt::skip]
#[allow(clippy::too_many_arguments, reason = "a line of the table")]
const fn row(
    name: &'static str, arity: i16, flags: u32, categories: u32, keys: &'static [KeySpec],
    effect: Effect, reach: Reach, stores: S, script: Option<Script>, cost: Cost,
) -> Row {
    Row { name, arity, flags, categories, keys, effect, reach, stores, script, cost }
}

const L: Cost = Cost::Linear;
const N: Access = Access::NONE;
const R: Access = Access::READ;
const W: Access = Access::WRITE;
const RW: Access = Access::READ_WRITE;

const fn at(arg: usize, access: Access) -> KeySpec {
    KeySpec::At { arg, kind: KeyKind::Key, access }
}

const fn span(first: usize, step: usize, spare: usize, least: usize, access: Access) -> KeySpec {
    KeySpec::Span { first, step, spare, least, kind: KeyKind::Key, access }
}

const fn counted(count: usize, step: usize, least: usize, access: Access) -> KeySpec {
    KeySpec::Counted { count, step, least, access }
}

const fn channel(arg: usize, kind: KeyKind, access: Access) -> KeySpec {
    KeySpec::At { arg, kind, access }
}

const fn channels(first: usize, least: usize, kind: KeyKind, access: Access) -> KeySpec {
    KeySpec::Span { first, step: 1, spare: 0, least, kind, access }
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
"""


def columns(name, has_keys, writes, scripting):
    """What command_effects.py says of a command."""
    columns = reach(name, has_keys), stores(name, writes), script(name, scripting), cost(name)
    return ", ".join(columns)


ROW = re.compile(r'    row\("([^"]+)", (-?\d+), ([^,]+), ([^,]+), &\[(.*?)\], ([A-Z][a-z]+)(?:, .*)?\),')


def again():
    path = os.path.join(os.path.dirname(__file__), "../../src/command/table.rs")
    with open(path) as file:
        lines = file.read().split("\n")
    text = HEADER
    for line in lines[lines.index("pub(super) const ROWS: &[Row] = &[") + 1 : -2]:
        name, arity, flags, categories, specs, effect = ROW.fullmatch(line).groups()
        words = categories.split(" | ")
        more = columns(name, specs != "", "f::WRITE" in flags, "c::SCRIPTING" in words)
        text += f'    row("{name}", {arity}, {flags}, {categories}, &[{specs}], {effect}, {more}),\n'
    return text


def from_servers(addresses):
    with open(os.path.join(os.path.dirname(__file__), "command_facts.json")) as file:
        found = json.load(file)
    for address in addresses:
        found |= commands(Server(address))
    text = HEADER
    for name in sorted(found, key=lambda name: name.replace("|", "\0")):
        command = found[name]
        flags = {flag.replace("skip_commandlog", "skip_slowlog") for flag in command["flags"]}
        specs = ", ".join(keys(name, command["keys"]))
        scripting = "scripting" in command["categories"]
        text += (
            f'    row("{name}", {command["arity"]}, {bits("f", flags)},'
            f' {bits("c", command["categories"])}, &[{specs}], {effect(name)},'
            f' {columns(name, specs != "", "write" in flags, scripting)}),\n'
        )
    return text


def main():
    text = again() if sys.argv[1:] == ["--again"] else from_servers(sys.argv[1:])
    sys.stdout.write(text + "];\n")


main()
