"""Ports for the servers of a check: of two programs that run at the same time, neither chooses a port of the other."""

import os
import socket
import threading

# Below those that the system gives to a client or to a server that requests any port: until a server binds one, and
# while it is down, no other process gets it by chance. tests/support/ports.rs has the same.
FIRST, BLOCKS, PORTS = 10_000, 400, 50
# The marks of the blocks that this process has. An abstract socket is of one network, as ports are, and ends with its process.
_marks = []


def _blocks():
    for number in range(BLOCKS):
        block = (os.getpid() + number) % BLOCKS
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0respgate-test-ports-{block}")
        except OSError:
            mark.close()
            continue
        _marks.append(mark)
        yield from range(FIRST + block * PORTS, FIRST + (block + 1) * PORTS)
    raise RuntimeError("no block of ports that no other test has")


_ports, _one = _blocks(), threading.Lock()


def free_port():
    """A port of 127.0.0.1 on which no process listens, and that no other test is going to use."""
    with _one:
        for port in _ports:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return port
