"""The same faults for respgate and its peers at once, under load from real drivers.

    tests/faults/run.sh [--all] [--minutes N] [--seed S] [--ways respgate,HAProxy] [--faults "NAME;..."] [--write]

Every way has applications of its own on redis-py and ioredis, with the drivers' default settings; each fault meets all
ways at the same time. Per fault and way: errors that reached the application, wrong replies, acknowledged writes that
the server has not, and the time after the fault until a new session works, and until all applications work again.
Without --minutes every fault once; with it in random order and length until the time is over. --write puts the table
into README.md. The last line is `N passed, N failed`; what fails is in `verdicts`.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from faults import DISHONEST, FAULTS, PRETENDED_CLOCK
from late import second_try
from net import Names, Network
from oracle import Applications
from report import Table, write_readme
from servers import PASSWORD, Certificates, Servers
from ways import WAYS, Clock

QUIET = 1.0        # seconds of work before a fault
PATIENCE = 25.0    # until every application works again; peers that do not by then are not waited for
PATIENCE_OWN = 60.0    # the same of respgate, on a machine that does much else


class Scene:
    """One network with servers, ways and applications; everything ends with the `with` block."""

    def __init__(self, options, pretended):
        self.options, self.pretended = options, pretended
        self.random, self.cycles = random.Random(options.seed), {}
        self.ways, self.applications = [], {}

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-faults-"))
        self.network = Network()
        try:
            self.network.__enter__()
            Certificates(self.directory)
            self.names = Names(self.directory)
            (self.directory / "password").write_text(PASSWORD)
            (self.directory / "password").chmod(0o600)
            self.servers = Servers(self.directory, self.network, self.names)
            self.clock = Clock(self.directory, self.pretended)
            for number, name in enumerate(self.options.ways):
                way = WAYS[name](self.directory, 17000 + 10 * number, self.clock)
                self.ways.append(way)
                try:
                    way.start()
                except RuntimeError:
                    if not self.pretended:
                        raise
                    print(f"skipped: {name} does not start with a pretended clock", flush=True)
                    self.ways.remove(way)
                    way.end()
            for way in self.ways:
                self.applications[way.name] = Applications(way, self.options)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for applications in self.applications.values():
            applications.end()
        for way in self.ways:
            way.end()
        if hasattr(self, "servers"):
            self.servers.end()
        if hasattr(self, "names"):
            self.names.close()
        self.network.__exit__()
        if not self.options.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def recover(self):
        """What a fault has left over is no matter of the next one: every connection is closed once more."""
        for server in self.servers.both:
            if server.process:
                server.kill_clients()
        for way in self.ways:
            if way.ended():
                way.start()
        try:
            self.await_work()
        except RuntimeError as problem:
            print(f"  {problem}", flush=True)

    def await_work(self):
        """Every worker has done a round."""
        missing = {name: set(apps.workers) for name, apps in self.applications.items()}
        until = time.monotonic() + 120
        while any(missing.values()):
            for name, apps in self.applications.items():
                missing[name] -= {worker for kind, worker, *_ in apps.news() if kind == "D"}
                if missing[name] and (apps.ended() or time.monotonic() > until):
                    errors = (self.directory / apps.way.slug / "applications.err").read_text()[-2000:]
                    raise RuntimeError(f"{name}: no work of {missing[name]}: {errors}{apps.last(500)}")
            time.sleep(0.05)


def patience(way):
    """Seconds after a fault until its applications have to work."""
    return PATIENCE_OWN if way.name == "respgate" else PATIENCE


def first_session(way, since):
    """Milliseconds until a new session is served, or None."""
    while time.monotonic() - since < patience(way) and not way.ended():
        try:
            way.session(2).close()
            return (time.monotonic() - since) * 1000
        except OSError:
            time.sleep(0.01)
    return None


def play(scene, name, seconds):
    """One fault; a cell for each way."""
    fault, _ = FAULTS[name]
    lines = {way.name: [] for way in scene.ways}
    time.sleep(QUIET)
    for way in scene.ways:
        scene.applications[way.name].news()
    peaks = {}
    watching = True

    def watch():
        while watching:
            for way in scene.ways:
                if figures := way.figures():
                    peaks[way.name] = max(peaks.get(way.name, 0), figures["MiB"])
            time.sleep(0.1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    end = fault(scene, seconds)
    sessions = {}
    probes = [threading.Thread(target=lambda way=way: sessions.update({way.name: first_session(way, end)}))
              for way in scene.ways]
    for probe in probes:
        probe.start()
    back = {way.name: {} for way in scene.ways}
    while True:
        for way in scene.ways:
            apps = scene.applications[way.name]
            for line in apps.news():
                lines[way.name].append(line)
                kind, worker, _, when, _ = line
                # A round that began before the end may be done after it: the second one counts.
                if kind == "D" and when > end:
                    back[way.name].setdefault(worker, when)
        passed = time.monotonic() - end
        if all(len(back[way.name]) == len(scene.applications[way.name].workers) or way.ended() or passed > patience(way)
               for way in scene.ways):
            break
        time.sleep(0.02)
    time.sleep(0.3)
    for probe in probes:
        probe.join()
    watching = False
    watcher.join()
    scene.names.addresses = [scene.servers.primary.address]
    cells = {}
    for way in scene.ways:
        apps = scene.applications[way.name]
        lines[way.name] += apps.news()
        lost, doubled, late = apps.compare(scene.servers.primary)
        of = lambda kind: [f"{worker} {number}: {text}" for k, worker, number, _, text in lines[way.name] if k == kind]
        all_back = len(back[way.name]) == len(apps.workers)
        cells[way.name] = {"errors": of("E"), "wrong": of("W"), "lost": lost, "doubled": doubled, "late": late + len(of("L")),
                           "ended": way.ended(), "session": sessions[way.name], "peak": peaks.get(way.name),
                           "applications": (max(back[way.name].values()) - end) * 1000 if all_back else None}
    return cells


def verdicts(name, cells, options):
    """What is wrong with respgate's cell."""
    ours = cells.get("respgate")
    if ours is None:
        return
    if name not in DISHONEST:
        if ours["wrong"]:
            yield f"wrong replies: {ours['wrong'][:3]}"
        if ours["lost"]:
            yield f"{ours['lost']} acknowledged writes are lost"
        if ours["late"]:
            yield f"{ours['late']} writes that were given up came late"
    if ours["ended"]:
        yield "the process ended"
    if ours["session"] is None or ours["applications"] is None:
        yield f"not served {PATIENCE_OWN:.0f} s after the fault"
    for other in ("Redis directly", "HAProxy"):
        if other in cells and len(ours["errors"]) > 2 * len(cells[other]["errors"]) + 2 * options.workers:
            yield f"{len(ours['errors'])} errors, {other} has {len(cells[other]['errors'])}: {ours['errors'][:3]}"


