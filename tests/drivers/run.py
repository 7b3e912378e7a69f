"""Runs real client programs through respgate, one line for each, and counts.

    tests/drivers/run.py [--straight] [--only NAME] [--node DIRECTORY] [--rust PROGRAM] [--older PYTHON]...

--straight sends to the server without respgate. The policy is the default: nothing that a driver sends may be
refused, of its requests at the beginning of a connection above all, with pool.mode = "shared" and "session".
Then their help with scripts, by two applications on one server, each behind a prefix and guarded.
The last line is `N passed, N failed`.
"""

import argparse
import pathlib
import subprocess
import sys
import time

from stage import Stage, free_port, two_policies

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 300


def drivers(options):
    for python in (sys.executable, *options.older):
        name = "redis-py" if python == sys.executable else pathlib.Path(python).parents[1].name
        for protocol in ("2", "3"):
            yield f"{name}, RESP{protocol}", [python, HERE / "redis_py.py", protocol]
            if python == sys.executable:
                yield f"{name} asyncio, RESP{protocol}", [python, HERE / "redis_py_asyncio.py", protocol]
    if options.node:
        for script in ("ioredis", "node-redis"):
            for protocol in ("2", "3"):
                if script == "ioredis" and protocol == "3":
                    continue  # this ioredis supports RESP2 alone
                yield f"{script}, RESP{protocol}", ["node", HERE / "node" / f"{script}.js", protocol]
    if options.rust:
        for protocol in ("2", "3"):
            yield f"redis-rs, RESP{protocol}", [options.rust, protocol]
    yield "redis-cli", ["bash", HERE / "redis-cli.sh"]
    yield "redis-benchmark", ["bash", HERE / "redis-benchmark.sh"]


def scripts(options):
    """What drivers do for scripts: PROTOCOL HOST PORT OTHER_PORT SERVER_PORT."""
    for python in (sys.executable, *options.older):
        name = "redis-py" if python == sys.executable else pathlib.Path(python).parents[1].name
        for protocol in ("2", "3"):
            yield f"{name} scripts, RESP{protocol}", [python, HERE / "scripts/redis_py.py", protocol]
    if options.node:
        yield "ioredis scripts, RESP2", ["node", HERE / "scripts/ioredis.js", "2"]
        for protocol in ("2", "3"):
            yield f"node-redis scripts, RESP{protocol}", ["node", HERE / "scripts/node-redis.js", protocol]
    if options.rust:
        for protocol in ("2", "3"):
            yield f"redis-rs scripts, RESP{protocol}", [options.rust, protocol]


def denied(stage):
    return 0 if stage.straight else stage.metric('respgate_replies_total{result="denied"}')


def run(name, command, stage, *ports):
    """True when the program ends well; its output is shown when it does not."""
    stage.flush()
    before, start = denied(stage), time.monotonic()
    try:
        result = subprocess.run([*map(str, command), "127.0.0.1", *map(str, (stage.port, *ports))],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=SECONDS_MAX)
        good, output = result.returncode == 0, result.stdout
    except subprocess.TimeoutExpired as late:
        good, output = False, (late.stdout or b"") + b"\nno end in time"
    # redis-benchmark sends CONFIG GET and goes on without; redis-cli.sh tries what is refused.
    if good and not name.startswith("redis-cli") and not name.startswith("redis-benchmark"):
        good = denied(stage) == before
        output = b"a command was refused, see the log of respgate"
    print(f"{'ok  ' if good else 'FAIL'} {name} ({time.monotonic() - start:.1f} s)", flush=True)
    if not good:
        print("    " + "\n    ".join(output.decode(errors="replace").splitlines()[-40:]))
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--straight", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--node", help="has the node_modules of node/package.json")
    parser.add_argument("--rust", help="the program built from redis-rs/")
    parser.add_argument("--older", action="append", default=[], help="a Python that has another redis-py")
    options = parser.parse_args()
    chosen = [(name, command) for name, command in drivers(options) if options.only in name]
    results = []
    for mode in ("shared",) if options.straight else ("shared", "session"):
        # The programs of Redis itself need no more than one mode.
        of_mode = [(name, command) for name, command in chosen if mode == "shared" or "," in name]
        with Stage(straight=options.straight, policy="", upstream=f'pool = {{ mode = "{mode}" }}') as stage:
            good = [run(f"{name}, {mode}", command, stage) for name, command in of_mode]
            if not all(good) and not options.straight:
                print("the end of respgate's log:\n" + stage.log("respgate"))
        results += good
    if not options.straight:
        other = free_port()
        with Stage(policy=two_policies(other, "+@all +script ~* &*")) as stage:
            chosen = [(name, command) for name, command in scripts(options) if options.only in name]
            good = [run(name, command, stage, other, stage.plain_port) for name, command in chosen]
            if not all(good):
                print("the end of respgate's log:\n" + stage.log("respgate"))
        results += good
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results) or not results)


main()
