"""A server that accepts only mutual TLS, and respgate before it, for programs that need a port.

`with Stage() as stage:` gives `stage.port` (respgate) and `stage.flush()`. With straight=True the
port is the server's own and plain: what fails then is the program's own doing.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

from ports import free_port  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


# A policy that refuses nothing.
EVERYTHING = """[policy]
acl = "+@all +sync +psync +replconf ~* &*"
"""


# Two applications on one server: one on the first listener, the other on one more.
PREFIXES = ("one:", "two:")


def two_policies(port, rules="+@all ~* &*"):
    """Guarded scripts behind a prefix on the first listener, and the same behind another on `port`."""
    one, two = (f"""acl = "{rules}"
keys = {{ mode = "rewrite", prefix = "{prefix}", dbsize = true }}
scripts = {{ mode = "guarded" }}
""" for prefix in PREFIXES)
    return f"""[policy]
{one}
[policies.two]
{two}
[[listener]]
address = "127.0.0.1:{port}"
policy = "two"
"""


def binary():
    """The respgate to test: RESPGATE_BIN, else what cargo built."""
    return os.environ.get("RESPGATE_BIN") or str(REPOSITORY / "target/debug/respgate")


def valkey_server():
    """The program, as tests/setup.sh installs it."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    found = os.environ.get("RESPGATE_TEST_VALKEY") or shutil.which("valkey-server")
    return found or next(map(str, cache.glob("respgate/venv/**/valkey-server")))




def ask(path, *words):
    """One command on a Unix socket, the first bytes of its reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        head = f"*{len(words)}\r\n"
        connection.sendall((head + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
        return connection.recv(1 << 16)


class Stage:
    """Everything is ended and removed at the end of the `with` block."""

    # Called in each program's process before it begins.
    before_program = None

    def __init__(self, straight=False, server="redis-server", upstream="", policy=EVERYTHING,
                 port=None, password=None, arguments=(), certificates=None, tls=True):
        self.straight = straight
        self.upstream, self.policy = upstream, policy
        # The port that clients use, what they and respgate log in with, more of the server's arguments, and
        # the directory with the files of make_certificates, where there are some already.
        self.port, self.password = port or free_port(), password
        self.arguments, self.certificates, self.tls = [*arguments], certificates, tls
        self.telemetry_port = free_port()
        self.server = shutil.which(server) or server
        self.processes = []

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-stage-"))
        self.socket = str(self.directory / "server.sock")
        try:
            self.start_server()
            if not self.straight:
                self.start_respgate()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_server(self):
        self.server_port = self.port if self.straight else free_port()
        command = [self.server, "--save", "", "--bind", "127.0.0.1", "--unixsocket", self.socket]
        command += ["--enable-debug-command", "yes"]
        # For the tests' own use, past respgate.
        self.plain_port = self.server_port if self.straight or not self.tls else free_port()
        command += ["--port", str(self.plain_port)]
        if self.password:
            command += ["--requirepass", self.password]
        if not self.straight and self.tls:
            if self.certificates:
                for file in pathlib.Path(self.certificates).iterdir():
                    shutil.copy(file, self.directory)
            else:
                self.make_certificates(self.directory)
            command += ["--tls-port", str(self.server_port)]
            command += ["--tls-auth-clients", "yes", "--tls-ca-cert-file", "ca.crt"]
            command += ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key"]
        self.spawn("server", command + self.arguments)
        self.wait("the server", lambda: ask(self.socket, "PING")[:5] in (b"+PONG", b"-NOAU"))

    def start_respgate(self):
        path = lambda name: f'"{self.directory / name}"'
        password = f"password_file = {path('password')}" if self.password else ""
        (self.directory / "password").write_text(self.password or "")
        tls = f"tls = {{ cert = {path('client.crt')}, key = {path('client.key')}, ca = {path('ca.crt')} }}"
        (self.directory / "respgate.toml").write_text(f"""
[[listener]]
address = "127.0.0.1:{self.port}"
{password}

[upstream]
address = "localhost:{self.server_port}"
{tls if self.tls else "insecure_plaintext = true"}
{self.upstream}
{"[upstream.auth]" if password else ""}
{password}

{self.policy}
[telemetry]
address = "127.0.0.1:{self.telemetry_port}"
""")
        process = self.spawn("respgate", [binary(), "run", "--config", "respgate.toml"])

        def ready():
            if process.poll() is not None:
                raise RuntimeError("respgate ended:\n" + self.log("respgate"))
            with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100)[:5] in (b"+PONG", b"-NOAU")

        self.wait("respgate", ready)
        return self.port

    def metric(self, name):
        """The value of one of respgate's metrics, its labels included in the name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry_port}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + " "))

    def spawn(self, name, command):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, preexec_fn=self.before_program)
        self.processes.append(process)
        return process

    def log(self, name, lines=40):
        text = (self.directory / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait(self, name, ready):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"{name} does not answer:\n" + self.log(name.split()[-1]))

    def flush(self):
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")):
            ask(self.socket, *words)

    @staticmethod
    def make_certificates(directory):
        """One authority, a server and a client, with the openssl program."""
        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=directory, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority",
                "-keyout", "ca.key", "-out", "ca.crt")
        for name in ("server", "client"):
            (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                    "-out", f"{name}.csr")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                    "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt")
