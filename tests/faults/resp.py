"""The little of RESP that the suite itself needs: requests past every proxy, and sessions that probe.

Values are read by the length that they announce; nothing is interpreted.
"""

import socket


def encode(words):
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def read_reply(file):
    """One reply with all that belongs to it, as it came."""
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the connection was closed")
    if line[:1] == b"$" and line != b"$-1\r\n":
        line += file.read(int(line[1:]) + 2)
    if line[:1] == b"*" and line != b"*-1\r\n":
        line += b"".join(read_reply(file) for _ in range(int(line[1:])))
    return line


class Session:
    """A connection to a Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """The reply; a bulk string without its header."""
        self.socket.sendall(encode(words))
        reply = read_reply(self.file)
        return reply.split(b"\r\n", 1)[1][:-2] if reply[:1] == b"$" else reply


def strings(array):
    """The strings of a flat array."""
    lines = array.split(b"\r\n")
    return lines[2::2]
