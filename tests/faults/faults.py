"""What can go wrong: each fault begins, lasts, and ends at a moment that it returns.

A fault is a function of the scene and the seconds that it should last. Never knows: who is watched how.
"""

import contextlib
import signal
import socket
import struct
import threading
import time

from net import SILENT
from resp import encode
from ways import Way


def kill(scene, seconds):
    """The server is killed, and started again."""
    scene.servers.primary.end(signal.SIGKILL)
    time.sleep(min(seconds, 1))
    scene.servers.primary.start()
    return time.monotonic()


def stop(scene, seconds):
    """The server is stopped by its operator, and started again."""
    scene.servers.primary.end(signal.SIGTERM)
    time.sleep(seconds)
    scene.servers.primary.start()
    return time.monotonic()


def stall(scene, seconds):
    """The server's process is stopped (SIGSTOP) while its connections stay."""
    process = scene.servers.primary.process
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
    return time.monotonic()


def half_open(scene, seconds):
    """No packet reaches the other side, and neither side is notified."""
    scene.network.forward(False)
    time.sleep(seconds)
    scene.network.forward(True)
    return time.monotonic()


def dishonest(mode):
    def fault(scene, seconds):
        scene.servers.primary.lie(mode, scene.random.randrange(1 << 30))
        time.sleep(seconds)
        scene.servers.primary.be_honest()
        return time.monotonic()
    return fault


def certificate(name):
    def fault(scene, seconds):
        scene.servers.primary.present(name)
        time.sleep(seconds)
        scene.servers.primary.present("server")
        return time.monotonic()
    return fault


def password(scene, seconds):
    """The server requires a password that no client has, and closes all connections."""
    server = scene.servers.primary
    right = server.ask("CONFIG", "GET", "requirepass").split(b"\r\n")[-2].decode()
    server.ask("CONFIG", "SET", "requirepass", "another")
    server.kill_clients()
    time.sleep(seconds)
    server.ask("CONFIG", "SET", "requirepass", right)
    return time.monotonic()


def failover(old_stays):
    """The other server takes over; then the name leads to it."""
    def fault(scene, _):
        servers = scene.servers
        servers.ready_spare()
        servers.fail_over(old_stays)
        time.sleep(1)
        scene.names.addresses = [servers.primary.address]
        return time.monotonic()
    return fault


def several_addresses(scene, _):
    """Connections end, and of the two addresses of the name the first is silent. It stays so."""
    scene.names.addresses = [SILENT, scene.servers.primary.address]
    time.sleep(2)
    scene.servers.primary.kill_clients()
    return time.monotonic()


def clock_jump(scene, seconds):
    """The wall clock of what is in front of the server goes three hours on, then three hours back, then right."""
    for jump in (3 * 3600, -3 * 3600):
        scene.clock.jump(jump)
        time.sleep(seconds / 2)
        scene.servers.primary.kill_clients()
        time.sleep(0.5)
    scene.clock.jump(0)
    return time.monotonic()


@contextlib.contextmanager
def crowd(scene):
    """So many connections that no process in front of the server has descriptors left; of the server itself, too."""
    idle = []
    with scene.servers.primary.session() as control:
        clients = int(control.ask("INFO", "clients").split(b"connected_clients:")[1].split(b"\r\n")[0])
        control.ask("CONFIG", "SET", "maxclients", str(clients + 100))
        for way in scene.ways:
            target = way.target()
            for _ in range(300):
                connection = socket.socket()
                connection.settimeout(0.5)
                idle.append(connection)
                if connection.connect_ex((target["host"], target["port"])):
                    break
        try:
            yield control
        finally:
            for connection in idle:
                connection.close()
            control.ask("CONFIG", "SET", "maxclients", "4000")


def descriptors(scene, seconds):
    """Idle clients take every descriptor that there is."""
    with crowd(scene):
        time.sleep(seconds)
    return time.monotonic()


def descriptors_and_loss(scene, seconds):
    """The same, and meanwhile the server closes all connections."""
    with crowd(scene) as control:
        time.sleep(seconds / 2)
        control.ask("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(seconds / 2)
    return time.monotonic()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hostile(scene, seconds):
    """Other clients send what is no RESP and half requests, ask for much and read nothing, and reset."""
    end = time.monotonic() + seconds

    def trouble(way, kind):
        while time.monotonic() < end:
            try:
                connection = way.session() if kind == "unread" else way.connect()
                connection.settimeout(0.3)
                if kind == "unread":
                    connection.sendall(encode(("SET", "hostile", "x" * 100_000)) + encode(("GET", "hostile")) * 200)
                else:
                    connection.sendall({"garbage": b"\x00\xff*9\r\n$-5\r\nGET / HTTP/1.1\r\n",
                                        "half": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900000\r\nxx"}[kind])
                time.sleep(0.3)
                reset(connection)
            except OSError:
                time.sleep(0.05)

    return at_once(lambda pair: trouble(*pair),
                   [(way, kind) for way in scene.ways for kind in ("unread", "garbage", "half")])


def cycles(scene, seconds):
    """Clients connect and disconnect, by FIN and by RST, and the server closes every connection again and again."""
    end = time.monotonic() + seconds

    def come_and_go(way):
        count = 0
        while time.monotonic() < end:
            try:
                connection = way.session()
                (reset if scene.random.random() < 0.3 else socket.socket.close)(connection)
                count += 1
            except OSError:
                time.sleep(0.01)
        scene.cycles[way.name] = scene.cycles.get(way.name, 0) + count

    threads = [threading.Thread(target=come_and_go, args=(way,)) for way in scene.ways]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        scene.servers.primary.kill_clients()
        scene.cycles["connections closed by the server"] = scene.cycles.get("connections closed by the server", 0) + 1
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return time.monotonic()


def at_once(function, ways):
    threads = [threading.Thread(target=function, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic()


def replace(scene, _):
    """What is in front of the server is replaced by a new process, as gently as it can be (a rolling update)."""
    return at_once(lambda way: way.replace(), scene.ways)


def restart(scene, _):
    """It is ended by SIGTERM, and started again when it has ended."""
    return at_once(Way.replace, [way for way in scene.ways if way.process])


# Name, function, seconds.
FAULTS = {
    "killed, back in 1 s": (kill, 1),
    "stopped, back in 2 s": (stop, 2),
    "stalled for 3 s": (stall, 3),
    "resets for 3 s": (dishonest("reset"), 3),
    "no packets for 4 s": (half_open, 4),
    "replies 0.3 s late, in pieces": (dishonest("slow"), 3),
    "half replies": (dishonest("short"), 3),
    "garbage among replies": (dishonest("garbage"), 3),
    "surplus replies": (dishonest("surplus"), 3),
    "certificate of another authority": (certificate("other"), 3),
    "expired certificate": (certificate("past"), 3),
    "another password": (password, 3),
    "failover, the old server gone": (failover(False), 0),
    "failover, the old server a replica": (failover(True), 0),
    "two addresses, the first silent": (several_addresses, 0),
    "no descriptors left": (descriptors, 2),
    "no descriptors, connections lost": (descriptors_and_loss, 2),
    "hostile clients": (hostile, 2),
    "connections come and go": (cycles, 3),
    "the proxy is replaced": (replace, 0),
    "the proxy is restarted": (restart, 0),
    "clock jumps by hours": (clock_jump, 2),
}
# Needs programs that were started with a pretended clock.
PRETENDED_CLOCK = {"clock jumps by hours"}
# The server itself is wrong: no driver and no proxy can know which reply is the right one, and a wrong one may look like
# the acknowledgement of a write.
DISHONEST = {"surplus replies"}
