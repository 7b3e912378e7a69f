"""Plays Redis's own TCL suite, in external-server mode, against respgate.

    tests/tcl/run.py SUITE [--straight] [--mode session] [--only UNIT]...

SUITE is the directory tests/tcl/fetch.sh prints. --straight asks the server without respgate. --mode is
that of upstream.pool; each has a list of its own of what is not played.
Two halves run side by side, each with its own server. The last line is `N passed, N failed`.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "drivers"))

from stage import Stage  # noqa: E402

SECONDS_MAX = 480
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


LISTS = {"shared": "excluded.txt", "session": "excluded-session.txt"}


def excluded(mode):
    """The written lists: what is not played, by kind: `test`, `unit`, `tag`."""
    names = {"test": [], "unit": [], "tag": []}
    lists = [(HERE / name).read_text() for name in ("excluded-server.txt", LISTS[mode])]
    for line in "\n".join(lists).splitlines():
        kind, _, name = line.partition(" ")
        if kind in names:
            names[kind].append(name.strip())
    return names


def all_units(suite):
    """As the suite lists them; those about replication and clusters start their own servers."""
    text = (suite / "tests/test_helper.tcl").read_text()
    listed = re.search(r"set ::all_tests \{(.*?)\}", text, re.S).group(1).split()
    return [unit for unit in listed if not re.search("repl|psync|cluster|rdb|aof|corrupt|convert", unit)]


class Half(threading.Thread):
    """One process of the suite with its share of the units."""

    def __init__(self, suite, units, left_out, straight, mode, number):
        super().__init__()
        self.suite, self.units, self.left_out = suite, units, left_out
        self.straight, self.mode, self.number = straight, mode, number
        self.output, self.ended = b"", False

    def run(self):
        # No connection is made ahead of its use: MONITOR would show its HELLO among the commands.
        stage = Stage(straight=self.straight, upstream=f"pool = {{ mode = \"{self.mode}\", min_idle = 0 }}")
        with stage, tempfile.NamedTemporaryFile("w") as skips:
            skips.write("\n".join(self.left_out["test"]) + "\n")
            skips.flush()
            command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--durable",
                       "--port", str(stage.port), "--timeout", "60",
                       "--baseport", str(21111 + 4000 * self.number), "--portcount", "3000",
                       "--skipfile", skips.name,
                       "--tags", " ".join(f"-{tag}" for tag in self.left_out["tag"])]
            for unit in self.units:
                command += ["--single", unit]
            log = tempfile.TemporaryFile()
            process = subprocess.Popen(command, cwd=self.suite, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            log.seek(0)
            self.output = COLOURS.sub(b"", log.read())
            self.ended = b"Execution time of different units" in self.output
            if not self.straight:
                self.log = stage.log("respgate")


def link_programs(suite):
    """The suite runs ./src/redis-cli and its like."""
    (suite / "src").mkdir(exist_ok=True)
    for program in ("redis-cli", "redis-benchmark", "redis-server"):
        link = suite / "src" / program
        if not link.exists():
            link.symlink_to(f"/usr/bin/{program}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=pathlib.Path)
    parser.add_argument("--straight", action="store_true")
    parser.add_argument("--mode", choices=LISTS, default="shared")
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    link_programs(options.suite)
    left_out = excluded(options.mode)
    units = options.only or [unit for unit in all_units(options.suite) if unit not in left_out["unit"]]
    start = time.monotonic()
    shares = [share for share in (units[0::2], units[1::2]) if share]
    halves = [Half(options.suite, share, left_out, options.straight, options.mode, number)
              for number, share in enumerate(shares)]
    for half in halves:
        half.start()
    passed = failed = 0
    for half in halves:
        half.join()
        passed += len(re.findall(rb"^\[ok\]", half.output, re.M))
        errors = re.findall(rb"^\[(?:err|exception)\].*(?:\n(?!\[).*){0,6}", half.output, re.M)
        failed += len(errors)
        for error in errors:
            print(error.decode(errors="replace"))
        if not half.ended:
            failed += 1
            print("the suite did not come to its end:\n" + half.output[-3000:].decode(errors="replace"))
    print(f"{len(units)} units in {time.monotonic() - start:.0f} s")
    print(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed) or not passed)


main()
