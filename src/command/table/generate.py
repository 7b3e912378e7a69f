#!/usr/bin/env python3
"""Writes src/command/table.rs from the COMMAND replies of running servers.

    generate.py HOST:PORT … > new; mv new src/command/table.rs
    generate.py --again     > new; mv new src/command/table.rs

Name the servers from old to new: where they differ, the later one counts. Commands of servers that
are not at hand are in described.json beside this file (the fields of COMMAND, from the published
command descriptions); a server's own reply goes before them. What COMMAND does not report is in
facts.py. With --again no server is queried: the rows of the present table get the columns of facts.py
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


TABLE = os.path.join(os.path.dirname(__file__), "../table.rs")
ROWS = "pub(super) const ROWS: &[Row] = &[\n"


def table():
    """The table as it is: what is before its rows, which stays, and the rows."""
    with open(TABLE) as file:
        before, rows = file.read().split(ROWS)
    return before + ROWS, rows.split("\n")[:-2]


# Specifications of keys that are written, whatever the options.
WRITTEN = re.compile(
    r"(?<!channel)(?<!channels)\([^()]*, R?W\)"
    r"|KeySpec::(Set|Bitfield|GeoStore|Migrate|Sort { store: true })"
)


def line(name, arity, flags, categories, specs):
    """A row: what the server reports of a command, then what facts.py has of it."""
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
        facts.miss(name, "f::READONLY" in flag),
        facts.everywhere(name),
    ]
    return f'    row("{name}", {arity}, {flags}, {categories}, &[{specs}], {", ".join(columns)}),\n'


ROW = re.compile(r'    row\("([^"]+)", (-?\d+), ([^,]+), ([^,]+), &\[(.*?)\], [A-Z][a-z]+.*\),')


def again():
    before, rows = table()
    return before + "".join(line(*ROW.fullmatch(row).groups()) for row in rows)


def from_servers(addresses):
    with open(os.path.join(os.path.dirname(__file__), "described.json")) as file:
        found = json.load(file)
    for address in addresses:
        found |= commands(Server(address))
    text, _ = table()
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
