"""redis-py's asyncio side under many tasks: usage `redis_py_asyncio.py PROTOCOL HOST PORT`."""

import asyncio
import sys

import redis.asyncio as redis

protocol, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def connect(**options):
    return redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True,
                       socket_timeout=60, **options)


async def worker(r, name):
    """Every reply must be this task's own."""
    for number in range(40):
        value = f"{name}:{number}"
        await r.set(name, value)
        assert await r.get(name) == value
        async with r.pipeline(transaction=number % 2 == 0) as pipe:
            answer = await pipe.get(name).echo(value).incr(f"count:{name}").execute()
        assert answer == [value, value, number + 1], answer


async def messages(r):
    async with r.pubsub() as pubsub:
        await pubsub.subscribe("news")
        assert (await pubsub.get_message(timeout=60))["type"] == "subscribe"
        for number in range(50):
            await r.publish("news", str(number))
        for number in range(50):
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=60)
            assert message["data"] == str(number), message


async def blocked(r, count):
    """Waits until the server counts as many blocked clients."""
    deadline = asyncio.get_running_loop().time() + 60
    while (await r.info("clients"))["blocked_clients"] != count:
        assert asyncio.get_running_loop().time() < deadline, f"{count} clients were never blocked"
        await asyncio.sleep(0.01)


async def blocking(r):
    """A cancelled pop takes nothing."""
    pop = asyncio.create_task(connect().blpop("jobs", timeout=0))
    await asyncio.sleep(0.1)
    await r.rpush("jobs", "one")
    assert list(await pop) == ["jobs", "one"]
    await blocked(r, 0)
    lost = connect()
    pop = asyncio.create_task(lost.blpop("jobs", timeout=0))
    await blocked(r, 1)
    pop.cancel()
    await asyncio.gather(pop, return_exceptions=True)
    await lost.aclose()
    await blocked(r, 0)
    await r.rpush("jobs", "two")
    assert await r.llen("jobs") == 1


async def main():
    r = connect(max_connections=60)
    assert await r.ping()
    await asyncio.gather(*(worker(r, f"w{number}") for number in range(30)))
    await messages(r)
    await blocking(r)
    await r.aclose()


asyncio.run(main())
