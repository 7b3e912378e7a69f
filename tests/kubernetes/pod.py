"""One pod, acted out with processes: what a kubelet does with containers, volumes and probes.

Owns: order of start and stop, probes, exit codes. Never knows: what the programs do. Each container has a file system
of its own (bubblewrap): read-only, with its mounts alone, and runs as its user without any capability. All pods share
one network namespace, which must not be that of the machine.
"""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from volumes import Volumes

POD_IP = "10.20.0.5"
PROBE_SECONDS = 120
# A probe has its own time limit many times over, as this machine runs other programs beside the pod.
PROBE_TIMES = 20


class Failure(Exception):
    pass


class Container:
    def __init__(self, pod, spec, image):
        self.pod, self.spec, self.image = pod, spec, image
        self.name = spec["name"]
        self.log = pod.directory / f"{self.name}.log"
        self.process = self.pid = None
        self.ready = False

    def sandbox(self, words):
        """The command that runs `words` as this container would."""
        context = {**self.pod.spec.get("securityContext", {}), **self.spec.get("securityContext", {})}
        user = context.get("runAsUser", self.image.user)
        group = context.get("runAsGroup", user)
        command = ["bwrap", "--die-with-parent", "--unshare-ipc", "--unshare-uts"]
        command += ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"]
        command += ["--dev", "/dev", "--proc", "/proc", "--perms", "0755", "--tmpfs", "/etc"]
        targets = [*self.image.files.values(), *(mount["mountPath"] for mount in self.spec.get("volumeMounts", []))]
        parents = {str(each) for target in targets for each in pathlib.PurePath(target).parents if str(each) != "/"}
        for parent in sorted(parents - {"/etc"}):
            command += ["--perms", "0755", "--dir", parent]
        for source, target in {**self.image.files, "/etc/hosts": "/etc/hosts"}.items():
            source = self.pod.hosts if source == "/etc/hosts" else source
            command += ["--ro-bind", str(source), target]
        for mount in self.spec.get("volumeMounts", []):
            kind = "--ro-bind" if mount.get("readOnly") else "--bind"
            command += [kind, str(self.pod.volumes.path(mount["name"])), mount["mountPath"]]
        # readOnlyRootFilesystem; mounts below are not concerned.
        command += ["--remount-ro", "/", "--remount-ro", "/etc", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin"]
        for each in self.spec.get("env", []):
            command += ["--setenv", each["name"], each["value"]]
        groups = ["--groups", str(self.pod.volumes.group)] if self.pod.volumes.group else ["--clear-groups"]
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", *groups, "--no-new-privs", "--bounding-set=-all",
                "--inh-caps=-all"]
        return command, drop + words

    def words(self):
        return [*(self.spec.get("command") or self.image.entry), *self.spec.get("args", [])]

    def start(self):
        command, words = self.sandbox(self.words())
        read, write = os.pipe()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--info-fd", str(write), *words], pass_fds=[write], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )
        os.close(write)
        with os.fdopen(read) as info:
            self.pid = json.loads(info.read() or "{}").get("child-pid")
        if not self.pid:
            raise Failure(f"{self.name} does not start: {self.text()}")

    def run(self, words, seconds, given=""):
        """As kubectl exec: exit code and output."""
        command, words = self.sandbox(words)
        try:
            done = subprocess.run(
                [*command, *words], timeout=seconds, input=given, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            return None, ""
        return done.returncode, done.stdout + done.stderr

    def stop(self, deadline):
        """SIGTERM, and SIGKILL at the deadline, which is a failure here; the time it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.name} did not stop within the grace period: {self.text()}") from None
        if code != 0:
            raise Failure(f"{self.name} ended with {code}: {self.text()}")
        return time.monotonic() - began

    def kill(self):
        if self.process and self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait()

    def probe(self, probe):
        seconds = probe.get("timeoutSeconds", 1) * PROBE_TIMES
        if "exec" in probe:
            return self.run(probe["exec"]["command"], seconds)[0] == 0
        get = probe["httpGet"]
        port = next((each["containerPort"] for each in self.spec["ports"] if each["name"] == get["port"]), get["port"])
        try:
            with urllib.request.urlopen(f"http://{POD_IP}:{port}{get['path']}", timeout=seconds) as reply:
                return reply.status < 400
        except (urllib.error.URLError, OSError):
            return False

    def await_started(self):
        probe = self.spec.get("startupProbe")
        for _ in range(probe["failureThreshold"] if probe else 0):
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended before it had started: {self.text()}")
            if self.probe(probe):
                return
            time.sleep(probe.get("periodSeconds", 10))
        if probe:
            raise Failure(f"{self.name} has not started: {self.text()}")

    def text(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def peak_memory(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


class Pod:
    """Start, probes and end of the containers of one pod template."""

    def __init__(self, spec, objects, images, directory, hosts, csi=None):
        directory.mkdir()
        self.spec, self.directory, self.hosts = spec, directory, hosts
        (directory / "volumes").mkdir()
        self.volumes = Volumes(spec, objects, directory / "volumes", csi)
        make = lambda each: Container(self, each, images(each))
        self.first = [make(each) for each in spec.get("initContainers", [])]
        self.main = [make(each) for each in spec["containers"]]
        self.sidecars = [each for each in self.first if each.spec.get("restartPolicy") == "Always"]
        self.failures, self.stopping, self.pollers = [], threading.Event(), []

    def __getitem__(self, name):
        return next(each for each in self.first + self.main if each.name == name)

    def start(self):
        """Init containers one after the other; a sidecar has its turn when its startup probe succeeds."""
        for container in self.first:
            container.start()
            if container in self.sidecars:
                container.await_started()
                self.watch(container)
            elif code := container.process.wait(PROBE_SECONDS):
                raise Failure(f"{container.name} ended with {code}: {container.text()}")
        for container in self.main:
            container.start()
        for container in self.main:
            container.await_started()
            self.watch(container)

    def watch(self, container):
        """Polls the readiness and the liveness probe until the pod is stopped."""
        for name in ("readinessProbe", "livenessProbe"):
            if name in container.spec:
                poller = threading.Thread(target=self.poll, args=(container, name, container.spec[name]), daemon=True)
                poller.start()
                self.pollers.append(poller)

    def poll(self, container, name, probe):
        failed = 0
        while not self.stopping.is_set():
            good = container.probe(probe)
            failed = 0 if good else failed + 1
            if name == "readinessProbe":
                container.ready = good
            if failed >= probe.get("failureThreshold", 3) and not self.stopping.is_set():
                self.failures.append(f"{container.name}: {name} fails")
            self.stopping.wait(probe.get("periodSeconds", 10))

    def await_ready(self):
        deadline = time.monotonic() + PROBE_SECONDS
        watched = [each for each in self.sidecars + self.main if "readinessProbe" in each.spec]
        while not all(each.ready for each in watched):
            if time.monotonic() > deadline:
                raise Failure(f"not ready: {[each.text() for each in watched if not each.ready]}")
            time.sleep(0.05)

    def delete(self):
        """Containers at the same time, then the sidecars in the reverse order of their start; seconds of each."""
        self.stopping.set()
        deadline = time.monotonic() + self.spec.get("terminationGracePeriodSeconds", 30)
        took, wrong = {}, []

        def stop(container):
            try:
                took[container.name] = container.stop(deadline)
            except Failure as failure:
                wrong.append(str(failure))

        together = [threading.Thread(target=stop, args=(each,)) for each in self.main]
        for each in together:
            each.start()
        for each in together:
            each.join()
        for container in reversed(self.sidecars):
            stop(container)
        if wrong or self.failures:
            raise Failure("; ".join(wrong + self.failures))
        return took

    def complete(self, seconds):
        """As a Job: when the containers have ended well, the sidecars are stopped."""
        for container in self.main:
            if code := container.process.wait(seconds):
                raise Failure(f"{container.name} ended with {code}: {container.text()}")
        return self.delete()

    def kill(self):
        self.stopping.set()
        for container in self.main + self.first:
            container.kill()
