"""arq: a job, its worker's settings, and a producer when run as a program."""

import asyncio

import arq
from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError

from ledger import PORT, error, note, stopping

SETTINGS = RedisSettings(port=PORT, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 12),
                         retry_on_error=[ConnectionError, TimeoutError])


async def record(_, number):
    note("done", number)


class WorkerSettings:
    functions = [record]
    redis_settings = SETTINGS


async def main():
    pool = await arq.create_pool(SETTINGS)
    number = 0
    while True:
        if not stopping():
            number += 1
            try:
                await pool.enqueue_job("record", number)
                note("accepted", number)
            except Exception as problem:
                error(problem)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
