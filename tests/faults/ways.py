"""What is between an application and the server: nothing, respgate, HAProxy, Envoy, stunnel.

Owns: their processes and configurations, each as its manual recommends. Never knows: faults.
"""

import json
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time

from net import NAME
from resp import encode, read_reply
from servers import PASSWORD, PORT

SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
# Descriptors that a process in front of the server may have open.
FILES = 256

RESPGATE = """
[[listener]]
address = "127.0.0.1:{port}"

[upstream]
address = "{name}:{server}"
tls = {{ cert = "{d}/client.crt", key = "{d}/client.key", ca = "{d}/ca.crt" }}
auth = {{ password_file = "{d}/password" }}

[policy]
acl = "+@all ~* &*"

[telemetry]
address = "127.0.0.1:0"

[drain]
max = "2s"

# The pretended clock is a file.
[sandbox]
read = ["{d}"]
"""

HAPROXY = """
global
    maxconn 100
    hard-stop-after 2s
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    default-server init-addr libc,none
resolvers dns
    parse-resolv-conf
    hold valid 1s
listen redis
    bind 127.0.0.1:{port}
    server redis {name}:{server} resolvers dns ssl crt {d}/client.pem ca-file {d}/ca.crt verify required verifyhost {name}
"""

STUNNEL = """
foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[redis]
client = yes
accept = 127.0.0.1:{port}
connect = {name}:{server}
delay = yes
cert = {d}/client.crt
key = {d}/client.key
CAfile = {d}/ca.crt
verifyChain = yes
checkHost = {name}
"""


# Becomes the program behind the first argument, which finds the socket of that number as a service manager passes it.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def envoy(port, directory):
    address = lambda host, number: {"socket_address": {"address": host, "port_value": number}}
    file = lambda name: {"filename": f"{directory}/{name}"}
    kind = "type.googleapis.com/envoy.extensions."
    tls = {"@type": f"{kind}transport_sockets.tls.v3.UpstreamTlsContext", "sni": NAME, "common_tls_context": {
        "tls_certificates": [{"certificate_chain": file("client.crt"), "private_key": file("client.key")}],
        "validation_context": {"trusted_ca": file("ca.crt"), "match_typed_subject_alt_names": [
            {"san_type": "DNS", "matcher": {"exact": NAME}}]}}}
    cluster = {"name": "redis", "type": "STRICT_DNS", "connect_timeout": "5s",
               "load_assignment": {"cluster_name": "redis", "endpoints": [
                   {"lb_endpoints": [{"endpoint": {"address": address(NAME, PORT)}}]}]},
               "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
               "typed_extension_protocol_options": {"envoy.filters.network.redis_proxy": {
                   "@type": f"{kind}filters.network.redis_proxy.v3.RedisProtocolOptions",
                   "auth_password": file("password")}}}
    redis = {"name": "envoy.filters.network.redis_proxy", "typed_config": {
        "@type": f"{kind}filters.network.redis_proxy.v3.RedisProxy", "stat_prefix": "redis",
        "settings": {"op_timeout": "5s"}, "prefix_routes": {"catch_all_route": {"cluster": "redis"}}}}
    return json.dumps({"static_resources": {"clusters": [cluster], "listeners": [
        {"address": address("127.0.0.1", port), "filter_chains": [{"filters": [redis]}]}]}})


def bounded():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


