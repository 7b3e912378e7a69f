"""Plays Redis's own TCL suite, in external-server mode, against respgate.

    tests/tcl/run.py SUITE [--mode MODE] [--straight] [--lane 0|1] [--short | --only UNIT]...

SUITE is the directory tests/tcl/fetch.sh prints. --straight sends to the server without respgate; two runs
beside each other have different lanes, which are ports. Each mode has
a list of its own of what is not played, beside excluded-server.txt:

    shared   pool.mode = "shared", every command allowed       excluded.txt
    session  pool.mode = "session", every command allowed      excluded-session.txt
    rewrite  a tenant: keys.mode = "rewrite" with a prefix     excluded-rewrite.txt, excluded-declared.txt, excluded.txt
    guarded  the same with scripts.mode = "guarded"            excluded-alldbs.txt, excluded-guarded.txt,
                                                               excluded-rewrite.txt, excluded.txt
    bounded  guarded scripts with key patterns (one unit)      excluded-bounded.txt, excluded-guarded.txt, excluded.txt
    ttl      keys without a time to live are given one         excluded-ttl.txt, excluded.txt
    valkey   as shared, before Valkey, without TLS             excluded-valkey.txt, excluded.txt
    guarded-valkey  as guarded, before Valkey, without TLS     all of these but excluded-bounded.txt

tests/run.sh plays the first two, and a few units of the others (--short); whole they take as long and are
played by hand. The server of mode valkey is RESPGATE_TEST_VALKEY, else the valkey-server on the PATH or in the
cache of tests/setup.sh.
Two halves run side by side, each with its own server. The last line is `N passed, N failed`.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "drivers"))

from stage import EVERYTHING, Stage, valkey_server  # noqa: E402

SECONDS_MAX = 900
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


# Commands about all scripts and functions are named, for the units that are about these.
PREFIX = "app1:"
TENANT = f"""[policy]
acl = "+@all +function +script ~* &*"
keys = {{ mode = "rewrite", prefix = "{PREFIX}", flushdb = true, dbsize = true }}
scripts = {{ mode = "declared-keys" }}
"""
GUARDED_LISTS = ("excluded-alldbs.txt", "excluded-guarded.txt", "excluded-rewrite.txt")
GUARDED = TENANT.replace("declared-keys", "guarded")
# Every key is looked at, and none of the suite's is refused.
BOUNDED = """[policy]
acl = "+@all +function +script ~[^{]* &* db=0,9,10"
scripts = { mode = "guarded" }
"""
MORTAL = EVERYTHING + """ttl = { default = "30d", on_missing = "inject" }
"""


@dataclasses.dataclass(frozen=True)
class Mode:
    """How respgate runs, before which server, and the written lists of what is not played then."""

    lists: tuple
    policy: str = EVERYTHING
    pool: str = "shared"
    valkey: bool = False
    # What a tenant does not have goes to the server itself (tenant.tcl): with this before the tenant's keys.
    tenant: str | None = None
    # Whether scripts are tried as functions too, which are not guarded.
    functions: bool = True
    # The units to play, where not all are.
    whole: tuple = ()
    # The units that test most of the mode in little time.
    short: tuple = ()


MODES = {
    "shared": Mode(("excluded.txt",)),
    "session": Mode(("excluded-session.txt",), pool="session"),
    "rewrite": Mode(("excluded-rewrite.txt", "excluded-declared.txt", "excluded.txt"), policy=TENANT, tenant=PREFIX,
                    short=("unit/keyspace", "unit/multi", "unit/scan", "unit/pubsub", "unit/tracking")),
    "guarded": Mode((*GUARDED_LISTS, "excluded.txt"), policy=GUARDED, tenant=PREFIX, functions=False,
                    short=("unit/scripting",)),
    "bounded": Mode(("excluded-bounded.txt", "excluded-guarded.txt", "excluded.txt"), policy=BOUNDED, tenant="",
                    functions=False, whole=("unit/scripting",)),
    "guarded-valkey": Mode((*GUARDED_LISTS, "excluded-valkey.txt", "excluded.txt"), policy=GUARDED, tenant=PREFIX,
                           functions=False, valkey=True, short=("unit/scripting",)),
    "ttl": Mode(("excluded-ttl.txt", "excluded.txt"), policy=MORTAL,
                short=("unit/type/string", "unit/type/hash", "unit/tracking", "unit/dump")),
    "valkey": Mode(("excluded-valkey.txt", "excluded.txt"), valkey=True,
                   short=("unit/keyspace", "unit/multi", "unit/pubsub", "unit/introspection")),
}


def excluded(mode):
    """The written lists: what is not played, by kind: `test`, `unit`, `tag`."""
    names = {"test": [], "unit": [], "tag": []}
    lists = [(HERE / name).read_text() for name in ("excluded-server.txt", *mode.lists)]
    for line in "\n".join(lists).splitlines():
        kind, _, name = line.partition(" ")
        if kind in names:
            names[kind].append(name.strip())
    return names


def for_a_tenant(suite, directory, functions):
    """A copy of the suite in which the administrator, not the client, administers the server."""
    copy = pathlib.Path(directory) / "suite"
    copy.mkdir()
    shutil.copytree(suite / "tests", copy / "tests", symlinks=True)
    with (copy / "tests/support/redis.tcl").open("a") as client:
        client.write((HERE / "tenant.tcl").read_text())
    if not functions:
        scripting = copy / "tests/unit/scripting.tcl"
        scripting.write_text(scripting.read_text().replace("foreach is_eval {0 1}", "foreach is_eval {1}"))
    link_programs(copy)
    return copy


def all_units(suite):
    """As the suite lists them; those about replication and clusters start their own servers."""
    text = (suite / "tests/test_helper.tcl").read_text()
    listed = re.search(r"set ::all_tests \{(.*?)\}", text, re.S).group(1).split()
    return [unit for unit in listed if not re.search("repl|psync|cluster|rdb|aof|corrupt|convert", unit)]


class Half(threading.Thread):
    """One process of the suite with its share of the units."""

    def __init__(self, suite, units, left_out, straight, mode, base):
        super().__init__()
        self.suite, self.units, self.left_out = suite, units, left_out
        self.straight, self.mode, self.base = straight, mode, base
        self.output, self.ended = b"", False

    def run(self):
        # No connection is made ahead of its use: MONITOR would show its HELLO among the commands. On a busy
        # machine a script of the suite runs for longer than a command may take by default.
        stage = Stage(straight=self.straight, policy=self.mode.policy, tls=not self.mode.valkey,
                      server=valkey_server() if self.mode.valkey else "redis-server",
                      upstream=f"pool = {{ mode = \"{self.mode.pool}\", min_idle = 0, command_timeout = \"2m\" }}")
        with stage, tempfile.NamedTemporaryFile("w") as skips:
            skips.write("\n".join(self.left_out["test"]) + "\n")
            skips.flush()
            command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--durable",
                       "--port", str(stage.port), "--timeout", "240",
                       "--baseport", str(self.base), "--portcount", "900",
                       "--skipfile", skips.name,
                       "--tags", " ".join(f"-{tag}" for tag in self.left_out["tag"])]
            if self.mode.valkey:
                command.append("--ignore-encoding")  # it stores small sets and lists in other ways
            for unit in self.units:
                command += ["--single", unit]
            log = tempfile.TemporaryFile()
            tenant = {"TENANT_SERVER_PORT": str(stage.plain_port), "TENANT_PREFIX": self.mode.tenant or ""}
            process = subprocess.Popen(command, cwd=self.suite, stdin=subprocess.DEVNULL, env=os.environ | tenant,
                                       stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            log.seek(0)
            self.output = COLOURS.sub(b"", log.read())
            # After a unit without progress for --timeout seconds it ends as if all were played.
            self.ended = b"Execution time of different units" in self.output and b"[TIMEOUT]" not in self.output
            if not self.straight:
                self.log = stage.log("respgate")


def link_programs(suite):
    """The suite runs ./src/redis-cli and its like."""
    (suite / "src").mkdir(exist_ok=True)
    for program in ("redis-cli", "redis-benchmark", "redis-server"):
        # Another lane may link it at the same time.
        with contextlib.suppress(FileExistsError):
            (suite / "src" / program).symlink_to(f"/usr/bin/{program}")


def free_bases(lane):
    """Ports from which on the suite may start servers, apart from those of another run at the same time."""
    bases = range(10111 + 1000 * lane, 31111, 2000)
    for base in random.sample(bases, len(bases)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", base - 32))  # the suite listens there as long as it runs
            except OSError:
                continue
        yield base


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=pathlib.Path)
    parser.add_argument("--straight", action="store_true")
    parser.add_argument("--mode", choices=MODES, default="shared")
    parser.add_argument("--lane", type=int, choices=(0, 1), default=0)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    mode, suite = MODES[options.mode], options.suite.resolve()
    link_programs(suite)
    with tempfile.TemporaryDirectory(prefix="respgate-tcl-") as directory:
        if mode.tenant is not None:
            suite = for_a_tenant(suite, directory, mode.functions)
        sys.exit(play(suite, mode, options))


def play(suite, mode, options):
    """The exit status."""
    left_out = excluded(mode)
    chosen = options.only or (options.short and mode.short) or mode.whole or all_units(suite)
    units = options.only or [unit for unit in chosen if unit not in left_out["unit"]]
    start = time.monotonic()
    shares = [share for share in (units[0::2], units[1::2]) if share]
    bases = free_bases(options.lane)
    halves = [Half(suite, share, left_out, options.straight, mode, next(bases)) for share in shares]
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
    return int(bool(failed) or not passed)


main()
