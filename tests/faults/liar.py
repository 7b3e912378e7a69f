"""A server's impostor for a while: takes the port of a server, carries bytes between it and the clients,
and breaks them in one way.

    liar.py MODE ADDRESS PORT REAL_SOCKET CERT KEY CA SEED

MODE: pass, reset (all connections, every 200 ms), slow (replies 300 ms late and in pieces), garbage (bytes
that are no RESP), surplus (a reply that was not asked for), short (half a reply, then the end).
"""

import asyncio
import random
import socket
import ssl
import struct
import sys

MODE, ADDRESS, PORT, REAL, CERT, KEY, CA, SEED = sys.argv[1:9]
RANDOM = random.Random(int(SEED))
LIVE = set()


def context():
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=CA)
    made.load_cert_chain(CERT, KEY)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


async def forward(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    writer.close()


async def answer(reader, writer):
    """Replies, broken after those of the login."""
    seen = 0
    try:
        while data := await reader.read(1 << 16):
            seen += 1
            if MODE == "slow":
                await asyncio.sleep(0.3)
                for start in range(0, len(data), 1 + len(data) // 3):
                    writer.write(data[start:start + 1 + len(data) // 3])
                    await asyncio.sleep(0.01)
                continue
            broken = seen > 4 and RANDOM.random() < 0.05
            if broken and MODE == "garbage":
                data += bytes(RANDOM.choice(b"\x00\x01?!@xyz\xff") for _ in range(40)) + b"\r\n"
            if broken and MODE == "surplus":
                data += b"$7\r\nsurplus\r\n"
            if broken and MODE == "short":
                writer.write(data[:len(data) // 2])
                await writer.drain()
                break
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    writer.close()


async def serve(reader, writer):
    LIVE.add(writer)
    real_reader, real_writer = await asyncio.open_unix_connection(REAL)
    try:
        await asyncio.gather(forward(reader, real_writer), answer(real_reader, writer))
    finally:
        LIVE.discard(writer)


async def abort_all():
    while MODE == "reset":
        await asyncio.sleep(0.2)
        for writer in list(LIVE):
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    server = await asyncio.start_server(serve, ADDRESS, int(PORT), ssl=context(), backlog=512)
    print("ready", flush=True)
    await asyncio.gather(server.serve_forever(), abort_all())


asyncio.run(main())
