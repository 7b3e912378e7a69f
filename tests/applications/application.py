"""Real applications as processes that report what they do.

Each is a few processes that share a directory: a producer appends the number of each accepted piece of work to
`accepted`, the worker that does it appends it to `done`, and an error that reaches the application's own code is
a line in `errors`. The numbers follow FIRST_NUMBER.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def programs(options):
    """Name of each application, and its processes by role; those of `work` are stopped first."""
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


def beside(options):
    """Those that use scripts or publish, of which two of each run beside each other; and more of this kind."""
    others = {"redis-py", "redis-py asyncio", "ioredis", "node-redis", "phpredis"}
    yield from ((name, roles) for name, roles in programs(options) if name not in others)
    yield "limits and Lock", {"work": [options.python, HERE / "python/limits_app.py"]}
    yield "Bull", {"work": ["node", HERE / "node/bull.js", "add"],
                   "worker": ["node", HERE / "node/bull.js", "work"]}
    yield "Bottleneck", {"work": ["node", HERE / "node/bottleneck.js"]}
    yield "bee-queue", {"work": ["node", HERE / "node/bee-queue.js", "add"],
                        "worker": ["node", HERE / "node/bee-queue.js", "work"]}
    yield "rate-limiter-flexible", {"work": ["node", HERE / "node/rate-limiter.js"]}
    yield "redlock", {"work": ["node", HERE / "node/redlock.js"]}
    for driver in ("phpredis", "predis"):
        yield f"Laravel with {driver}", {"work": ["php", HERE / "other/laravel.php", driver]}


def stop(apps, *signals):
    """Each process of them gets the next signal when the one before did not end it; what it has started, too."""
    processes = [process for app in apps for process in app.processes.values()]
    for send in signals:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, send)
        deadline = time.monotonic() + 3
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.01))


class Application:
    def __init__(self, name, roles, port, node, first=0, **variables):
        self.name, self.first = name, first
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-app-"))
        for file in ("accepted", "done", "errors"):
            (self.directory / file).touch()
        environment = dict(os.environ, REDIS_PORT=str(port), APP_DIRECTORY=str(self.directory),
                           APP_NAME=name.replace(" ", "-"), NODE_PATH=node or "", FIRST_NUMBER=str(first),
                           PYTHONPATH=str(HERE / "python"), PYTHONUNBUFFERED="1",
                           RAILS_ENV="production", REDIS_URL=f"redis://127.0.0.1:{port}/0", **variables)
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

    def result(self):
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
