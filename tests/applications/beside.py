"""Two of each application beside each other on one server, each behind a prefix and guarded scripts.

    tests/applications/beside.py --older-python PYTHON --node NODE_MODULES [--only APP,...] [--valkey]

The two of a kind use the same names of queues, jobs, locks and keys, and numbers of their own. Each must do all
of its own work, once, and none of the other's; nothing may be refused; at the end every key of the server is
behind one of the prefixes, and no value behind one holds a number of the other.
The last line is `N passed, N failed`, one for each pair, one for the server and one for refusals.
"""

import argparse
import re
import shutil
import signal
import sys
import time

import redis

from application import Application, beside, stop
from place import PREFIXES, Stage, free_port, two_policies, valkey_server

SECONDS = 300
PIECES = 18           # of work for each, so that every way of adding some is used
# Where each one's numbers begin. No number of a program's own looks like them.
FIRST = {"one:": 7_310_000, "two:": 7_320_000}


def faults_of(app):
    """What is wrong with what one application did."""
    accepted, done = app.lines("accepted"), app.lines("done")
    strangers = [number for number in done if not app.first < int(number) < app.first + 10_000]
    twice = sorted({number for number in done if done.count(number) > 1})
    lost = sorted(set(accepted) - set(done))
    found = [f"did work of the other: {strangers[:3]}"] if strangers else []
    found += [f"did twice: {twice[:3]}"] if twice else []
    found += [f"never did: {lost[:3]}"] if lost else []
    found += [f"{role} ended" for role in sorted(app.exited)]
    found += [f"did {len(done)} of {PIECES}"] if len(done) < PIECES else []
    return found + app.lines("errors")[:3]


def contents(server, key):
    """All that a key holds, as text."""
    read = {b"string": lambda: [server.get(key)], b"list": lambda: server.lrange(key, 0, -1),
            b"set": lambda: server.smembers(key), b"zset": lambda: server.zrange(key, 0, -1, withscores=True),
            b"hash": lambda: server.hgetall(key).items(), b"stream": lambda: server.xrange(key)}
    return repr(list(read.get(server.type(key), list)()))


def faults_of_server(server):
    """Keys that belong to neither application, and values behind one prefix with numbers of the other."""
    keys = sorted(server.keys("*"))
    found = [f"a key of neither: {key!r}" for key in keys if key[:4].decode("latin-1") not in PREFIXES]
    for own, other in (PREFIXES, PREFIXES[::-1]):
        held = [key for key in keys if key.startswith(own.encode())]
        if not held:
            found.append(f"no key begins with {own}")
        foreign = re.compile(rf"(?<![\w.-]){FIRST[other] // 10_000}\d{{4}}(?![\w-])")
        found += [f"{key!r} holds {match[0]}" for key in held
                  if (match := foreign.search(repr(key) + contents(server, key)))]
    return found


def show(name, found, apps=()):
    """Whether there is nothing wrong."""
    print(f"{'FAIL' if found else 'ok  '} {name}" + "".join(f"\n    {fault}" for fault in found[:8]), flush=True)
    for app in apps if found else ():
        print(f"{app.log()}")
    return not found


def play(options, ports, server):
    chosen = [(name, roles) for name, roles in beside(options)
              if not options.only or name in options.only.split(",")]
    begun = time.monotonic()
    pairs = {name: [Application(name, roles, port, options.node, FIRST[prefix], VARIED="yes",
                                LAST_NUMBER=str(FIRST[prefix] + PIECES))
                    for port, prefix in zip(ports, PREFIXES)] for name, roles in chosen}
    apps = [app for pair in pairs.values() for app in pair]
    try:
        deadline = begun + SECONDS
        while time.monotonic() < deadline and not all(app.progress >= PIECES and app.settled() for app in apps):
            time.sleep(0.2)
            for app in apps:
                app.look(time.monotonic())
    finally:
        stop(apps, signal.SIGKILL)
    results = []
    for name, pair in pairs.items():
        found = [f"{prefix} {fault}" for app, prefix in zip(pair, PREFIXES) for fault in faults_of(app)]
        done = " and ".join(str(len(app.lines("done"))) for app in pair)
        results.append(show(f"two of {name}: {done} done", found, pair))
    for app in apps:
        shutil.rmtree(app.directory, ignore_errors=True)
    counts = server.info("commandstats")
    calls = sum(counts.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))
    found = faults_of_server(server) + ([] if calls else ["no script was called"])
    results.append(show(f"{server.dbsize()} keys, {calls} calls of scripts, {time.monotonic() - begun:.0f} s", found))
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--older-python", default=sys.executable)
    parser.add_argument("--node")
    parser.add_argument("--only", default="")
    parser.add_argument("--valkey", action="store_true", help="before Valkey, without TLS")
    options = parser.parse_args()
    second = free_port()
    kind = {"server": valkey_server(), "tls": False} if options.valkey else {}
    with Stage(policy=two_policies(second), **kind) as stage:
        results = play(options, (stage.port, second), redis.Redis(port=stage.plain_port))
        refused = stage.metric('respgate_replies_total{result="denied"}')
        results.append(show("nothing refused", [f"{refused:.0f} requests were refused"] if refused else []))
        if not all(results):
            print("the end of respgate's log:\n" + stage.log("respgate"))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))


main()
