#!/usr/bin/env python3
"""A substitute for redis-server, and for docker, where a driver's suite starts servers itself.

As redis-server it takes its arguments and starts one, with respgate before it on the port that was
requested when SUITE_THROUGH is set: what its [upstream] has besides. As docker it knows `run -e PORT=N IMAGE ARGUMENTS...` and `rm -f ID`.
Everything ends with this process, however that ends. tests/suites/run.py uses it.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "drivers"))

from stage import Stage  # noqa: E402


class Server(Stage):
    @staticmethod
    def before_program():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def as_redis_server(arguments):
    """Does not return before it is killed."""
    given = {word: arguments[at + 1] for at, word in enumerate(arguments[:-1]) if word.startswith("--")}
    straight = "SUITE_THROUGH" not in os.environ
    # What only the program itself can be: another kind of server, one on a socket, one with TLS of its own.
    if straight or "--port" not in given or "--tls-port" in given or "--cluster-enabled" in given:
        os.execvp("redis-server", ["redis-server", *arguments])
    dropped = ("--port", "--bind", "--requirepass", "--save", "--logfile", "--enable-debug-command")
    rest = [word for at, word in enumerate(arguments)
            if word not in dropped and (not at or arguments[at - 1] not in dropped)]
    with Server(port=int(given["--port"]), password=given.get("--requirepass"), arguments=rest,
                certificates=os.environ["SUITE_CERTIFICATES"], upstream=os.environ["SUITE_THROUGH"]) as stage:
        if "--logfile" in given:
            pathlib.Path(given["--logfile"]).write_text("Ready to accept connections\n")
        while all(process.poll() is None for process in stage.processes):
            time.sleep(0.2)


def as_docker(arguments):
    if arguments[0] == "rm":
        os.kill(int(arguments[-1]), signal.SIGKILL)
        return
    port = next(word[5:] for word in arguments if word.startswith("PORT="))
    image = next(at for at, word in enumerate(arguments) if ":" in word and "=" not in word)
    words = [sys.executable, pathlib.Path(__file__).resolve(), "--port", port, "--save", "", *arguments[image + 1:]]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    with open(os.environ["SUITE_SERVERS"], "a") as servers:
        servers.write(f"{server.pid}\n")
    print(server.pid)


if pathlib.Path(sys.argv[0]).name == "docker":
    as_docker(sys.argv[1:])
elif sys.argv[1:] in (["-v"], ["--version"]):
    os.execvp("redis-server", ["redis-server", *sys.argv[1:]])
else:
    as_redis_server(sys.argv[1:])
