"""A network of three namespaces, in which packets can vanish, and the one DNS server that its programs ask.

The runner's own namespace has the proxies and applications; packets to the servers pass a router, which
forwards them or not. Needs root; the runner must be in network and mount namespaces of its own (`unshare`).
"""

import pathlib
import socket
import struct
import subprocess
import threading
import time

NAME = "redis.test"
FIRST, SECOND, SILENT = "10.77.0.2", "10.77.0.3", "10.77.0.9"


def run(*words):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr}")


class Network:
    def __init__(self):
        self.namespaces = []

    def __enter__(self):
        run("ip", "link", "set", "lo", "up")
        self.router, self.servers = self.namespace(), self.namespace()
        self.link(None, "10.77.1.1/24", self.router, "10.77.1.254/24")
        self.link(self.router, "10.77.0.254/24", self.servers, f"{FIRST}/24")
        run(*self.inside(self.servers), "ip", "addr", "add", f"{SECOND}/24", "dev", "far0")
        run("ip", "route", "add", "10.77.0.0/24", "via", "10.77.1.254")
        run(*self.inside(self.servers), "ip", "route", "add", "10.77.1.0/24", "via", "10.77.0.254")
        run(*self.inside(self.router), "ip", "route", "add", "blackhole", SILENT)
        self.forward(True)
        return self

    def __exit__(self, *_):
        for process in self.namespaces:
            process.kill()
            process.wait()

    def namespace(self):
        process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.namespaces.append(process)
        own = pathlib.Path("/proc/self/ns/net").readlink()
        while pathlib.Path(f"/proc/{process.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        run(*self.inside(process), "ip", "link", "set", "lo", "up")
        return process

    @staticmethod
    def inside(process):
        return ["nsenter", "-t", process.pid, "-n"] if process else []

    def link(self, one, address, other, far):
        name = "near" if one is None else "next"
        run(*self.inside(one), "ip", "link", "add", "name", name, "type", "veth", "peer", "name", "far0", "netns", other.pid)
        for place, device, own in ((one, name, address), (other, "far0", far)):
            run(*self.inside(place), "ip", "addr", "add", own, "dev", device)
            run(*self.inside(place), "ip", "link", "set", device, "up")

    def forward(self, yes):
        """Whether packets pass; those that do not vanish without a word."""
        run(*self.inside(self.router), "sh", "-c", f"echo {int(yes)} > /proc/sys/net/ipv4/ip_forward")


class Names(threading.Thread):
    """Answers every question for an address with `addresses`, which may be changed, for one second."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.addresses = [FIRST]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(0.2)
        self.closed = False
        self.socket.bind(("127.0.0.1", 53))
        file = pathlib.Path(directory) / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\noptions timeout:1\n")
        run("mount", "--bind", file, "/etc/resolv.conf")
        self.start()

    def run(self):
        while not self.closed:
            try:
                question, peer = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            end = question.index(0, 12) + 5
            kind, = struct.unpack("!H", question[end - 4:end - 2])
            addresses = self.addresses if kind == 1 else []
            answer = question[:2] + struct.pack("!5H", 0x8580, 1, len(addresses), 0, 0) + question[12:end]
            for address in addresses:
                answer += struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
            self.socket.sendto(answer, peer)

    def close(self):
        """The file of the system is as before."""
        self.closed = True
        self.join()
        self.socket.close()
        run("umount", "/etc/resolv.conf")
