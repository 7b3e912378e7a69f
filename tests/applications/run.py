"""Real applications through a server's faults: directly, behind HAProxy, through respgate.

    tests/applications/run.py --python PYTHON --older-python PYTHON --node NODE_MODULES
        [--only APP,...] [--faults NAME,...] [--ways direct,HAProxy,respgate] [--json FILE]

The ways are played beside each other. What is counted: errors, processes that ended by themselves, accepted
work that was never done, and the longest time without progress; application.py defines what an application is.
The last line is `N passed, N failed`: respgate passes where it is not worse than direct.
"""

import argparse
import json
import pathlib
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from application import Application, programs, stop
from place import FAULTS, Place

WARM_SECONDS = 180    # until every application has done something
QUIET_SECONDS = 3     # of undisturbed work before the fault
AFTER_SECONDS = 20    # of work after it
SETTLE_SECONDS = 90   # until all accepted work is done
REPEATS = 3           # of a fault for the applications that did worse


def play(way, fault, options):
    """All applications beside each other through one fault; a result for each."""
    with Place(way, upstream=options.upstream if way == "respgate" else "") as place:
        chosen = [pair for pair in programs(options)
                  if not options.only or pair[0] in options.only.split(",")]
        apps = [Application(name, roles, place.port, options.node) for name, roles in chosen]
        watching, begun = True, time.monotonic()

        def watch():
            while watching:
                for app in apps:
                    app.look(time.monotonic())
                time.sleep(0.1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        while time.monotonic() - begun < WARM_SECONDS and not all(a.progress >= 5 for a in apps):
            time.sleep(0.1)
        idle = [app.name for app in apps if app.progress < 5]
        for app in apps:
            app.gap = 0.0
        time.sleep(QUIET_SECONDS)
        FAULTS[fault](place)
        time.sleep(AFTER_SECONDS)
        for app in apps:
            app.look(time.monotonic())
            if app.last is not None:
                app.gap = max(app.gap, time.monotonic() - app.last)
        watching = False
        watcher.join()
        for app in apps:
            app.begin_to_stop()
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and not all(app.settled() for app in apps):
            time.sleep(0.2)
        stop(apps, signal.SIGTERM, signal.SIGKILL)
        results = {}
        for app in apps:
            results[app.name] = app.result() | {"idle": app.name in idle}
            if options.verbose or app.name in idle:
                print(f"[{way}, {fault}] {app.name}: {results[app.name]}\n{app.log()}")
            shutil.rmtree(app.directory, ignore_errors=True)
        if options.verbose and way == "respgate":
            print(place.log("respgate"))
        return results


def cell(result):
    if result["idle"]:
        return "does not work"
    words = [f"{result['errors']} errors" if result["errors"] else "0"]
    words += [f"{role} exited" for role in result["exited"]]
    words += [f"{result['lost']} lost"] if result["lost"] else []
    return ", ".join(words) + f" ({result['gap']} s)"


def worse(ours, direct):
    """Whether respgate did worse. A few more errors of a program that has many count for nothing."""
    if ours["idle"] and not direct["idle"]:
        return True
    return (len(ours["exited"]) > len(direct["exited"]) or ours["lost"] > direct["lost"]
            or ours["errors"] > max(direct["errors"] * 1.25, direct["errors"] + 2))


def again(fault, results, options):
    """Repeats the fault for applications that did worse, until none does or `REPEATS` is reached.

    An application that ends when a single write is in flight at the moment of the fault does so by chance, behind
    every way; what respgate makes worse fails each time.
    """
    ours, direct = results["respgate"], results["direct"]
    only = options.only
    for _ in range(REPEATS):
        names = [name for name in ours if worse(ours[name], direct[name])]
        if not names:
            break
        print("once more through respgate: "
              + ", ".join(f"{name} ({cell(ours[name])})" for name in names), flush=True)
        options.only = ",".join(names)
        ours.update(play("respgate", fault, options))
    options.only = only


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--older-python", default=sys.executable,
                        help="one whose package redis is of version 5, as arq requires")
    parser.add_argument("--node")
    parser.add_argument("--only", default="")
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--ways", default="direct,HAProxy,respgate")
    parser.add_argument("--upstream", default="", help="more lines for [upstream]")
    parser.add_argument("--json")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    ways, table, good, bad = options.ways.split(","), {}, 0, 0
    for fault in options.faults.split(","):
        print(f"| {fault} | " + " | ".join(ways) + " |", flush=True)
        print("|---" * (len(ways) + 1) + "|", flush=True)
        with ThreadPoolExecutor(len(ways)) as pool:
            table[fault] = dict(zip(ways, pool.map(lambda way: play(way, fault, options), ways)))
        if {"direct", "respgate"} <= set(ways):
            again(fault, table[fault], options)
        for name in table[fault][ways[0]]:
            row = [cell(table[fault][way][name]) for way in ways]
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)
            if "direct" in ways and "respgate" in ways:
                failed = worse(table[fault]["respgate"][name], table[fault]["direct"][name])
                good, bad = good + (not failed), bad + failed
                if failed:
                    print(f"FAIL {name} ({fault}): {table[fault]['respgate'][name]['sample']}", flush=True)
        print(flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table, indent=1))
    print(f"{good} passed, {bad} failed")
    sys.exit(bad > 0)


main()
