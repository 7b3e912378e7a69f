"""redis-py's asyncio client with the retries its manual advises."""

import asyncio

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError

from ledger import NAME, PORT, error, note, stopping


async def main():
    client = redis.Redis(port=PORT, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 8),
                         retry_on_error=[ConnectionError, TimeoutError])
    number = 0
    while True:
        if not stopping():
            number += 1
            try:
                await client.set(f"{NAME}:{number}", number)
                note("accepted", number)
                if await client.get(f"{NAME}:{number}") == str(number).encode():
                    note("done", number)
            except Exception as problem:
                error(problem)
        await asyncio.sleep(0.01)


asyncio.run(main())
