"""redis-py with the retries its manual advises: writes a number, reads it again."""

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ledger import NAME, PORT, note, produce

client = redis.Redis(port=PORT, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 8),
                     retry_on_error=[redis.ConnectionError, redis.TimeoutError])


def add(number):
    client.set(f"{NAME}:{number}", number)
    if client.get(f"{NAME}:{number}") != str(number).encode():
        raise RuntimeError("another value came back")
    note("done", number)


produce(add, 0.01)
