"""A write that its client has given up and repeated is not executed behind the repetition.

Owns: [`second_try`], which plays it for one way. Never knows: what other faults do.
"""

import time

from resp import encode, read_reply

# Packets vanish until shortly after the kernel's fourth retransmission, 3 s after the write. The fifth, 3 s later,
# would deliver the write when another connection has carried the client's second try.
OUTAGE = 3.6
GIVES_UP = OUTAGE + 1.0
FIFTH = 9.0


def ask(connection, *words):
    connection.sendall(encode(words))
    with connection.makefile("rb") as file:
        return read_reply(file)


def session(way, until):
    """A session as soon as there is one: some proxies answer an error for a moment after the packets pass again."""
    while True:
        try:
            return way.session(10)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def second_try(scene, way):
    """What went wrong, a line each: on the connection that clients share, and on one of the client's own."""
    keys = {"second:shared": [], "second:pinned": [("WATCH", "other")]}
    first = {}
    for key, before in keys.items():
        first[key] = way.session(10)
        for words in [*before, ("SET", key, "before")]:
            ask(first[key], *words)
    scene.network.forward(False)
    began = time.monotonic()
    for key, connection in first.items():
        connection.sendall(encode(("SET", key, "first")))
    time.sleep(OUTAGE)
    scene.network.forward(True)
    time.sleep(max(0, began + GIVES_UP - time.monotonic()))
    problems, acknowledged = [], list(keys)
    for key, connection in first.items():
        connection.close()
        try:
            with session(way, began + FIFTH - 1) as second:
                reply = ask(second, "SET", key, "second")
        except OSError as error:
            reply = str(error)
        if reply != b"+OK\r\n":
            problems.append(f"{key}: the second try was answered {reply!r}")
            acknowledged.remove(key)
    time.sleep(max(0, began + FIFTH - time.monotonic()))
    for key in acknowledged:
        if (value := scene.servers.primary.ask("GET", key)) != b"second":
            problems.append(f"{key} holds {value!r}: the first try was executed behind the acknowledged second one")
    return problems
