"""Plays the suite of a driver before respgate, and what fails there before Redis itself.

    tests/suites/run.py redis-py|redis-rs|ioredis|node-redis [--mode shared|session] [--source DIRECTORY] [--only WORD]

A test that passes directly must pass through respgate (plaintext to it, mutual TLS from it, a policy that
allows everything), or be in a list beside this file with its reason: NAME.txt for pool.mode = "shared",
NAME-session.txt for "session", where there is no list when all pass. What passes once in three tries passes:
the suites wait for fixed times. The last line is `N passed, N failed`, and the exit status is 0 when none failed.

The source is fetched into the cache of tests/setup.sh (pip, git), or is a checkout that --source names; the
suite runs in a network of its own, so that its fixed ports are free. Needs redis-server, git, npm, cargo.
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "drivers"))

from stage import Stage  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "respgate/suites"
SECONDS_MAX = 3000
TRIES = 3


def show(text):
    print(text, flush=True)


def run(words, **options):
    """The output, whatever the status; what takes too long is killed, with what it has started."""
    process = subprocess.Popen([*map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        return process.communicate(timeout=SECONDS_MAX)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        return process.communicate()[0].decode(errors="replace") + "\nkilled: no end in time\n"


def clone(name, tag, url):
    """The source at this tag, fetched once."""
    folder = CACHE / f"{name}-{tag.split('@')[-1].lstrip('v').removeprefix('redis-')}"
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "--branch", tag, url, folder], check=True)
    return folder


class Suite:
    """How respgate runs, and what is not played or need not pass then."""

    def __init__(self, name, mode):
        self.mode = mode
        # The suites leave hundreds of clients connected; with "session" each holds a connection to the server.
        self.upstream = f'pool = {{ mode = "{mode}", max_connections = 4000 }}'
        list_of_mode = HERE / (f"{name}.txt" if mode == "shared" else f"{name}-{mode}.txt")
        self.lines = list_of_mode.read_text().splitlines() if list_of_mode.exists() else []

    def listed(self, kind="test"):
        """The tests that need not pass through respgate; with "skip", those that are not even played."""
        return {line.removeprefix(f"{kind} ") for line in self.lines if line.startswith(f"{kind} ")}

    def stage(self, through, directory):
        """For suites that use one server, on the usual port."""
        return Stage(port=6379, straight=not through, upstream=self.upstream,
                     certificates=directory / "certificates")

    def surroundings(self, through, directory):
        """For server.py."""
        environment = {"SUITE_CERTIFICATES": str(directory / "certificates"), "SUITE_SERVERS": str(directory / "servers")}
        return environment | ({"SUITE_THROUGH": self.upstream} if through else {})


class RedisPy(Suite):
    """pytest on one server."""

    VERSION = "8.1.0"
    # Those of clusters, modules, Sentinel, TLS and hosted services have other servers.
    MARKS = "not onlycluster and not redismod and not ssl and not cp_integration and not fixed_client"
    LEFT_OUT = ("tests/test_scenario", "tests/test_multidb", "tests/test_asyncio/test_multidb",
                "tests/test_asyncio/test_scenario", "tests/test_cluster.py", "tests/test_asyncio/test_cluster.py")

    def fetch(self):
        folder = CACHE / f"redis-{self.VERSION}"
        if not folder.exists():
            with tempfile.TemporaryDirectory() as directory:
                subprocess.run([sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary",
                                ":all:", f"redis=={self.VERSION}", "--dest", directory], check=True)
                subprocess.run(["tar", "-xzf", *pathlib.Path(directory).glob("*.tar.gz"), "-C", CACHE], check=True)
        return folder

    def prepare(self, source):
        requirements, self.python = HERE / "requirements.txt", CACHE / "python/bin/python"
        installed = CACHE / "python/requirements.txt"
        if not installed.exists() or installed.read_text() != requirements.read_text():
            subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE / "python"], check=True)
            subprocess.run([self.python, "-m", "pip", "--quiet", "install", "-r", requirements], check=True)
            shutil.copy(requirements, installed)

    def play(self, source, through, only, directory):
        with self.stage(through, directory) as stage:
            report = directory / "report.xml"
            words = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                     "--timeout", "60", "-m", self.MARKS, f"--junit-xml={report}",
                     "--redis-url", f"redis://localhost:{stage.port}/0"]
            words += [f"--ignore={path}" for path in self.LEFT_OUT]
            words += [f"--deselect={test}" for test in self.listed("skip")]
            words += only if only else ["tests"]
            output = run(words, cwd=source)
        if not report.exists():
            raise RuntimeError(output[-3000:])
        results = {}
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            where = [part for part in (case.get("classname") or "").split(".") if part]
            if not where or case.get("name") == "internal":
                show("pytest itself failed:\n" + output[-3000:])
                continue
            file = "/".join(part for part in where if not part[0].isupper()) + ".py"
            of = [part for part in where if part[0].isupper()]
            name = "::".join([file, *of, case.get("name")])
            if case.find("skipped") is None:
                bad = [case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None]
                results[name] = bad[0].get("message") or "" if bad else None
        return results


class Mocha(Suite):
    """mocha's own report, of a suite in TypeScript."""

    def mocha(self, words, source, environment, directory):
        report = directory / "report.json"
        for _ in range(TRIES):
            report.unlink(missing_ok=True)
            output = run([*words, "--reporter", "json", "--reporter-option", f"output={report}", "--exit"],
                         cwd=source, env=os.environ | environment)
            if not report.exists():
                raise RuntimeError(output[-3000:])
            outcome = json.loads(report.read_text())
            # What every test begins or ends with: when that fails, mocha plays none of the rest.
            hooks = [test for test in outcome["failures"] if re.match('"(before|after) (each|all)" hook', test["title"])]
            if not hooks:
                break
            for hook in hooks:
                show(f"not played to its end: {hook['fullTitle']}: {hook['err'].get('message')}")
        else:
            raise RuntimeError("it was not played to its end")
        results, seen = {}, collections.Counter()
        skipped = {(test["fullTitle"], test["file"]) for test in outcome["pending"]}
        for test in outcome["tests"]:
            if (test["fullTitle"], test["file"]) in skipped:
                continue
            name = " ".join(test["fullTitle"].split())
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            results[name] = (test["err"].get("message") or "failed") if test["err"] else None
        return results


