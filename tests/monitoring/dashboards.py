"""Dashboards: what the generator writes, and every expression against a Prometheus that scraped a respgate under load.

The server is a real one with mutual TLS; in about 20 s the test makes what each panel shows: denials, failed logins,
a rejected reload, a new certificate, a server that restarts with a certificate of another CA, and with its own again.
"""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import rules

sys.path.insert(0, str(rules.ROOT / "tests/tools"))

from ports import free_port  # noqa: E402

FOLDER = rules.ROOT / "deploy/grafana"
PASSWORD = "aPasswordOfTheTest"


def generated():
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([sys.executable, FOLDER / "make.py", work], check=True)
        made = {path.name: path.read_text() for path in pathlib.Path(work).iterdir()}
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if made != there or len(made) != 4:
        yield "the JSON differs from what make.py writes: run deploy/grafana/make.py"


def expressions():
    for path in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}, {panel['title']}", target["expr"]


def until(what, question, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if answer := question():
                return answer
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds} s")


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def ask(port, *commands):
    """The first bytes of the answers; a server that is down is part of the test."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        client.settimeout(1)
        client.sendall("".join(f"{each}\r\n" for each in commands).encode())
        return client.recv(4096).decode(errors="replace")
    return ""


class World:
    def __init__(self, program, work, ended):
        self.program, self.work, self.ended = program, work, ended
        self.port, self.server, self.health, self.prometheus = (free_port() for _ in range(4))
        for name in ("own", "other"):
            subprocess.run([program, "--quiet", "certs", "dev", work / name], check=True, stdout=subprocess.DEVNULL)
        self.redis = None
        self.files = work / "client"
        self.files.mkdir()
        for name, source in (("tls.crt", "client.crt"), ("tls.key", "client.key"), ("ca.crt", "ca.crt")):
            shutil.copy(work / "own" / source, self.files / name)
        (work / "password").write_text(PASSWORD)
        os.chmod(work / "password", 0o600)

    def start(self, *words):
        process = subprocess.Popen(words, cwd=self.work, stdout=subprocess.DEVNULL, stderr=(self.work / "log").open("a"))
        self.ended.callback(process.wait)
        self.ended.callback(process.kill)
        return process

    def serve(self, name):
        if self.redis:
            self.redis.kill()
            self.redis.wait()
        files = self.work / name
        self.redis = self.start(
            "redis-server", "--port", "0", "--tls-port", str(self.server), "--bind", "127.0.0.1", "--save", "",
            "--tls-cert-file", files / "server.crt", "--tls-key-file", files / "server.key", "--tls-ca-cert-file", files / "ca.crt",
        )

    def proxy(self):
        tls = ", ".join(f'{key} = "{self.files / file}"' for key, file in (("cert", "tls.crt"), ("key", "tls.key"), ("ca", "ca.crt")))
        (self.work / "respgate.toml").write_text(
            f'[[listener]]\naddress = "127.0.0.1:{self.port}"\npassword_file = "{self.work / "password"}"\n'
            f'[upstream]\naddress = "localhost:{self.server}"\noutage_wait = "30s"\ntls = {{ {tls} }}\n'
            f'[policy]\nkeys = {{ prefix = "app1:" }}\n[telemetry]\naddress = "127.0.0.1:{self.health}"\n'
            f'[[audit.sink]]\ntype = "file"\npath = "{self.work / "audit.log"}"\n'
        )
        self.respgate = self.start(self.program, "run", "--config", self.work / "respgate.toml")
        until("respgate", lambda: get(f"http://127.0.0.1:{self.health}/healthz/upstream"))

    def scraped(self):
        (self.work / "prometheus.yml").write_text(
            "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
            f"rule_files: [{rules.FOLDER / 'rules.yaml'}]\n"
            f"scrape_configs: [{{job_name: respgate, static_configs: [{{targets: ['127.0.0.1:{self.health}']}}]}}]\n"
        )
        self.start(
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{self.prometheus}"
        )
        until("prometheus", lambda: "value" in self.query("query", query="respgate_build_info"))

    def query(self, kind, **parameters):
        return get(f"http://127.0.0.1:{self.prometheus}/api/v1/{kind}?{urllib.parse.urlencode(parameters)}")

    def moved(self, expression):
        """Waits until Prometheus shows at least 1."""
        def shown():
            result = json.loads(self.query("query", query=f"sum({expression})"))["data"]["result"]
            return result and float(result[0]["value"][1]) >= 1
        until(expression, shown)

    def load(self, stop):
        login = f"AUTH {PASSWORD}"
        while not stop.is_set():
            ask(self.port, login, "SET app1:a 1", "GET app1:a", "LPUSH app1:l x", "HSET app1:h f v", "INCR app1:h")
            ask(self.port, login, "GET other:key", "FLUSHALL", "KEYS *")
            ask(self.port, "AUTH wrong")
            stop.wait(0.02)

    def wait_for_the_server(self):
        """The answer to AUTH comes at once; that to the command when the server is back."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            client.sendall(f"AUTH {PASSWORD}\r\nGET app1:a\r\n".encode())
            while (answer := client.recv(4096)) and b"$" not in answer:
                pass

    def play(self):
        """What the panels show, one after the other; each is waited for in Prometheus."""
        self.moved('respgate_commands_denied_total{rule="namespace"}')
        certificate = self.files / "tls.crt"
        good = certificate.read_bytes()
        certificate.write_text("no certificate")
        self.respgate.send_signal(signal.SIGHUP)
        self.moved("respgate_reload_rejections_total")
        certificate.write_bytes(good)
        self.respgate.send_signal(signal.SIGHUP)
        self.serve("other")
        self.moved("respgate_tls_handshake_failures_total")
        waiter = threading.Thread(target=self.wait_for_the_server)
        waiter.start()
        self.ended.callback(waiter.join)
        time.sleep(1.5)  # Two more scrapes, which a rate needs.
        self.serve("own")
        self.moved("respgate_upstream_up")
        self.moved("respgate_upstream_queue_wait_seconds_count")

    def filled(self, expression, begin):
        """Whether the expression had a value since `begin`, whose rates are those of the last minute: a slow machine
        may scrape only every few seconds."""
        expression = expression.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
        answer = json.loads(self.query("query_range", query=expression, start=begin, end=time.time(), step="0.5"))
        return any(value != "NaN" for series in answer["data"]["result"] for _, value in series["values"])

    def fires(self, alert):
        alarm = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        return bool(json.loads(self.query("query", query=alarm))["data"]["result"])


