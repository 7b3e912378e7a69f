#!/usr/bin/env python3
"""Writes deploy/release/order.ld: the functions that a running respgate executes, for the linker to place in one piece.

Linux brings a program into memory 64 KiB at a time, so that a function in use keeps its neighbours in memory, too. The
functions are found by running an optimized build in valgrind: first its start and one request, then what applications and
operators do all day. A function that is missing in the list is placed with the others, and costs memory only; names that
no longer exist have no effect. To be run after larger changes; it takes a few minutes.

Needs valgrind, redis-server and lld, with which Rust links on amd64; run it at the top of the repository.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

from ports import free_port  # noqa: E402

PROGRAM = ROOT / "target/release/respgate"
HEADER = """\
/* The functions that a running respgate executes, in one piece; deploy/release/link.rs has the reason.
   Written by deploy/release/order.py. */
SECTIONS {
  .text.run : {
"""
FOOTER = """\
  }
}
INSERT BEFORE .text;
"""


def build(table):
    subprocess.run(
        ["cargo", "rustc", "--release", "--locked", "--bin", "respgate", "--", "-C", f"link-args=-Wl,--no-demangle -Wl,-Map={table}"],
        cwd=ROOT, check=True, env=os.environ | {"CARGO_PROFILE_RELEASE_STRIP": "none"},
    )


def connected(port, seconds=120):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=seconds)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def talk(port, *lines):
    """Each line is a command, and is sent when the one before has a reply."""
    with connected(port) as client:
        for line in lines:
            words = line.split(" ")
            client.sendall(f"*{len(words)}\r\n".encode() + "".join(f"${len(word)}\r\n{word}\r\n" for word in words).encode())
            client.recv(1 << 16)


def work(port, telemetry):
    """What applications and operators do all day."""
    large = "x" * 40_000
    talk(port, "SET a 1 EX 60", "GET a", "MSET a 1 b 2", "MGET a b", "INCR a", "DEL b", "EXISTS a", "EXPIRE a 60", "TTL a")
    talk(port, "HSET h f v", "HGETALL h", "LPUSH l x", "LRANGE l 0 -1", "SADD s x", "ZADD z 1 x", f"SET c {large}", "GET c")
    talk(port, "MULTI", "SET a 1", "EXEC", "WATCH a", "UNWATCH", "SELECT 1", "GET a", "PING", "ECHO x", "CLIENT SETNAME x")
    talk(port, "HELLO 3", "GET a", "SUBSCRIBE c", "UNSUBSCRIBE c", "BLPOP none 1", "XADD x * f v", "XREAD STREAMS x 0")
    talk(port, "FLUSHALL", "KEYS *", "NONSENSE", "GET", "INFO", "COMMAND COUNT", "EVAL return(1) 0", "SCAN 0", "QUIT")
    with connected(port) as client:
        client.sendall(b"SET a 1\r\nGET a\r\nINCR a\r\n" * 100)
        deadline = time.monotonic() + 20
        client.settimeout(2)
        received = 0
        while received < 300 * 4 and time.monotonic() < deadline:
            received += len(client.recv(1 << 16))
    for path in ("metrics", "livez", "readyz", "healthz/upstream"):
        with urllib.request.urlopen(f"http://127.0.0.1:{telemetry}/{path}", timeout=60) as answer:
            answer.read()
    time.sleep(3)


def profiles(folder):
    """The names of the functions that were executed, one set for each part of the run."""
    port, server, telemetry = free_port(), free_port(), free_port()
    subprocess.run([PROGRAM, "--quiet", "certs", "dev", folder / "tls"], check=True, stdout=subprocess.DEVNULL)
    files = {name: folder / "tls" / name for name in ("server.crt", "server.key", "client.crt", "client.key", "ca.crt")}
    (folder / "respgate.toml").write_text(
        f'[[listener]]\naddress = "127.0.0.1:{port}"\n[upstream]\naddress = "localhost:{server}"\n'
        f'tls = {{ cert = "{files["client.crt"]}", key = "{files["client.key"]}", ca = "{files["ca.crt"]}" }}\n'
        f'[policy]\nacl = "+@all -@dangerous ~?*"\n[telemetry]\naddress = "127.0.0.1:{telemetry}"\n'
    )
    redis = subprocess.Popen(
        ["redis-server", "--port", "0", "--tls-port", str(server), "--bind", "127.0.0.1", "--save", "",
         "--tls-cert-file", files["server.crt"], "--tls-key-file", files["server.key"], "--tls-ca-cert-file", files["ca.crt"]],
        cwd=folder, stdout=subprocess.DEVNULL,
    )
    connected(server).close()
    respgate = subprocess.Popen(
        ["valgrind", "--quiet", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={folder}/profile", PROGRAM, "run",
         "--config", folder / "respgate.toml"],
        stderr=subprocess.DEVNULL,
    )
    try:
        talk(port, "SET a 1", "GET a")
        time.sleep(3)
        subprocess.run(["callgrind_control", "--dump", str(respgate.pid)], check=True, stdout=subprocess.DEVNULL)
        work(port, telemetry)
        subprocess.run(["callgrind_control", "--dump", str(respgate.pid)], check=True, stdout=subprocess.DEVNULL)
    finally:
        respgate.send_signal(signal.SIGKILL)
        respgate.wait()
        redis.kill()
        redis.wait()
    return [executed(folder / f"profile.{number}") for number in (1, 2)]


def executed(profile):
    """A name appears in whole where it is used first, and as its number later; `fn` is a function with costs of its own."""
    names, found = {}, set()
    for kind, number, name in re.findall(r"^(c?fn)=(\(\d+\))(?: (.*))?$", profile.read_text(), re.MULTILINE):
        if name:
            names[number] = name.split("'")[0]
        if kind == "fn":
            found.add(names[number])
    return found


def sections(table):
    """Name of a function -> its section as the linker knows it, and the object with it."""
    line = re.compile(r"^ *([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) +\d+ ( *)(.*)$")
    found, section = {}, None
    for address, _, depth, text in (match.groups() for match in map(line.match, table.read_text().splitlines()) if match):
        if len(depth) == 8:
            at = re.match(r"(.*):\((\.text.*)\)$", text)
            section = at and at.groups()
        elif len(depth) == 16 and section:
            found[text] = section
    return found


def patterns(names, where):
    """Without what differs between builds: the hashes of crates, and the offsets within a name, which follow from their length."""
    for name in sorted(names):
        if name not in where:
            continue
        path, section = where[name]
        if section == ".text":
            # Assembler: the object holds little besides.
            member = re.search(r"-([\w-]+\.o)\)$", path)
            if member and "avx512" not in path:
                yield f"*{member[1]}(.text)"
            continue
        section = re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", section)
        section = re.sub(r"B[0-9A-Za-z]{0,3}_", "B*_", section)
        yield "*(" + re.sub(r"\.llvm\.\d+$", "*", section) + ")"


def main():
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        build(folder / "table")
        where = sections(folder / "table")
        written = dict.fromkeys(pattern for names in profiles(folder) for pattern in patterns(names, where))
    (ROOT / "deploy/release/order.ld").write_text(HEADER + "".join(f"    {pattern}\n" for pattern in written) + FOOTER)
    print(f"{len(written)} patterns")


if __name__ == "__main__":
    main()