class IoRedis(Mocha):
    TAG, URL = "v6.0.0", "https://github.com/redis/ioredis.git"
    FILES = ("test/helpers/*.ts", "test/unit/**/*.ts", "test/functional/**/*.ts")

    def fetch(self):
        return clone("ioredis", self.TAG, self.URL)

    def prepare(self, source):
        if not (source / "node_modules").exists():
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=source, check=True)

    def play(self, source, through, only, directory):
        words = ["npx", "mocha", *self.FILES]
        if only:
            words += ["--grep", "|".join(map(re.escape, only))]
        with self.stage(through, directory):
            return self.mocha(words, source, {"TS_NODE_TRANSPILE_ONLY": "true", "NODE_ENV": "test"}, directory)


class NodeRedis(Mocha):
    TAG, URL = "redis@6.2.1", "https://github.com/redis/node-redis.git"

    def fetch(self):
        return clone("node-redis", self.TAG, self.URL)

    def prepare(self, source):
        if not (source / "node_modules").exists():
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=source, check=True)
        if not (source / "packages/bloom/dist").exists():
            run(["npx", "tsc", "--build", "packages/bloom", "packages/test-utils"], cwd=source)

    def play(self, source, through, only, directory):
        programs = directory / "programs"
        programs.mkdir(exist_ok=True)
        if not (programs / "docker").exists():
            (programs / "docker").symlink_to(HERE / "server.py")
        environment = {"PATH": f"{programs}:{os.environ['PATH']}"} | self.surroundings(through, directory)
        words = ["npx", "mocha", "-r", "tsx", "--redis-tag=7.0", "--redis-version=7.0", "./lib/**/*.spec.ts"]
        if only:
            words += ["--grep", "|".join(map(re.escape, only))]
        servers = pathlib.Path(environment["SUITE_SERVERS"])
        servers.write_text("")
        try:
            return self.mocha(words, source / "packages/client", environment, directory)
        finally:
            for server in servers.read_text().split():
                try:
                    os.kill(int(server), signal.SIGKILL)
                except ProcessLookupError:
                    pass  # the suite has removed it


