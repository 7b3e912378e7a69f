"""Runs real client programs through respgate, one line for each, and counts.

    tests/drivers/run.py [--straight] [--only NAME] [--node DIRECTORY] [--rust PROGRAM]

--straight asks the server without respgate. The policy is the default: nothing that a driver sends may be
refused, of its questions at the beginning of a connection above all. The last line is `N passed, N failed`.
"""

import argparse
import pathlib
import subprocess
import sys
import time

from stage import Stage

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 120


def drivers(options):
    python = [sys.executable]
    for protocol in ("2", "3"):
        yield f"redis-py, RESP{protocol}", [*python, HERE / "redis_py.py", protocol]
        yield f"redis-py asyncio, RESP{protocol}", [*python, HERE / "redis_py_asyncio.py", protocol]
    if options.node:
        for script in ("ioredis", "node-redis"):
            for protocol in ("2", "3"):
                if script == "ioredis" and protocol == "3":
                    continue  # this ioredis speaks RESP2 alone
                yield f"{script}, RESP{protocol}", ["node", HERE / "node" / f"{script}.js", protocol]
    if options.rust:
        for protocol in ("2", "3"):
            yield f"redis-rs, RESP{protocol}", [options.rust, protocol]
    yield "redis-cli", ["bash", HERE / "redis-cli.sh"]
    yield "redis-benchmark", ["bash", HERE / "redis-benchmark.sh"]


def denied(stage):
    return 0 if stage.straight else stage.metric('respgate_replies_total{result="denied"}')


def run(name, command, stage):
    """True when the program ends well; its output is shown when it does not."""
    stage.flush()
    before, start = denied(stage), time.monotonic()
    try:
        result = subprocess.run([*map(str, command), "127.0.0.1", str(stage.port)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=SECONDS_MAX)
        good, output = result.returncode == 0, result.stdout
    except subprocess.TimeoutExpired as late:
        good, output = False, (late.stdout or b"") + b"\nno end in time"
    # redis-benchmark asks for CONFIG GET and goes on without; redis-cli.sh tries what is refused.
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
    options = parser.parse_args()
    with Stage(straight=options.straight, policy="") as stage:
        chosen = [(name, command) for name, command in drivers(options) if options.only in name]
        results = [run(name, command, stage) for name, command in chosen]
        if not all(results) and not options.straight:
            print("the end of respgate's log:\n" + stage.log("respgate"))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results) or not results)


main()
