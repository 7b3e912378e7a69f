"""What two applications behind one way reported, and whether the server agrees.

Each line that an application prints is a kind, a worker, a number and a time: A (an append was acknowledged),
D (its whole round is done), E (an error reached the caller), W (a wrong reply), L (an older value is back).
Owns: the account of lines, the comparison. Never knows: what is broken when.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys

from resp import strings

HERE = pathlib.Path(__file__).resolve().parent


class Applications:
    def __init__(self, way, options):
        self.way, self.read = way, 0
        self.acknowledged = collections.defaultdict(set)
        self.lost, self.doubled, self.late = set(), set(), set()
        self.file = way.directory / "applications"
        environment = os.environ | {"FAULTS_TARGET": json.dumps(way.target() | {"way": way.slug}), "FAULTS_PAUSE": str(options.pause),
                                    "FAULTS_WORKERS": str(options.workers), "NODE_PATH": options.node}
        errors = open(way.directory / "applications.err", "ab")
        self.processes = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=errors,
                                           stdout=open(self.file, "ab"))
                          for command in ([sys.executable, HERE / "app_redis_py.py"], ["node", HERE / "app_ioredis.js"])]
        self.workers = [f"{way.slug}-{driver}{number}" for driver in ("py", "node") for number in range(options.workers)]

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def ended(self):
        return [process.args for process in self.processes if process.poll() is not None]

    def last(self, size):
        return self.file.read_text(errors="replace")[-size:]

    def news(self):
        """Lines since the last call, as (kind, worker, number, time, text)."""
        with open(self.file, "rb") as file:
            file.seek(self.read)
            text = file.read()
        whole = text[:text.rfind(b"\n") + 1]
        self.read += len(whole)
        found = []
        for line in whole.decode(errors="replace").splitlines():
            kind, worker, number, when, *rest = line.split(" ", 4)
            found.append((kind, worker, int(number), float(when), " ".join(rest)))
            if kind == "A":
                self.acknowledged[worker].add(int(number))
        return found

    def compare(self, server):
        """How many acknowledged appends the server has not; were executed twice; stand behind later ones. New ones."""
        before = len(self.lost), len(self.doubled), len(self.late)
        for worker in self.workers:
            wanted = set(self.acknowledged[worker])
            numbers = [int(text) for text in strings(server.ask("LRANGE", f"{worker}:log", "0", "-1"))]
            seen, highest = set(), 0
            for number in numbers:
                # The driver gave it up and went on; what it had sent came later nevertheless.
                if number < highest:
                    self.late.add((worker, number))
                elif number in seen:
                    self.doubled.add((worker, number))
                seen.add(number)
                highest = max(highest, number)
            self.lost |= {(worker, number) for number in wanted - seen}
        after = len(self.lost), len(self.doubled), len(self.late)
        return [now - then for now, then in zip(after, before)]
