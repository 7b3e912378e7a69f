"""Two servers behind one name, of which one is the primary; and what can happen to them.

Owns: their processes, certificates and roles. Never knows: what is in front of them.
"""

import pathlib
import signal
import subprocess
import sys
import time

from net import FIRST, NAME, SECOND
from resp import Session

HERE = pathlib.Path(__file__).resolve().parent
PORT, PLAIN = 6380, 6379
# Where the server's own port is while an impostor has it.
ASIDE = 6390
PASSWORD = "the right one"


class Certificates:
    """ca.crt, client.*, server.*, and of the server two more: other.* (of another authority), past.* (ended)."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "names").write_text(f"subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth,clientAuth\n")
        # Valid since yesterday, so that a clock may go back.
        for authority, leaves, back in (("ca", ("server", "client", "past"), "-1d"), ("other-ca", ("other",), "-1d")):
            self.openssl(back, "req", "-x509", *self.key(authority), "-days", "30", "-subj", f"/CN={authority}",
                         "-out", f"{authority}.crt")
            for name in leaves:
                since, days = ("-20d", "10") if name == "past" else (back, "20")
                self.openssl(since, "req", *self.key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
                self.openssl(since, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey",
                             f"{authority}.key", "-CAcreateserial", "-days", days, "-extfile", "names",
                             "-out", f"{name}.crt")
        both = (directory / "client.crt").read_text() + (directory / "client.key").read_text()
        (directory / "client.pem").write_text(both)

    @staticmethod
    def key(name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]

    def openssl(self, since, *words):
        subprocess.run(["faketime", "-f", since, "openssl", *words], cwd=self.directory, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Server:
    def __init__(self, directory, network, address, number):
        self.directory, self.network, self.address = directory / f"server{number}", network, address
        self.directory.mkdir()
        self.socket = str(self.directory / "redis.sock")
        self.files = directory
        self.process, self.liar = None, None
        self.certificate = "server"

    def start(self, master=None):
        command = [*self.network.inside(self.network.servers), "redis-server", "--bind", self.address, "--unixsocket",
                   self.socket, "--port", PLAIN, "--tls-port", PORT, "--tls-auth-clients", "yes",
                   "--tls-ca-cert-file", self.files / "ca.crt", "--tls-cert-file", self.files / f"{self.certificate}.crt",
                   "--tls-key-file", self.files / f"{self.certificate}.key", "--appendonly", "yes", "--appendfsync", "no",
                   "--save", "", "--user", "observer", "on", "nopass", "allkeys", "allchannels", "allcommands", "--requirepass",
                   PASSWORD, "--masteruser", "observer", "--masterauth", "any", "--repl-diskless-sync-delay", "0",
                   # As the other one shall call it, whatever address it connects from.
                   "--replica-announce-ip", self.address,
                   "--protected-mode", "no", "--maxclients", "4000"]
        if master:
            command += ["--replicaof", f"{master.address} {PLAIN}"]
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen([str(word) for word in command], cwd=self.directory, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=subprocess.STDOUT)
        self.await_answer("PING", b"+PONG\r\n")

    def session(self):
        """As a user of its own, past everything."""
        session = Session(self.socket)
        session.ask("AUTH", "observer", "any")
        return session

    def ask(self, *words):
        with self.session() as session:
            return session.ask(*words)

    def await_answer(self, *words):
        *words, expected = words
        for _ in range(6000):
            try:
                if self.ask(*words) == expected:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"{self.address} does not answer {words}:\n{(self.directory / 'log').read_text()[-2000:]}")

    def figures(self):
        text = self.ask("INFO", "replication").decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def end(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None
        self.be_honest()

    def kill_clients(self):
        self.ask("CLIENT", "KILL", "TYPE", "normal")

    def present(self, certificate):
        """Another certificate, for connections from now on; the present ones are closed."""
        self.certificate = certificate
        self.ask("CONFIG", "SET", "tls-cert-file", str(self.files / f"{certificate}.crt"),
                 "tls-key-file", str(self.files / f"{certificate}.key"))
        self.kill_clients()

    def lie(self, mode, seed):
        """An impostor has the port until be_honest()."""
        self.ask("CONFIG", "SET", "tls-port", str(ASIDE))
        command = [*self.network.inside(self.network.servers), sys.executable, HERE / "liar.py", mode, self.address, PORT,
                   self.socket, self.files / "server.crt", self.files / "server.key", self.files / "ca.crt", seed]
        self.liar = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.liar.stdout.readline()
        self.kill_clients()

    def be_honest(self):
        if self.liar:
            self.liar.kill()
            self.liar.wait()
            self.liar = None
            if self.process:
                self.ask("CONFIG", "SET", "tls-port", str(PORT))


class Servers:
    """The primary, and one that can take its place."""

    def __init__(self, directory, network, names):
        self.network, self.names = network, names
        self.both = [Server(directory, network, address, number) for number, address in enumerate((FIRST, SECOND))]
        self.primary, self.spare = self.both
        self.primary.start()

    def end(self):
        for server in self.both:
            if server.process:
                server.process.send_signal(signal.SIGCONT)
            server.end()

    def ready_spare(self):
        """The spare server holds what the primary holds."""
        if self.spare.process is None:
            self.spare.start(master=self.primary)
        for _ in range(6000):
            if self.spare.figures().get("master_link_status") == "up":
                return
            time.sleep(0.01)
        raise RuntimeError("the replica does not connect")

    def swap(self):
        self.primary, self.spare = self.spare, self.primary

    def fail_over(self, old_stays):
        """The spare server takes the primary's place without loss; the old one ends or becomes its replica."""
        old, new = self.primary, self.spare
        until = time.monotonic() + 60
        if old_stays:
            # A replica whose link is up is online for its primary only a moment later.
            while (reply := old.ask("FAILOVER", "TO", new.address, str(PLAIN))) != b"+OK\r\n":
                if b"not online" not in reply or time.monotonic() > until:
                    raise RuntimeError(f"no failover: {reply}")
                time.sleep(0.02)
        else:
            old.ask("CLIENT", "PAUSE", "60000", "WRITE")
            wanted = int(old.figures()["master_repl_offset"])
            while int(new.figures()["slave_repl_offset"]) < wanted:
                time.sleep(0.005)
            new.ask("REPLICAOF", "NO", "ONE")
            old.end()
        while new.figures()["role"] != "master":
            if time.monotonic() > until:
                raise RuntimeError("the replica does not become the primary")
            time.sleep(0.005)
        self.swap()