class Way:
    """One of them, running."""

    # Why it cannot take part, or None.
    missing = None
    passed = ()
    login = True      # the application logs in; otherwise the proxy does
    plain = False     # carries no blocking commands and transactions

    def __init__(self, directory, port, clock):
        self.files, self.port, self.clock = directory, port, clock
        self.slug = self.name.replace(" ", "-")
        self.directory = directory / self.slug
        self.directory.mkdir()
        self.process = None

    def write(self, file, text):
        (self.directory / file).write_text(text)

    def fill(self, template):
        return template.format(port=self.port, name=NAME, server=PORT, d=self.files)

    def spawn(self, command):
        log = open(self.directory / "log", "ab")
        return subprocess.Popen(command, cwd=self.directory, env=os.environ | self.clock.environment(),
                                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=bounded,
                                pass_fds=self.passed)

    def start(self):
        self.process = self.spawn(self.command())

        for _ in range(3000):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.log()[-2000:]}")
            try:
                return self.session().close()
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not serve:\n{self.log()[-2000:]}")

    def ended(self):
        return self.process is not None and self.process.poll() is not None

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def connect(self, seconds=5):
        """A connection that nothing was sent on."""
        target = self.target()
        connection = socket.create_connection((target["host"], target["port"]), seconds)
        if tls := target.get("tls"):
            context = ssl.create_default_context(cafile=tls["ca"])
            context.load_cert_chain(tls["cert"], tls["key"])
            connection = context.wrap_socket(connection, server_hostname=NAME)
        return connection

    def session(self, seconds=5):
        """A connection that is logged in and answers."""
        connection = self.connect(seconds)
        try:
            login = [("AUTH", PASSWORD)] if self.login else []
            for words in [*login, ("SET", "probe", "x")]:
                connection.sendall(encode(words))
                with connection.makefile("rb") as file:
                    if (reply := read_reply(file)) != b"+OK\r\n":
                        raise ConnectionError(f"{words[0]} was answered {reply[:80]!r}")
            return connection
        except BaseException:
            connection.close()
            raise

    def replace(self):
        """Another process takes the place of this one, as gently as the product can: here, one after the other."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.end()
        self.start()

    def log(self):
        file = self.directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def target(self):
        target = {"host": "127.0.0.1", "port": self.port, "plain": self.plain}
        return target | ({"password": PASSWORD} if self.login else {})

    # What it holds now.

    def figures(self):
        """Memory in MiB, open descriptors and threads."""
        if not self.process or self.ended():
            return None
        place = pathlib.Path(f"/proc/{self.process.pid}")
        try:
            status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
            return {"MiB": int(status["VmRSS"].split()[0]) / 1024, "files": len(list((place / "fd").iterdir())),
                    "threads": int(status["Threads"])}
        except (OSError, KeyError):
            return None  # it has ended this moment


class Direct(Way):
    name = "Redis directly"

    def start(self):
        pass

    def replace(self):
        pass

    def target(self):
        tls = {"ca": f"{self.files}/ca.crt", "cert": f"{self.files}/client.crt", "key": f"{self.files}/client.key"}
        return super().target() | {"host": NAME, "port": PORT, "tls": tls}


class Respgate(Way):
    name = "respgate"
    login = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        # As a service manager does: the socket is open before the process is, and stays open behind it.
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.passed = (self.socket.fileno(),)

    def command(self):
        self.write("respgate.toml", self.fill(RESPGATE))
        return [sys.executable, "-c", ACTIVATE, str(self.socket.fileno()), os.environ["RESPGATE_BIN"], "run", "--config",
                "respgate.toml"]

    def replace(self):
        """The new process serves on the same socket before the old one is asked to end."""
        old, served = self.process, self.log().count(" serving ")
        self.process = self.spawn(self.command())
        while self.log().count(" serving ") == served and not self.ended():
            time.sleep(0.02)
        old.terminate()
        old.wait(60)


class HAProxy(Way):
    name = "HAProxy"
    program = shutil.which("haproxy", path=SYSTEM)
    missing = None if program else "haproxy is not installed"

    def command(self):
        self.write("haproxy.cfg", self.fill(HAPROXY))
        return [self.program, "-db", "-f", "haproxy.cfg"]

    def replace(self):
        old, self.process = self.process, self.spawn([*self.command(), "-sf", str(self.process.pid)])
        old.wait(60)


class Stunnel(Way):
    name = "stunnel"
    program = shutil.which("stunnel4", path=SYSTEM)
    missing = None if program else "stunnel4 is not installed"

    def command(self):
        self.write("stunnel.conf", self.fill(STUNNEL))
        return [self.program, "stunnel.conf"]


class Envoy(Way):
    name = "Envoy"
    login, plain = False, True
    program = os.environ.get("FAULTS_ENVOY")
    missing = None if program else "envoy is not installed (tests/faults/run.sh --all installs it)"

    def command(self):
        self.write("envoy.json", envoy(self.port, self.files))
        return [self.program, "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


WAYS = {way.name: way for way in (Direct, Respgate, HAProxy, Envoy, Stunnel)}


class Clock:
    """The wall clock of the programs in front of the server, which can jump; monotonic time cannot."""

    def __init__(self, directory, pretended):
        self.file = pathlib.Path(directory) / "clock"
        libraries = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self.library = str(libraries[0]) if pretended and libraries else None
        self.jump(0)

    def jump(self, seconds):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}")
        fresh.rename(self.file)

    def environment(self):
        return {"LD_PRELOAD": self.library, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"} if self.library else {}
