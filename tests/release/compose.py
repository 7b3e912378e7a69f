"""deploy/compose: its form, what it mounts, and its services acted out with processes.

Owns: what Docker Compose does with this file: order of start, health checks, volumes, tmpfs, users, order of stop. Never
knows: a container daemon. Each service has a file system of its own (bubblewrap); all share one network namespace, as
`--play` expects to be started in one.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import compose_spec
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/compose"
TEXT = (FOLDER / "compose.yaml").read_text()
USER = 10001


def takes(text):
    """With variables in their places, as Compose reads it."""
    compose_spec.PyCompose.from_yaml(re.sub(r"\$\{RUN_AS:[^}]*\}", f'"{USER}:{USER}"', text)).validate()


def fits():
    try:
        takes(TEXT)
    except ValueError as error:
        yield str(error)


def mutants():
    """The parser refuses a misspelled key, a wrong type and a service that does not exist."""
    for old, new in (("read_only:", "readonly:"), ("retries: 30", "retries: many"), ("stop_grace_period: 30s", "stop_grace_period: long"),
                     ("service_healthy", "service_well"), ("[CMD, ", "[COMMAND, ")):
        changed = TEXT.replace(old, new, 1)
        try:
            takes(changed)
        except ValueError:
            continue
        yield f"{new} is permitted"


def services():
    return yaml.safe_load(TEXT)["services"]


def closed():
    """Every service runs as the given user, without capabilities, on a read-only file system, from a fixed image."""
    for name, each in services().items():
        if not each["read_only"] or each["cap_drop"] != ["ALL"] or each["security_opt"] != ["no-new-privileges:true"]:
            yield f"{name} is open"
        if not each["user"].startswith("${RUN_AS:?"):
            yield f"{name} runs as {each['user']}"
        if not re.fullmatch(r"[a-z./]+:\d+\.\d+\.\d+", each["image"]):
            yield f"{name}: image {each['image']}"
        for other in each.get("depends_on", {}):
            if "healthcheck" not in services()[other]:
                yield f"{name} waits for {other}, which has no health check"
        for port in each.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: {port} is open to other machines"


def prepared(work, program):
    """A copy of the directory in which the commands of the file's head have run, Docker's done by processes."""
    folder = work / "deploy/compose"
    shutil.copytree(FOLDER, folder)
    shutil.copytree(ROOT / "deploy/kubernetes/redis", work / "deploy/kubernetes/redis")
    for line in re.findall(r"^#   (.+)$", TEXT, re.M):
        if line.startswith("docker build") or "docker compose" in line:
            continue
        line = re.sub(r"^docker run .* registry\S+ (.*)/work/", rf"{program} \1{folder}/", line)
        subprocess.run(["sh", "-c", line], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    for path in (work, *work.rglob("*")):
        os.chown(path, USER, USER)
    return folder


class Service:
    def __init__(self, name, spec, folder, program, hosts):
        self.name, self.spec, self.log = name, spec, folder / f"{name}.log"
        self.sandbox = ["bwrap", "--die-with-parent", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]
        self.sandbox += ["--symlink", "usr/bin", "/bin", "--dev", "/dev", "--proc", "/proc", "--perms", "0755", "--dir", "/etc"]
        targets = [*spec.get("tmpfs", []), *(each.split(":")[1] for each in spec.get("volumes", [])), "/usr/local/bin/respgate"]
        for parent in sorted({str(each) for target in targets for each in pathlib.PurePath(target).parents} - {"/", "/etc"}):
            self.sandbox += ["--perms", "0755", "--dir", parent]
        for path in ("/usr/bin", "/usr/lib", "/usr/lib64"):
            self.sandbox += ["--ro-bind", path, path]
        self.sandbox += ["--ro-bind", str(hosts), "/etc/hosts", "--ro-bind", program, "/usr/local/bin/respgate"]
        for each in spec.get("tmpfs", []):
            self.sandbox += ["--perms", "1777", "--tmpfs", each]
        for each in spec.get("volumes", []):
            source, target, *mode = each.split(":")
            if not (path := (folder / source).resolve()).exists():
                raise FileNotFoundError(f"{name}: {source} does not exist, and Docker would make a directory of it")
            self.sandbox += ["--ro-bind" if mode == ["ro"] else "--bind", str(path), target]
        self.sandbox += ["--remount-ro", "/", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin"]
        self.drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        self.process = None

    def start(self):
        words = self.spec.get("command") or ["respgate", "run", "--config", "/etc/respgate/respgate.toml"]
        self.read, write = os.pipe()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.sandbox, "--info-fd", str(write), *self.drop, *words], pass_fds=[write], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(write)
        with os.fdopen(self.read) as info:
            self.pid = yaml.safe_load(info.read())["child-pid"]

    def healthy(self):
        """As `docker exec`: the check sees the mounts of the running service."""
        if (check := self.spec.get("healthcheck")) is None:
            return True
        kind, *words = check["test"]
        words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        for _ in range(check["retries"] * 50):
            inside = ["nsenter", "--target", str(self.pid), "--mount", *self.drop, *words]
            if subprocess.run(inside, capture_output=True, timeout=60, check=False).returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            return self.process.wait(30)
        return None


def play(program):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder = prepared(work, program)
        hosts = work / "hosts"
        hosts.write_text("127.0.0.1 localhost redis\n")
        started = []
        try:
            waiting = dict(services())
            while waiting:
                name = next(each for each, spec in waiting.items() if not set(spec.get("depends_on", {})) & set(waiting))
                service = Service(name, waiting.pop(name), folder, program, hosts)
                service.start()
                started.append(service)
                if not service.healthy():
                    yield f"{name} is not healthy"
                    return
            application, respgate, redis = started[2], started[1], started[0]
            deadline = time.monotonic() + 60
            while application.log.read_text().split()[-1:] < ["3"] and time.monotonic() < deadline:
                time.sleep(0.1)
            if application.log.read_text().split()[:3] != ["1", "2", "3"]:
                yield f"the application has {application.log.read_text()!r}"
            application.stop()
            for service in (respgate, redis):
                if code := service.stop():
                    yield f"{service.name} ends with {code}"
        finally:
            for service in reversed(started):
                service.stop()
            logs = "\n".join(f"{each.name}: {each.log.read_text()[-1500:]}" for each in started)
            if "ERROR" in logs or len(started) < 3:
                yield logs


def acted(program):
    root = [] if os.getuid() == 0 else ["sudo", "--"]
    done = subprocess.run([*root, "unshare", "--net", sys.executable, __file__, "--play", program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield done.stdout + done.stderr


def stages(program):
    return [
        ("the compose file fits its specification", fits()),
        ("a compose file that does not fit is refused", mutants()),
        ("the services are closed, of fixed images, and wait for each other", closed()),
        ("the services start, answer the application, and stop", acted(program)),
    ]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--play", required=True)
    problems = list(play(arguments.parse_args().play))
    print("\n".join(problems))
    raise SystemExit(bool(problems))
