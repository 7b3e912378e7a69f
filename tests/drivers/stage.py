"""A server that accepts only mutual TLS, and respgate before it, for programs that need a port.

`with Stage() as stage:` gives `stage.port` (respgate) and `stage.flush()`. With straight=True the
port is the server's own and plain: what fails then is the program's own doing.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def binary():
    """The respgate to test: RESPGATE_BIN, else what cargo built."""
    return os.environ.get("RESPGATE_BIN") or str(REPOSITORY / "target/debug/respgate")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(path, *words):
    """One command on a Unix socket, the first bytes of its reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        head = f"*{len(words)}\r\n"
        connection.sendall((head + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
        return connection.recv(1 << 16)


class Stage:
    """Everything is ended and removed at the end of the `with` block."""

    def __init__(self, straight=False, server="redis-server", upstream=""):
        self.straight = straight
        self.upstream = upstream
        self.server = shutil.which(server) or server
        self.processes = []

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-stage-"))
        self.socket = str(self.directory / "server.sock")
        try:
            self.start_server()
            self.port = self.server_port if self.straight else self.start_respgate()
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
        self.server_port = free_port()
        command = [self.server, "--save", "", "--bind", "127.0.0.1", "--unixsocket", self.socket]
        command += ["--enable-debug-command", "yes"]
        if self.straight:
            command += ["--port", str(self.server_port)]
        else:
            self.make_certificates()
            command += ["--port", "0", "--tls-port", str(self.server_port)]
            command += ["--tls-auth-clients", "yes", "--tls-ca-cert-file", "ca.crt"]
            command += ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key"]
        self.spawn("server", command)
        self.wait("the server", lambda: ask(self.socket, "PING") == b"+PONG\r\n")

    def start_respgate(self):
        port = free_port()
        path = lambda name: f'"{self.directory / name}"'
        (self.directory / "respgate.toml").write_text(f"""
[[listener]]
address = "127.0.0.1:{port}"

[upstream]
address = "localhost:{self.server_port}"
tls = {{ cert = {path("client.crt")}, key = {path("client.key")}, ca = {path("ca.crt")} }}
{self.upstream}

[policy]
acl = "+@all +sync +psync +replconf ~* &*"

[telemetry]
address = "127.0.0.1:{free_port()}"
""")
        process = self.spawn("respgate", [binary(), "run", "--config", "respgate.toml"])

        def ready():
            if process.poll() is not None:
                raise RuntimeError("respgate ended:\n" + self.log("respgate"))
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100) == b"+PONG\r\n"

        self.wait("respgate", ready)
        return port

    def spawn(self, name, command):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def log(self, name, lines=40):
        text = (self.directory / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait(self, name, ready):
        for _ in range(500):
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

    def make_certificates(self):
        """One authority, a server and a client, with the openssl program."""
        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=self.directory, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority",
                "-keyout", "ca.key", "-out", "ca.crt")
        for name in ("server", "client"):
            (self.directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                    "-out", f"{name}.csr")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                    "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt")
