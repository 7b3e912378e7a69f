"""Real applications through a server's faults: directly, behind HAProxy, through respgate.

    tests/applications/run.py --python PYTHON --older-python PYTHON --node NODE_MODULES
        [--only APP,...] [--faults NAME,...] [--ways direct,HAProxy,respgate] [--json FILE]

Each application is a few processes that share a directory: a producer appends the number of each
accepted piece of work to `accepted`, whoever does the work appends it to `done`, and an error that
reaches the application's own code is a line in `errors`. What is counted: errors, processes that
ended by themselves, accepted work that was never done, and the longest time without progress.
The last line is `N passed, N failed`: respgate passes where it is not worse than direct.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from place import FAULTS, Place

HERE = pathlib.Path(__file__).resolve().parent
WARM_SECONDS = 40     # until every application has done something
QUIET_SECONDS = 3     # of undisturbed work before the fault
AFTER_SECONDS = 20    # of work after it
SETTLE_SECONDS = 30   # until all accepted work is done


def programs(options):
    """Name of each application, and its processes by role; `work` is told to stop first."""
    python, older, code = options.python, options.older_python, HERE / "python"
    module = lambda *words: [python, "-m", *words]
    yield "redis-py", {"work": [python, code / "plain.py"]}
    yield "redis-py asyncio", {"work": [python, code / "plain_asyncio.py"]}
    yield "Celery", {"work": [python, code / "celery_app.py"],
                     "worker": module("celery", "-A", "celery_app", "worker", "-c", "1",
                                      "--loglevel", "WARNING"),
                     "beat": module("celery", "-A", "celery_app", "beat", "-s", "schedule",
                                    "--pidfile=", "--loglevel", "WARNING")}
    yield "arq", {"work": [older, code / "arq_app.py"],
                  "worker": [older, "-m", "arq", "arq_app.WorkerSettings"]}
    yield "RQ", {"work": [older, code / "rq_app.py"], "worker": [older, code / "rq_worker.py"]}
    yield "Huey", {"work": [python, code / "huey_app.py"],
                   "worker": module("huey.bin.huey_consumer", "huey_app.huey")}
    yield "Dramatiq", {"work": [python, code / "dramatiq_app.py"],
                       "worker": module("dramatiq", "dramatiq_app", "-p", "1", "-t", "2")}
    for name, script in (("ioredis", "ioredis.js"), ("node-redis", "node-redis.js")):
        yield name, {"work": ["node", HERE / "node" / script]}
    yield "BullMQ", {"work": ["node", HERE / "node/bullmq.js", "add"],
                     "worker": ["node", HERE / "node/bullmq.js", "work"]}
    yield "socket.io adapter", {"work": ["node", HERE / "node/socket-io.js"]}
    yield "Sidekiq", {"work": ["ruby", HERE / "other/sidekiq_app.rb"],
                      "worker": ["sidekiq", "-q", "default", "-c", "2", "-r", HERE / "other/sidekiq_app.rb"]}
    yield "phpredis", {"work": ["php", HERE / "other/phpredis.php"]}


class Application:
    def __init__(self, name, roles, place, options):
        self.name = name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-app-"))
        for file in ("accepted", "done", "errors"):
            (self.directory / file).touch()
        environment = dict(os.environ, REDIS_PORT=str(place.port), APP_DIRECTORY=str(self.directory),
                           APP_NAME=name.replace(" ", "-"), NODE_PATH=options.node or "",
                           PYTHONPATH=str(HERE / "python"), PYTHONUNBUFFERED="1",
                           RAILS_ENV="production")
        environment["REDIS_URL"] = f"redis://127.0.0.1:{place.port}/0"
        self.processes = {}
        for role, command in sorted(roles.items(), key=lambda pair: pair[0] == "work"):
            log = open(self.directory / f"{role}.log", "wb")
            self.processes[role] = subprocess.Popen(
                [str(word) for word in command], cwd=self.directory, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True)
        self.exited = set()
        self.progress, self.last, self.gap = 0, None, 0.0

    def lines(self, file):
        return (self.directory / file).read_text(errors="replace").splitlines()

    def look(self, now):
        done = len(self.lines("done"))
        if done > self.progress:
            if self.last is not None:
                self.gap = max(self.gap, now - self.last)
            self.progress, self.last = done, now
        self.exited |= {role for role, process in self.processes.items()
                        if process.poll() is not None}

    def settled(self):
        return not set(self.lines("accepted")) - set(self.lines("done"))

    def begin_to_stop(self):
        (self.directory / "stop").touch()

    def end(self):
        for process in self.processes.values():
            for send in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, send)
                except ProcessLookupError:
                    break
                try:
                    process.wait(3)
                    if send == signal.SIGKILL:
                        break
                except subprocess.TimeoutExpired:
                    continue
        accepted, done = set(self.lines("accepted")), set(self.lines("done"))
        result = {"errors": len(self.lines("errors")), "exited": sorted(self.exited),
                  "lost": len(accepted - done), "accepted": len(accepted),
                  "gap": round(self.gap, 1)}
        result["sample"] = self.lines("errors")[:3]
        return result

    def log(self):
        texts = []
        for path in sorted(self.directory.glob("*.log")):
            texts += [f"[{path.name}]", *path.read_text(errors="replace").splitlines()[-12:]]
        return "\n".join(texts)


def play(way, fault, options):
    """All applications beside each other through one fault; a result for each."""
    with Place(way, upstream=options.upstream if way == "respgate" else "") as place:
        chosen = [pair for pair in programs(options)
                  if not options.only or pair[0] in options.only.split(",")]
        apps = [Application(name, roles, place, options) for name, roles in chosen]
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
        results = {}
        for app in apps:
            results[app.name] = app.end() | {"idle": app.name in idle}
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
    """Who did worse plays once more: a fault hits a different moment of each program in each run."""
    ours, direct = results["respgate"], results["direct"]
    names = [name for name in ours if worse(ours[name], direct[name])]
    if names:
        print(f"once more through respgate: {', '.join(names)}", flush=True)
        only, options.only = options.only, ",".join(names)
        ours.update(play("respgate", fault, options))
        options.only = only


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--older-python", default=sys.executable,
                        help="one whose package redis is of version 5, as arq asks for")
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
        table[fault] = {way: play(way, fault, options) for way in ways}
        if {"direct", "respgate"} <= set(ways):
            again(fault, table[fault], options)
        for name in table[fault][ways[0]]:
            row = [cell(table[fault][way][name]) for way in ways]
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)
            if "direct" in ways and "respgate" in ways:
                failed = worse(table[fault]["respgate"][name], table[fault]["direct"][name])
                good, bad = good + (not failed), bad + failed
        print(flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table, indent=1))
    print(f"{good} passed, {bad} failed")
    sys.exit(bad > 0)


main()