def left_of(questions, seconds=30):
    """The names of the questions that are not answered with yes within this time; each is repeated until then."""
    deadline = time.monotonic() + seconds
    while questions := {name: question for name, question in questions.items() if not question()}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return list(questions)


def answered(program):
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as ended:
        world = World(program, pathlib.Path(work), ended)
        stop = threading.Event()
        try:
            world.serve("own")
            world.proxy()
            begin = time.time()
            world.scraped()
            load = threading.Thread(target=world.load, args=(stop,))
            load.start()
            ended.callback(load.join)
            ended.callback(stop.set)
            world.play()
        except TimeoutError as error:
            yield f"{error}\n{(world.work / 'log').read_text()[-3000:]}"
            return
        recorded = [("rules.yaml", line.split()[-1]) for line in (rules.FOLDER / "rules.yaml").read_text().splitlines() if "- record: " in line]
        wanted = [*expressions(), *recorded]
        if len(wanted) < 50:
            yield f"only {len(wanted)} expressions were found"
        questions = {
            f"{where}: nothing for {expression}": functools.partial(world.filled, expression, begin) for where, expression in wanted
        }
        for alert in ("RespgateDangerousCommandAttempt", "RespgateNamespaceEscapeAttempts"):
            questions[f"{alert} does not fire, although the load meets its condition"] = functools.partial(world.fires, alert)
        yield from left_of(questions)
        if world.filled("respgate_nothing", begin):
            yield "a metric that does not exist has an answer"
