"""A file system that goes away: runs a command to which the files of a directory are at another place, served by FUSE;
once a marker is there, no request about them is answered any more, as by a network mount without its server.

    gone.py FILES PLACE MARKER COMMAND...

To be run where the process may mount (unshare -m); the mount ends with the command.
"""

import ctypes
import os
import pathlib
import select
import struct
import sys
import time

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT = 25, 26, 27, 28, 29, 36
ENOENT, ENOSYS = 2, 38
HEADER = struct.Struct("<IIQQ")
ROOT = 1


class Served:
    """The files, by number from 2 on."""

    def __init__(self, directory):
        self.files = {path.name: path.read_bytes() for path in sorted(pathlib.Path(directory).iterdir()) if path.is_file()}
        self.names = list(self.files)

    def content(self, node):
        return self.files[self.names[node - 2]]

    def attributes(self, node):
        mode, size = (0o40755, 0) if node == ROOT else (0o100600, len(self.content(node)))
        return struct.pack("<6Q10I", node, size, 1, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(self, operation, node, body):
        """The data of an answer, or a number: an error."""
        if operation == INIT:
            return struct.pack("<4I2H2I2HI", 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, 0) + bytes(28)
        if operation == LOOKUP:
            name = body.split(b"\0")[0].decode()
            if name not in self.files:
                return ENOENT
            found = self.names.index(name) + 2
            return struct.pack("<4Q2I", found, 0, 0, 0, 0, 0) + self.attributes(found)
        if operation == GETATTR:
            return struct.pack("<Q2I", 0, 0, 0) + self.attributes(node)
        if operation in (OPEN, OPENDIR):
            return struct.pack("<Q2I", 0, 1, 0)
        if operation == READ:
            _, start, size = struct.unpack_from("<2QI", body)
            return self.content(node)[start:start + size]
        if operation == STATFS:
            return struct.pack("<5Q4I", 0, 0, 0, 0, 0, 4096, 255, 0, 0) + bytes(24)
        return b"" if operation in (READDIR, RELEASE, RELEASEDIR, FLUSH) else ENOSYS


def serve(device, served, marker, client):
    """Until the client has ended."""
    while os.getppid() == client:
        # A request that was taken and is not answered would keep its process from being killed.
        if marker.exists() or not select.select([device], [], [], 0.1)[0]:
            time.sleep(0.01)
            continue
        request = os.read(device, 1 << 17)
        _, operation, number, node = HEADER.unpack_from(request)
        if operation in (FORGET, INTERRUPT):
            continue
        answer = served.answer(operation, node, request[40:])
        data, error = (b"", answer) if isinstance(answer, int) else (answer, 0)
        os.write(device, struct.pack("<IiQ", 16 + len(data), -error, number) + data)


def main():
    files, place, marker, *command = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0"
    if libc.mount(b"gone", place.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    client = os.getpid()
    if os.fork() == 0:
        serve(device, Served(files), pathlib.Path(marker), client)
        os._exit(0)
    # The device is closed with this program; its copy serves.
    os.execvp(command[0], command)


main()
