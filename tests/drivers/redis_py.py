"""A day in the life of redis-py: usage `redis_py.py PROTOCOL HOST PORT`."""

import sys
import threading
import time

import redis

protocol, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def connect(**options):
    return redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True,
                       socket_timeout=60, **options)


def data(r):
    assert r.ping()
    assert r.set("k", "v", ex=100) and r.get("k") == "v" and 0 < r.ttl("k") <= 100
    assert r.set("k", "w", nx=True) is None
    assert r.incr("n", 5) == 5 and r.incrbyfloat("f", 1.5) == 1.5
    assert r.hset("h", mapping={"a": 1, "b": 2}) == 2 and r.hgetall("h") == {"a": "1", "b": "2"}
    assert r.sadd("s", "x", "y") == 2 and r.smembers("s") == {"x", "y"}
    assert r.zadd("z", {"a": 1, "b": 2.5}) == 2
    assert [list(pair) for pair in r.zrange("z", 0, -1, withscores=True)] == [["a", 1.0], ["b", 2.5]]
    assert r.rpush("l", *range(5)) == 5 and r.lrange("l", 1, 2) == ["1", "2"]
    assert r.xadd("st", {"f": "v"}, id="1-1") == "1-1" and r.xlen("st") == 1
    assert r.info("server")["redis_mode"] == "standalone"
    big = "x" * 3_000_000
    assert r.set("big", big) and r.get("big") == big
    try:
        r.incr("k")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)
    else:
        raise AssertionError("INCR of a text")


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"p{number}", number)
        assert all(pipe.execute())
        for number in range(2000):
            pipe.get(f"p{number}")
        assert pipe.execute() == [str(number) for number in range(2000)]
    with r.pipeline() as pipe:
        result = pipe.set("t", 1).incr("t").lpush("t", "x").get("t").execute(raise_on_error=False)
        assert result[1] == 2 and isinstance(result[2], redis.ResponseError) and result[3] == "2"


def optimistic(r):
    """Threads count with WATCH; nothing is lost."""
    r.set("count", 0)

    def add(pipe):
        value = int(pipe.get("count"))
        pipe.multi()
        pipe.set("count", value + 1)

    def work():
        own = connect()
        for _ in range(25):
            own.transaction(add, "count")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get("count") == "100", r.get("count")


def messages(r):
    pubsub = r.pubsub()
    pubsub.subscribe("news")
    pubsub.psubscribe("n?ws*")

    def next_message():
        while True:
            message = pubsub.get_message(timeout=60)
            assert message is not None, "no message"
            return message

    assert [next_message()["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
    assert r.publish("news", "hello") == 2
    assert sorted(next_message()["type"] for _ in range(2)) == ["message", "pmessage"]
    pubsub.unsubscribe("news")
    assert next_message()["type"] == "unsubscribe"
    if protocol == 2:  # in RESP3 a pong is no message
        pubsub.ping()
        assert next_message()["type"] == "pong"
    pubsub.close()


def blocking(r):
    def push():
        time.sleep(0.1)
        connect().rpush("queue", "job")

    thread = threading.Thread(target=push)
    thread.start()
    assert list(r.blpop("queue", timeout=30)) == ["queue", "job"]
    thread.join()
    assert r.blpop("queue", timeout=0.1) is None
    assert r.blmove("queue", "done", 0.1) is None
    assert not r.xread({"st": "$"}, block=50)


def scripts(r):
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["lua"], args=[5]) == 5 and add(keys=["lua"], args=[5]) == 10
    assert r.eval("return {1, 'two', {3}}", 0) == [1, "two", [3]]
    with r.lock("guard", timeout=60) as lock:
        assert lock.owned() and not r.lock("guard", blocking=False, timeout=60).acquire()
        lock.extend(60)
    assert not r.exists("guard")


def scans(r):
    assert len(set(r.scan_iter("p*", count=200))) == 2000
    assert dict(r.hscan_iter("h")) == {"a": "1", "b": "2"}
    assert len({*r.scan_iter("p1?")}) == 10


def databases():
    one, two = connect(db=1, client_name="one"), connect(db=2)
    one.set("where", "one")
    two.set("where", "two")
    assert (one.get("where"), two.get("where")) == ("one", "two")
    assert one.client_getname() == "one" and one.client_info()["db"] == 1


client = connect()
for part in (data, pipelines, optimistic, messages, blocking, scripts, scans):
    part(client)
databases()
