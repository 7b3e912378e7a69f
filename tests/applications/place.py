"""A server that can be restarted, stopped and made to disconnect, and three ways to reach it.

`Server` accepts plaintext (the way "direct") and mutual TLS; `way_to(name)` gives the port of that
way: "direct", "HAProxy" or "respgate". Everything ends with the `with` block.
"""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "drivers"))
from stage import PREFIXES, Stage, ask, binary, free_port, two_policies, valkey_server  # noqa: E402

HAPROXY = """
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen redis
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{server} ssl crt {directory}/client.pem ca-file {directory}/ca.crt verify required
"""


class Place(Stage):
    """One server with one way in front of it."""

    def __init__(self, way, upstream=""):
        super().__init__(upstream=upstream)
        self.way = way

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="respgate-place-"))
        self.socket = str(self.directory / "server.sock")
        self.make_certificates(self.directory)
        self.plain_port, self.server_port = free_port(), free_port()
        try:
            self.start_server()
            self.port = {"direct": lambda: self.plain_port, "HAProxy": self.start_haproxy,
                         "respgate": self.start_respgate}[self.way]()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_server(self):
        command = [self.server, "--bind", "127.0.0.1", "--unixsocket", self.socket]
        command += ["--port", str(self.plain_port), "--tls-port", str(self.server_port)]
        command += ["--tls-auth-clients", "yes", "--tls-ca-cert-file", "ca.crt"]
        command += ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key"]
        command += ["--appendonly", "yes", "--save", ""]
        self.redis = self.spawn("server", command)
        self.wait("the server", lambda: ask(self.socket, "PING") == b"+PONG\r\n")

    def start_haproxy(self):
        port = free_port()
        both = [(self.directory / name).read_text() for name in ("client.crt", "client.key")]
        (self.directory / "client.pem").write_text("".join(both))
        (self.directory / "haproxy.cfg").write_text(HAPROXY.format(
            port=port, server=self.server_port, directory=self.directory))
        self.spawn("haproxy", [shutil.which("haproxy", path="/usr/sbin:/usr/bin:/sbin"),
                               "-db", "-f", "haproxy.cfg"])
        return port

    # What happens to the server.

    def restart(self, seconds):
        self.redis.send_signal(signal.SIGTERM)
        self.redis.wait(60)
        self.processes.remove(self.redis)
        time.sleep(seconds)
        self.start_server()

    def stop(self, seconds):
        self.redis.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.redis.send_signal(signal.SIGCONT)

    def disconnect(self):
        for kind in ("normal", "pubsub"):
            ask(self.socket, "CLIENT", "KILL", "TYPE", kind)


FAULTS = {
    "restart of 1 s": lambda place: place.restart(1),
    "restart of 15 s": lambda place: place.restart(15),
    "stopped for 10 s": lambda place: place.stop(10),
    "CLIENT KILL": lambda place: place.disconnect(),
}
__all__ = ["FAULTS", "PREFIXES", "Place", "Stage", "binary", "free_port", "two_policies", "valkey_server"]
