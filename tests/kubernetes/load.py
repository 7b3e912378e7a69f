"""An application under load: what the containers called app run in tests/kubernetes/endtoend.py.

    load.py [work | migrate | import]

Eight threads set, read, count, pipeline, pop and publish without a pause, and compare what they get. `import` and
`migrate` end by themselves after two thousand commands; otherwise SIGTERM ends it, and it still uses Redis for a while. The last line is
JSON: commands, and every error that reached the application.
"""

import json
import os
import signal
import sys
import threading
import time

import redis

PREFIX = os.environ.get("PREFIX", "app1:")
SHUTDOWN_SECONDS = 1.5
THREADS = 8

stop, finished = threading.Event(), threading.Event()
lock = threading.Lock()
counted, errors = [0], []


def client():
    # One connection for each thread, without retries of the driver: an error is an error.
    return redis.Redis.from_url(
        os.environ["REDIS_URL"], decode_responses=True, socket_timeout=60, retry=redis.retry.Retry(
            redis.backoff.NoBackoff(), 0), retry_on_error=[], single_connection_client=True)


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r} instead of {wanted!r}")


def turn(server, number, turn_number):
    key = f"{PREFIX}{number}"
    expect(server.set(f"{key}:value", turn_number), True)
    expect(server.get(f"{key}:value"), str(turn_number))
    server.incr(f"{PREFIX}hits")
    pipeline = server.pipeline(transaction=turn_number % 2 == 0)
    pipeline.rpush(f"{key}:list", turn_number)
    pipeline.expire(f"{key}:list", 60)
    pipeline.lpop(f"{key}:list")
    expect(pipeline.execute()[2], str(turn_number))
    server.rpush(f"{key}:queue", turn_number)
    expect(server.blpop(f"{key}:queue", timeout=30), (f"{key}:queue", str(turn_number)))
    server.publish(f"{PREFIX}news", turn_number)
    return 10


def worker(number, turns):
    server, done = None, 0
    while not finished.is_set() and (turns is None or done < turns):
        try:
            server = server or client()
            commands = turn(server, number, done)
            with lock:
                counted[0] += commands
        except Exception as error:  # noqa: BLE001: every error counts
            with lock:
                errors.append(f"{time.strftime('%T')} {type(error).__name__}: {error}")
            server = None
            time.sleep(0.05)
        done += 1
        time.sleep(0.002)


def await_first_answer():
    """Only where the sidecar does not start before the application."""
    while os.environ.get("AWAIT_REDIS"):
        try:
            return client().ping()
        except redis.exceptions.ConnectionError:
            time.sleep(0.05)


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    turns = 25 if {"import", "migrate"} & set(sys.argv) else None
    await_first_answer()
    workers = [threading.Thread(target=worker, args=(number, turns)) for number in range(THREADS)]
    for each in workers:
        each.start()
    if turns is None:
        stop.wait()
        time.sleep(SHUTDOWN_SECONDS)
        finished.set()
    for each in workers:
        each.join()
    print(json.dumps({"commands": counted[0], "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
