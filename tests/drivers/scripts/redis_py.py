"""redis-py's help with scripts: usage `redis_py.py PROTOCOL HOST PORT OTHER_PORT SERVER_PORT`.

The two ports are of applications with the same names, the last one is the server's own."""

import asyncio
import hashlib
import sys

import redis
import redis.asyncio

protocol, host = int(sys.argv[1]), sys.argv[2]
ports, server_port = [int(port) for port in sys.argv[3:5]], int(sys.argv[5])
server = redis.Redis(host=host, port=server_port, decode_responses=True)
# Both build a name in the script: from KEYS and from nothing.
ADD = """local n = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[1] .. ':log', n)
redis.call('SET', 'last', KEYS[1])
return {n, KEYS[1]}"""
NAMES = "local names = redis.call('KEYS', '*') table.sort(names) return names"


def sha(text):
    return hashlib.sha1(text.encode()).hexdigest()


def flush():
    """As another application with the right to, or a restart of the server does."""
    assert server.script_flush()


def helpers(r):
    add, names = r.register_script(ADD), r.register_script(NAMES)
    assert add.sha == sha(ADD)
    assert add(keys=["n"], args=[2]) == [2, "n"]
    flush()
    assert add(keys=["n"], args=[3]) == [5, "n"]
    assert names() == ["last", "n", "n:log"]
    assert r.lrange("n:log", 0, -1) == ["2", "5"] and r.get("last") == "n"


def pipelines(r):
    """A pipeline sends SCRIPT EXISTS for its scripts, and loads what the server lacks."""
    add = r.register_script(ADD + " -- in pipelines")
    for transaction in (False, True):
        for _ in range(2):
            flush()
            with r.pipeline(transaction=transaction) as pipe:
                pipe.set("p", 1)
                add(keys=["p"], args=[4], client=pipe)
                pipe.get("p")
                add(keys=["p"], args=[4], client=pipe)
                assert pipe.execute() == [True, [5, "p"], "5", [9, "p"]]


def unknown(r):
    """A script that is known to no one fails in its place, in a transaction too, and heals by being loaded."""
    text = f"return redis.call('INCR', KEYS[1]) -- {r.connection_pool.connection_kwargs['port']}"
    with r.pipeline(transaction=True) as pipe:
        pipe.incr("u").evalsha(sha(text), 1, "u").incr("u")
        first, failed, last = pipe.execute(raise_on_error=False)
    assert (first, last) == (1, 2) and isinstance(failed, redis.exceptions.NoScriptError), failed
    assert r.script_load(text) == sha(text)
    with r.pipeline(transaction=True) as pipe:
        pipe.incr("u").evalsha(sha(text), 1, "u").incr("u")
        assert pipe.execute() == [3, 4, 5]
    with r.pipeline(transaction=True) as pipe:
        pipe.eval(text, 1, "u").script_exists(sha(text), sha("no such text")).script_load(text)
        assert pipe.execute() == [6, [True, False], sha(text)]
    # What the server has lost since fails in its place too, since nothing of a transaction is sent twice.
    flush()
    with r.pipeline(transaction=True) as pipe:
        pipe.incr("u").evalsha(sha(text), 1, "u")
        first, failed = pipe.execute(raise_on_error=False)
    assert first == 7 and isinstance(failed, redis.exceptions.NoScriptError), failed
    assert r.evalsha(sha(text), 1, "u") == 8


def flushed_by_one(one, two):
    """SCRIPT LOAD, EXISTS and FLUSH by two applications: neither takes from the other what it relies on."""
    mine, ours = "return redis.call('GET', 'own') -- mine", "return redis.call('GET', 'own')"
    for client in (one, two):
        client.set("own", client.connection_pool.connection_kwargs["port"])
        assert client.script_load(ours) == sha(ours) and client.script_exists(sha(ours)) == [True]
    assert one.script_load(mine) == sha(mine)
    assert one.script_exists(sha(mine)) == [True] and two.script_exists(sha(mine)) == [False]
    assert [int(client.evalsha(sha(ours), 0)) for client in (one, two)] == ports
    assert one.script_flush()
    assert one.script_exists(sha(ours), sha(mine)) == [False, False]
    assert two.register_script(ours)() == str(ports[1])
    assert one.register_script(mine)() == str(ports[0])


async def asynchronous(port):
    r = redis.asyncio.Redis(host=host, port=port, protocol=protocol, decode_responses=True)
    add = r.register_script(ADD)
    assert await add(keys=["a"], args=[2]) == [2, "a"]
    flush()
    async with r.pipeline(transaction=True) as pipe:
        pipe.incr("a")
        await add(keys=["a"], args=[4], client=pipe)
        assert await pipe.execute() == [3, [7, "a"]]
    await r.aclose()


clients = [redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True) for port in ports]
for step in (helpers, pipelines, unknown):
    for client in clients:
        step(client)
flushed_by_one(*clients)
for port in ports:
    asyncio.run(asynchronous(port))
kept = [sorted(client.keys("*")) for client in clients]
assert kept[0] == kept[1] and kept[0]
assert sorted(server.keys("*")) == sorted(prefix + key for prefix in ("one:", "two:") for key in kept[0])