class RedisRs(Suite):
    """libtest; each test starts a server of its own."""

    TAG, URL = "redis-1.6.0", "https://github.com/redis-rs/redis-rs.git"
    FEATURES = "acl,streams,geospatial,script,num-bigint,tokio-comp,connection-manager,cache-aio,r2d2,bb8"
    LEFT_OUT = ("cluster", "sentinel", "tls", "module", "hotkeys")

    def fetch(self):
        return clone("redis-rs", self.TAG, self.URL)

    def prepare(self, source):
        environment = {"CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_DEV_DEBUG": "0",
                       "CARGO_TARGET_DIR": str(CACHE / "redis-rs-target")}
        messages = subprocess.run(
            ["cargo", "test", "--locked", "--quiet", "-p", "redis", "--no-default-features", "--features",
             self.FEATURES, "--tests", "--no-run", "--message-format=json"], cwd=source, check=True,
            env=os.environ | environment, stdout=subprocess.PIPE).stdout
        built = [json.loads(line) for line in messages.splitlines()]
        self.programs = {item["target"]["name"]: item["executable"] for item in built
                         if item.get("executable") and item["profile"]["test"]}

    def play(self, source, through, only, directory):
        environment = {"REDISRS_SERVER_TYPE": "tcp", "REDISRS_SERVER_BIN": str(HERE / "server.py"),
                       "RUST_BACKTRACE": "0"} | self.surroundings(through, directory)
        results = {}
        for name, program in sorted(self.programs.items()):
            if any(word in name for word in self.LEFT_OUT):
                continue
            words = [program, "--test-threads", "4"]
            words += [option for word in self.LEFT_OUT for option in ("--skip", word)]
            if only:
                mine = [test.split("::", 1)[1] for test in only if test.startswith(f"{name}::")]
                if not mine:
                    continue
                words += ["--exact", *mine]
            output = run(words, cwd=source / "redis", env=os.environ | environment)
            causes = dict(re.findall(r"^---- (\S+) stdout ----\n+((?:.*\n){1,4})", output, re.M))
            for test, end in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED)$", output, re.M):
                results[f"{name}::{test}"] = None if end == "ok" else causes.get(test, "failed")
        return results


SUITES = {"redis-py": RedisPy, "redis-rs": RedisRs, "ioredis": IoRedis, "node-redis": NodeRedis}


def compare(suite, source, only, directory):
    """How many passed, and how many failed that should not."""
    through = suite.play(source, True, only, directory)
    known = suite.listed()

    def bad():
        return {test for test, cause in through.items() if cause is not None}

    show(f"{len(through)} tests played, {len(bad())} failed through respgate")
    direct = suite.play(source, False, sorted(bad()), directory) if bad() else {}
    lost = {test for test in bad() if direct.get(test, "not played") is None}
    own = bad() - lost
    for _ in range(TRIES - 1):
        again = sorted(lost - known)
        if again:
            through |= {test: cause for test, cause in suite.play(source, True, again, directory).items() if test in lost}
            lost &= bad()
    good = set(through) - bad()
    show(f"directly {len(through) - len(own)} pass, through respgate {len(good)}")
    for test in sorted(own):
        show(f"fails directly, too: {test}")
    for test in sorted(lost):
        cause = " ".join(str(through[test]).split())[:300]
        show(f"{'listed' if test in known else 'FAIL'} {test}\n     {cause}")
    for test in sorted(known & good):
        show(f"listed, but passed: {test}")
    return len(good), len(lost - known)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SUITES)
    parser.add_argument("--mode", choices=("shared", "session"), default="shared")
    parser.add_argument("--source", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    suite = SUITES[options.name](options.name, options.mode)
    source = (options.source or suite.fetch()).resolve()
    suite.prepare(source)
    if not options.within:
        words = ["unshare", "--user", "--map-root-user", "--net", sys.executable, __file__, "--within"]
        sys.exit(subprocess.run([*words, *sys.argv[1:]]).returncode)
    loopback_up()
    with tempfile.TemporaryDirectory(prefix="respgate-suite-", ignore_cleanup_errors=True) as folder:
        # Servers are killed, and leave their files here.
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        directory = pathlib.Path(folder)
        (directory / "certificates").mkdir()
        Stage.make_certificates(directory / "certificates")
        passed, failed = compare(suite, source, options.only, directory)
    show(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed) or not passed)


def loopback_up():
    """As `ip link set lo up`."""
    with socket.socket() as any_socket:
        flags = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, flags)  # SIOCSIFFLAGS


main()
