#!/usr/bin/env python3
"""Writes src/command/table.rs from the COMMAND replies of running servers.

    generate.py HOST:PORT … > new; mv new src/command/table.rs
    generate.py --again     > new; mv new src/command/table.rs

Name the servers from old to new: where they differ, the later one counts. Commands of servers that
are not at hand are in described.json beside this file (the fields of COMMAND, from the published
command descriptions); a server's own reply goes before them. What COMMAND does not say is in
facts.py. With --again no server is asked: the rows of the present table get the columns of facts.py
anew.
"""

import json
import os
import re
import socket
import sys

import facts

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
    if name in facts.KEYS:
        return facts.KEYS[name]
    rows = []
    for spec in specs:
        if "not_key" in spec["flags"]:
            continue
        may = access(spec["flags"])
        assert spec["begin"] == "index", f"{name}: write down where its keys are"
        first = spec["index"]
        if spec["find"] == "keynum":
            assert (spec["keynumidx"], spec["firstkey"]) == (0, 1), name
            least = 0 if name in facts.COUNTED_NONE else 1
            rows.append(f"counted({first}, {spec['keystep']}, {least}, {may})")
            continue
        assert spec["find"] == "range" and spec["limit"] == 0, name
        last, step = spec["lastkey"], spec["keystep"]
        if last >= 0:
            rows += [f"at({arg}, {may})" for arg in range(first, first + last + 1, step)]
        else:
            least = 0 if (name, first) in facts.LEAST_NONE else 1
            rows.append(f"span({first}, {step}, {-1 - last}, {least}, {may})")
    return rows


def bits(module, names):
    return " | ".join(f"{module}::{name.upper()}" for name in sorted(names)) or "0"


HEADER = """\
//! One line per command and subcommand of Redis 7.0 to 8.x and Valkey 7.2 to 9.x.
//!
//! Owns: facts, written by `src/command/table/generate.py` and held against running servers by
//! `tests/command_table.rs`. Never knows: code.
//!
//! A line: name, arity, flags, ACL categories, keys and channels; what it does to its connection, what
//! it reaches beyond its keys, what it stores, how long its keys live, where its replies have names,
//! what it has to do with scripts, its cost, whether every server has it. Subcommands follow their container.

use super::cost::Cost;
use super::effect::Effect::{self, *};
use super::effect::Timeout;
use super::flags::{category as c, flag as f};
use super::keys::KeySpec;
use super::lifetime::{First, Lifetime as T, Otherwise, Unit};
use super::local::Local;
use super::names::ReplyNames as In;
use super::place::Access;
use super::place::KeyKind::{self, Channel, ChannelPattern, ShardChannel};
use super::reach::Does::*;
use super::reach::PatternAt;
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
    pub(super) lifetime: T,
    pub(super) names: In,
    pub(super) script: Option<Script>,
    pub(super) cost: Cost,
    pub(super) everywhere: bool,
}

#[rustfmt::skip]
#[allow(clippy::too_many_arguments, reason = "a line of the table")]
const fn row(
    name: &'static str, arity: i16, flags: u32, categories: u32, keys: &'static [KeySpec],
    effect: Effect, reach: Reach, stores: S, lifetime: T, names: In, script: Option<Script>, cost: Cost,
    everywhere: bool,
) -> Row {
    Row {
        name, arity, flags, categories, keys, effect, reach, stores, lifetime, names, script, cost,
        everywhere,
    }
}

const L: Cost = Cost::Linear;
const N: Access = Access::NONE;
const R: Access = Access::READ;
const W: Access = Access::WRITE;
const RW: Access = Access::READ_WRITE;
const SECONDS: T = T::Argument { unit: Unit::Seconds, absolute: false };
const MILLISECONDS: T = T::Argument { unit: Unit::Milliseconds, absolute: false };
const AT_SECONDS: T = T::Argument { unit: Unit::Seconds, absolute: true };
const AT_MILLISECONDS: T = T::Argument { unit: Unit::Milliseconds, absolute: true };

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


# Specifications of keys that are written, whatever the options.
WRITTEN = re.compile(
    r"(?<!channel)(?<!channels)\([^()]*, R?W\)"
    r"|KeySpec::(Set|Bitfield|GeoStore|Migrate|Sort { store: true })"
)


def line(name, arity, flags, categories, specs):
    """A row: what the server says of a command, then what facts.py says of it."""
    facts.known(name)
    flag = flags.split(" | ")
    category = categories.split(" | ")
    writes_keys = "f::READONLY" not in flag and WRITTEN.search(specs) is not None
    columns = [
        facts.effect(name, "f::BLOCKING" in flag),
        facts.reach(name, specs != ""),
        facts.stores(name, "f::WRITE" in flag),
        facts.lifetime(name, writes_keys),
        facts.names(name),
        facts.script(name, "c::SCRIPTING" in category),
        facts.cost(name),
        facts.everywhere(name),
    ]
    return f'    row("{name}", {arity}, {flags}, {categories}, &[{specs}], {", ".join(columns)}),\n'


ROW = re.compile(r'    row\("([^"]+)", (-?\d+), ([^,]+), ([^,]+), &\[(.*?)\], [A-Z][a-z]+.*\),')


def again():
    path = os.path.join(os.path.dirname(__file__), "../table.rs")
    with open(path) as file:
        lines = file.read().split("\n")
    rows = lines[lines.index("pub(super) const ROWS: &[Row] = &[") + 1 : -2]
    return HEADER + "".join(line(*ROW.fullmatch(row).groups()) for row in rows)


def from_servers(addresses):
    with open(os.path.join(os.path.dirname(__file__), "described.json")) as file:
        found = json.load(file)
    for address in addresses:
        found |= commands(Server(address))
    text = HEADER
    for name in sorted(found, key=lambda name: name.replace("|", "\0")):
        command = found[name]
        flags = {flag.replace("skip_commandlog", "skip_slowlog") for flag in command["flags"]}
        specs = ", ".join(keys(name, command["keys"]))
        text += line(name, command["arity"], bits("f", flags), bits("c", command["categories"]), specs)
    return text


def main():
    text = again() if sys.argv[1:] == ["--again"] else from_servers(sys.argv[1:])
    sys.stdout.write(text + "];\n")


main()