def leaks(before, after):
    """What grew over the run."""
    if after["files"] > before["files"] + 12:
        yield f"{after['files']} open descriptors, {before['files']} at the beginning"
    # Threads that look up names stay for ten seconds.
    if after["threads"] > before["threads"] + 8:
        yield f"{after['threads']} threads, {before['threads']} at the beginning"
    if after["MiB"] > 2 * before["MiB"] + 32:
        yield f"{after['MiB']:.0f} MiB, {before['MiB']:.0f} at the beginning"


def rounds(options, names, share):
    """Names and lengths of faults: each once, or at random for this share of the minutes."""
    if not options.minutes:
        yield from ((name, FAULTS[name][1]) for name in names)
        return
    chance, until = random.Random(options.seed), time.monotonic() + options.minutes * 60 * share
    while time.monotonic() < until:
        order = list(names)
        chance.shuffle(order)
        for name in order:
            if time.monotonic() < until:
                yield name, FAULTS[name][1] * chance.uniform(0.5, 1.5)


def perform(options, names, pretended, share, table):
    """All of these faults in one scene, for a share of the minutes; how many passed and failed."""
    good = bad = 0
    with Scene(options, pretended) as scene:
        scene.await_work()
        before = {way.name: way.figures() for way in scene.ways}
        for name, seconds in rounds(options, names, share):
            cells = play(scene, name, seconds)
            table.add(name, cells)
            if any(cell["applications"] is None for cell in cells.values()):
                scene.recover()
            problems = list(verdicts(name, cells, options))
            for problem in problems:
                print(f"FAIL {name}: {problem}", flush=True)
            good, bad = good + (not problems), bad + bool(problems)
        time.sleep(2)
        for way in scene.ways:
            if before[way.name] and (after := way.figures()):
                table.weigh(way.name, before[way.name], after)
                problems = list(leaks(before[way.name], after)) if way.name == "respgate" else []
                for problem in problems:
                    print(f"FAIL at the end: {problem}", flush=True)
                good, bad = good + (way.name == "respgate" and not problems), bad + bool(problems)
        table.cycles = {name: table.cycles.get(name, 0) + count for name, count in scene.cycles.items()} or table.cycles
        if bad and options.verbose:
            print(next((way.log()[-6000:] for way in scene.ways if way.name == "respgate"), ""))
    return good, bad


def late_writes(options):
    """How many of respgate's, and of the other ways' too where they are asked for; only respgate can fail."""
    with Scene(options, False) as scene:
        failed = 0
        for way in scene.ways:
            problems = second_try(scene, way)
            print(f"{way.name}, a write that was given up and repeated: {'; '.join(problems) or 'executed once'}", flush=True)
            failed += way.name == "respgate" and len(problems) > 0
        return int(failed == 0), failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ways", default="respgate,HAProxy")
    parser.add_argument("--all", action="store_true", help="all ways")
    parser.add_argument("--faults", default=";".join(FAULTS))
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="of each driver and way")
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between the rounds of a worker")
    parser.add_argument("--node", default=os.environ.get("NODE_PATH", ""))
    parser.add_argument("--json")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.ways = list(WAYS) if options.all else options.ways.split(",")
    for name in list(options.ways):
        if WAYS[name].missing:
            print(f"skipped: {name}: {WAYS[name].missing}")
            options.ways.remove(name)
    print(f"seed {options.seed}", flush=True)
    table, (good, bad) = Table(options), late_writes(options)
    wanted = [name for name in FAULTS if name in options.faults.split(";")]
    for pretended in (False, True):
        names = [name for name in wanted if (name in PRETENDED_CLOCK) == pretended]
        if names:
            passed, failed = perform(options, names, pretended, len(names) / len(wanted), table)
            good, bad = good + passed, bad + failed
    print(table.text())
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table.cells, indent=1))
    if options.write:
        write_readme(table)
    print(f"{good} passed, {bad} failed")
    sys.exit(bad > 0)


main()
