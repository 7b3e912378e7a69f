"""Ports for the servers of a check."""

import itertools
import os
import socket

# Below those that the system gives to a client or to a server that requests any port: until a server binds one, and
# while it is down, no other process gets it by chance.
FIRST, COUNT = 10_000, 20_000
_numbers = itertools.count(os.getpid() % 400 * 50)


def free_port():
    """A port of 127.0.0.1 on which no process listens."""
    while True:
        port = FIRST + next(_numbers) % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
